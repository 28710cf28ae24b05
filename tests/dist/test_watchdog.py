"""A process that hangs or was stopped is named, with its step and where it stands, before the others give up."""

import contextlib
import io
import os
import re
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch.distributed as dist
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook

from openmsra.engine import watchdog
from openmsra.engine.watchdog import HungProcessHook
from openmsra.registry import HOOKS, METRICS
from tests.dist.gloo import run_on_processes
from tests.reliability.killing import heavy_config
from tests.reliability.runs import build

WAITING, WORKING = ['a.py:1 in main', '/x/torch/distributed/c10d.py:9 in all_reduce'], ['a.py:1 in main', '/y/io.py:7 in read']


def _begun(move: str, seconds: float, **state) -> HungProcessHook:
    """The hook of a process that began something some seconds ago."""
    hook, runner = HungProcessHook(), SimpleNamespace(iter=6)
    getattr(hook, move)(runner, **state)
    hook.since -= seconds
    return hook


@pytest.mark.parametrize(
    ('move', 'state', 'step'),
    [
        ('before_train_iter', dict(batch_idx=6), 'iteration 7'),
        ('before_val', {}, 'the validation after iteration 6'),
        ('before_val_iter', dict(batch_idx=2), 'batch 3 of the validation after iteration 6'),
        ('before_test_iter', dict(batch_idx=0), 'batch 1 of the test'),
    ],
)
def test_process_that_does_not_arrive_is_named_with_its_step(move, state, step):
    store = dist.HashStore()
    waits, works = _begun(move, 40, **state), _begun(move, 40, **state)
    assert works.look(store, 1, 2, 50.0, WORKING) == '', 'not yet'
    assert waits.look(store, 0, 2, 50.0, WAITING) == ''
    assert works.look(store, 1, 2, 30.0, WORKING) == '', 'the first process that lives says it'
    sentence = waits.look(store, 0, 2, 30.0, WAITING)
    assert f'wait for: process 1 on {os.uname().nodename} began {step} and is at io.py:7 in read. They give up' in sentence
    assert waits.look(store, 0, 2, 30.0, WAITING) == '', 'once'


def test_process_that_gives_no_sign_is_named_by_the_next(monkeypatch):
    store = dist.HashStore()
    monkeypatch.setattr('openmsra.engine.watchdog.time.time', lambda: 1000.0)
    _begun('before_train_iter', 0, batch_idx=0).look(store, 0, 3, 30.0, WORKING)
    monkeypatch.setattr('openmsra.engine.watchdog.time.time', lambda: 1100.0)
    sentence = _begun('before_train_iter', 100, batch_idx=0).look(store, 1, 3, 30.0, WAITING)
    assert re.search(r'process 0 on \S+ had begun iteration 7 when it gave its last sign; process 2 on an unknown', sentence)


def test_store_that_does_not_answer_is_blamed_on_the_process_that_keeps_it():
    class Silent(dist.HashStore):
        def get(self, key):
            raise dist.DistStoreError('wait timeout')

    sentence = _begun('before_train_iter', 100, batch_idx=0).look(Silent(), 1, 2, 30.0, WAITING)
    assert 'process 1 began iteration 7 more than 30 s ago, and process 0' in sentence and 'hangs or was stopped' in sentence


def test_thread_is_no_daemon(monkeypatch):
    """A daemon that is inside the store when its process ends aborts it; seen once at the end of a training."""
    threads = []
    monkeypatch.setattr(watchdog.threading, 'Thread', lambda **options: threads.append(options) or SimpleNamespace(start=int))
    monkeypatch.setattr(watchdog, 'get_dist_info', lambda: (0, 2))
    monkeypatch.setattr(watchdog, '_store', dist.HashStore)
    HungProcessHook().before_train(SimpleNamespace(cfg=dict(env_cfg=dict(dist_cfg=dict(timeout=8)))))
    assert [(options.get('daemon', False), options['args'][1:]) for options in threads] == [(False, (0, 2, 4.0))]


def test_first_sign_comes_at_once(monkeypatch):
    """Who is stopped within its first seconds is known by its machine."""
    hook, waits, looks = HungProcessHook(), [], []
    monkeypatch.setattr(hook, '_goes_on', lambda seconds: waits.append(seconds) or len(waits) < 3)
    monkeypatch.setattr(hook, 'look', lambda *arguments: looks.append(arguments) or '')
    hook._watch(dist.HashStore(), 0, 2, 300.0)
    assert waits == [0, 10, 10] and len(looks) == 2


