"""A process that hangs is named, with its iteration and where it stands, before the others give up."""

import contextlib
import io
import re
import time
from pathlib import Path

from mmengine.hooks import Hook

from openmsra.registry import HOOKS
from tests.dist.gloo import run_on_processes
from tests.reliability.killing import heavy_config
from tests.reliability.runs import build


@HOOKS.register_module()
class Sleeps(Hook):
    """One process sleeps in an iteration."""

    def __init__(self, rank: int, iteration: int, seconds: float) -> None:
        self.rank, self.iteration, self.seconds = rank, iteration, seconds

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if runner.rank == self.rank and runner.iter == self.iteration:
            time.sleep(self.seconds)


def _train(rank: int, world_size: int, folder: Path) -> str:
    cfg = heavy_config(folder, 0.01)
    cfg.update(resume=False, env_cfg=dict(dist_cfg=dict(timeout=4)))
    cfg.train_cfg.max_iters = 4
    cfg.custom_hooks = [dict(type='Sleeps', rank=1, iteration=2, seconds=6)]
    runner = build(cfg)
    with contextlib.redirect_stderr(io.StringIO()) as output:
        runner.train()
    return output.getvalue()


def test_hung_process_is_named_with_its_iteration(tmp_path):
    first, second = run_on_processes(_train, 2, tmp_path)
    sentences = re.findall(r'warning: no iteration has ended .*', first)
    assert len(sentences) == 1 and 'no iteration has ended' not in second, 'said once, by the first process'
    assert re.search(r'wait for: process 1 on \S+ began iteration 3 and is at test_watchdog\.py:\d+ in before_train_iter\.', sentences[0])
