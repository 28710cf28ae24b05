"""A training that is asked to stop saves after its iteration, leaves on all processes, and goes on to the last bit."""

import os
import random
import signal
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from openmsra.engine.checkpoint.hook import PREEMPTED
from openmsra.errors import PreemptedError
from openmsra.registry import HOOKS
from tests.dist.gloo import run_on_processes
from tests.reliability.runs import build, differences, each_instant, final_state, short_config
from tests.test_configs import INSTANT

AUTOFORMER = next(path for path in INSTANT if path.parent.name == 'autoformer')


@HOOKS.register_module()
class StopMe(Hook):
    """Sends a signal to its process during an iteration, as a scheduler would at any moment."""

    def __init__(self, iteration: int, number: int, rank: int = 0) -> None:
        self.iteration, self.number, self.rank = iteration, number, rank

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if runner.iter == self.iteration and runner.rank == self.rank:
            os.kill(os.getpid(), self.number)


def _config(path: Path, work_dir: Path, workers: int = 0):
    cfg = short_config(path, work_dir, batches=3, workers=workers)
    cfg.default_hooks.checkpoint.interval = 100  # so that only the stops and the end write
    cfg.default_hooks.checkpoint.save_last = True
    return cfg


def _whole(path: Path, work_dir: Path) -> dict:
    build(_config(path, work_dir)).train()
    return final_state(work_dir)


def _stopped(path: Path, work_dir: Path, iteration: int, number: int, rank: int = 0, workers: int = 0) -> int:
    """Iterations that the checkpoint of a run that was stopped in ``iteration`` holds; the run goes on from an earlier stop."""
    cfg = _config(path, work_dir, workers)
    cfg.resume = True
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='StopMe', iteration=iteration, number=int(number), rank=rank)]
    runner = build(cfg)
    with pytest.raises(
        PreemptedError, match=f'stopped by {signal.Signals(number).name} after iteration {iteration + 1}; .*--resume'
    ):
        runner.train()
    return final_state(work_dir)['iter']


def _finished(path: Path, work_dir: Path) -> dict:
    cfg = _config(path, work_dir)
    cfg.resume = True
    build(cfg).train()
    return final_state(work_dir)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signal_ends_a_run_after_its_iteration_with_one_checkpoint(number, tmp_path):
    workers = 1 if number == signal.SIGINT else 0
    assert _stopped(AUTOFORMER, tmp_path, 1, number, workers=workers) == 2
    assert [path.name for path in tmp_path.glob('*.pth')] == [PREEMPTED]
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler, signal.SIG_IGN)


def test_run_that_was_stopped_three_times_ends_like_the_whole_one(tmp_path):
    for iteration, number in ((0, signal.SIGTERM), (2, signal.SIGUSR1), (4, signal.SIGTERM)):
        assert _stopped(AUTOFORMER, tmp_path / 'stopped', iteration, number) == iteration + 1
    assert not differences(_whole(AUTOFORMER, tmp_path / 'whole'), _finished(AUTOFORMER, tmp_path / 'stopped'))
    assert not (tmp_path / 'stopped' / PREEMPTED).exists(), 'the last checkpoint takes its place'


@pytest.mark.reliability
@each_instant
def test_every_paper_goes_on_to_the_last_bit_after_stops_at_random(path, tmp_path):
    expected, rng = _whole(path, tmp_path / 'whole'), random.Random(path.stem)
    for number in range(8):
        folder = tmp_path / str(number)
        for iteration in sorted(rng.sample(range(6), 2)):
            _stopped(path, folder, iteration, rng.choice([signal.SIGTERM, signal.SIGUSR1]))
        assert not differences(expected, _finished(path, folder))


def _one_of_two(rank: int, world_size: int, folder: Path) -> list[str]:
    expected = _whole(AUTOFORMER, folder / 'whole')
    assert _stopped(AUTOFORMER, folder / 'stopped', 2, signal.SIGTERM, rank=1) == 3
    return differences(expected, _finished(AUTOFORMER, folder / 'stopped'))


def test_signal_to_one_of_two_processes_stops_both(tmp_path):
    assert run_on_processes(_one_of_two, 2, tmp_path, timeout=200) == [[], []]