@METRICS.register_module()
class NumberOfBatches(BaseMetric):
    """How many batches were evaluated."""

    def process(self, data_batch, data_samples) -> None:
        self.results.append(1)

    def compute_metrics(self, results: list) -> dict:
        return dict(batches=sum(results))


@HOOKS.register_module()
class Hangs(Hook):
    """One process hangs for some seconds: it sleeps, or is stopped (SIGSTOP) until another process lets it go on."""

    def __init__(self, rank: int, move: str, seconds: float, stopped: bool = False) -> None:
        self.rank, self.move, self.seconds, self.stopped = rank, move, seconds, stopped

    def _hang(self, move: str, runner) -> None:
        if runner.rank != self.rank or move != self.move or runner.iter != 2:
            return
        if self.stopped:
            subprocess.Popen(['bash', '-c', f'sleep {self.seconds}; kill -CONT {os.getpid()}'])
            os.kill(os.getpid(), 19)
        else:
            time.sleep(self.seconds)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if self.stopped and runner.iter == 1:
            time.sleep(1.5)  # signs come each second: one comes in this iteration
        self._hang('train', runner)

    def before_val_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self._hang('val', runner)


def _train(rank: int, world_size: int, folder: Path, hanging: int, move: str, stopped: bool) -> str:
    dist.distributed_c10d._set_pg_timeout(timedelta(seconds=40), dist.group.WORLD)
    cfg = heavy_config(folder, 0.01)
    cfg.update(resume=False, env_cfg=dict(dist_cfg=dict(timeout=8)))
    cfg.train_cfg.update(max_iters=4, val_interval=2)
    cfg.val_cfg, cfg.val_dataloader = dict(), dict(cfg.train_dataloader, sampler=dict(type='DefaultSampler', shuffle=False))
    cfg.val_evaluator = dict(type='NumberOfBatches')
    cfg.custom_hooks = [dict(type='Hangs', rank=hanging, move=move, seconds=16, stopped=stopped)]
    runner = build(cfg)
    with contextlib.redirect_stderr(io.StringIO()) as output:
        runner.train()
    return output.getvalue()


@pytest.mark.reliability
@pytest.mark.parametrize(
    ('hanging', 'move', 'stopped', 'said'),
    [
        (1, 'train', False, r'process 1 on \S+ began iteration 3 and is at test_watchdog\.py:\d+ in _hang\.'),
        (1, 'val', False, r'process 1 on \S+ began batch 1 of the validation after iteration 2 and is at test_watchdog\.py'),
        (1, 'train', True, r'process 1 on \S+ had begun iteration [23] when it gave its last sign\.'),
        (0, 'train', True, r'process 1 began iteration 3 more than 4 s ago, and process 0, .* hangs or was stopped'),
    ],
    ids=['training', 'validation', 'SIGSTOP', 'SIGSTOP of the process that keeps the store'],
)
def test_hung_process_is_named_before_the_others_give_up(tmp_path, hanging, move, stopped, said):
    output = run_on_processes(_train, 2, tmp_path, hanging, move, stopped)[1 - hanging]
    sentences = re.findall('warning: .*', output)
    assert len(sentences) == 1 and re.search(said, sentences[0]), output


END = """
import sys, time
import torch, torch.distributed as dist
from types import SimpleNamespace
from mmengine.config import Config
from openmsra.engine import watchdog
hook = watchdog.HungProcessHook()
store = dist.TCPStore('127.0.0.1', 0, 1, True)
hook.look = lambda *_: [store.set('a', 'b') for _ in range(10_000)] and ''
watchdog._store, watchdog.get_dist_info = lambda: dist.PrefixStore('x', store), lambda: (0, 2)
hook._start(SimpleNamespace(cfg=Config(dict(env_cfg=dict(dist_cfg=dict(timeout=1e-3))))))
time.sleep(0.5)
raise SystemExit(75)
"""


@pytest.mark.reliability
def test_process_that_leaves_while_it_tells_the_others_is_not_aborted():
    done = subprocess.run([sys.executable, '-c', END], cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
