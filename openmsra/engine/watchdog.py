"""Says which process a run waits for, before the wait ends in a timeout of NCCL or gloo that names nobody."""

import json
import platform
import sys
import threading
import time
import traceback
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook

PATIENCE = {'nccl': 600.0, 'gloo': 1800.0}  # seconds, torch's own timeouts
GIVE_UP = 'They give up after twice that time (env_cfg.dist_cfg.timeout).'
SILENT = dict(step='its start', waits=False, at='', node='an unknown machine', time=0.0)  # has not told anything yet
WAITS = ('torch/autograd/', 'torch/distributed/', 'torch/nn/parallel/')  # where a process stands that waits for another


class HungProcessHook(Hook):
    """A thread of each process tells the others its step and where it stands; half the timeout before a wait is given up, the
    first process that is alive names those that have not arrived. Trainings are watched, their validations and tests.

    The timeout is ``env_cfg.dist_cfg.timeout`` in seconds, else torch's.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.step, self.since, self.ended, self.reported = 'its start', time.monotonic(), threading.Event(), None

    def before_train(self, runner) -> None:
        self._start(runner)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self._begin(f'iteration {runner.iter + 1}')

    def before_val(self, runner) -> None:
        self._begin(f'the validation after iteration {runner.iter}')

    def before_val_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self._begin(f'batch {batch_idx + 1} of the validation after iteration {runner.iter}')

    def after_val(self, runner) -> None:
        self._begin(f'what follows the validation after iteration {runner.iter}')

    def before_test(self, runner) -> None:
        self._start(runner)

    def before_test_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self._begin(f'batch {batch_idx + 1} of the test')

    def after_train(self, runner) -> None:
        self.ended.set()

    def after_test(self, runner) -> None:
        self.ended.set()

    def _begin(self, step: str) -> None:
        self.step, self.since = step, time.monotonic()

    def _start(self, runner) -> None:
        rank, world_size = get_dist_info()
        self._begin('its start')
        self.ended.clear()
        if world_size > 1:
            timeout = runner.cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout') or PATIENCE.get(dist.get_backend(), 600.0)
            # no daemon: Python ends these at its exit, and the process with them (SIGABRT) if one is inside the store then
            threading.Thread(target=self._watch, args=(_store(), rank, world_size, timeout / 2)).start()

    def _watch(self, store: dist.Store, rank: int, world_size: int, patience: float) -> None:
        main, seconds = threading.main_thread().ident, 0.0  # the first sign at once: who stops early is known too
        while self._goes_on(seconds) and (frame := sys._current_frames().get(main)) is not None:
            seconds = min(patience / 4, 10)
            stack = [f'{frame.filename}:{frame.lineno} in {frame.name}' for frame in traceback.extract_stack(frame)]
            try:
                sentence = self.look(store, rank, world_size, patience, stack)
            except (RuntimeError, ValueError):  # the store is gone with the process that kept it
                return
            if sentence:
                print(sentence, file=sys.stderr, flush=True)

    def _goes_on(self, seconds: float) -> bool:
        """Whether the training is not over, nor the main thread, after so many seconds."""
        end = time.monotonic() + seconds
        while True:
            left = max(end - time.monotonic(), 0)
            if self.ended.wait(min(left, 0.5)) or not threading.main_thread().is_alive():
                return False
            if left <= 0.5:
                return True

    def look(self, store: dist.Store, rank: int, world_size: int, patience: float, stack: list[str]) -> str:
        """Tell the others where this process stands; a sentence about those that the run waits for, once for a step.

        Args:
            patience: seconds after which a step takes too long.
            stack: where this process stands, ``file:line in function``, the innermost call last.
        """
        waits = any(part in line for line in stack[-4:] for part in WAITS)
        facts = dict(step=self.step, waits=waits, at=stack[-1], node=platform.node(), time=time.time())
        store.set(f'openmsra/{rank}', json.dumps(facts))
        if time.monotonic() - self.since < patience or self.reported == self.step:
            return ''
        try:
            store.get(f'openmsra/{rank}')
        except dist.DistStoreError:  # it has not answered in time: the process that keeps it stands still
            self.reported = self.step
            return (
                f'warning: process {rank} began {self.step} more than {patience:.0f} s ago, and process 0, through which the '
                f'others tell where they are, does not answer: it hangs or was stopped. {GIVE_UP}'
            )
        keys = [f'openmsra/{other}' for other in range(world_size)]
        others = [json.loads(store.get(key)) if store.check([key]) else SILENT for key in keys]
        alive = [time.time() - other['time'] < patience for other in others]
        if alive.index(True) != rank:
            return ''
        self.reported = self.step
        return _sentence(others, alive, patience)


def _store() -> dist.Store:
    store = dist.PrefixStore('watchdog', dist.distributed_c10d._get_default_store())
    store.set_timeout(timedelta(seconds=10))
    return store


def _sentence(processes: list[dict], alive: list[bool], patience: float) -> str:
    late = [rank for rank, (facts, lives) in enumerate(zip(processes, alive, strict=True)) if not (lives and facts['waits'])]
    parts = []
    for rank in late or range(len(processes)):
        facts = processes[rank]
        process = f'process {rank} on {facts["node"]}'
        if alive[rank]:
            parts.append(f'{process} began {facts["step"]} and is at {Path(facts["at"]).name}')
        else:
            parts.append(f'{process} had begun {facts["step"]} when it gave its last sign')
    return f'warning: no step has ended for {patience:.0f} s, the others wait for: {"; ".join(parts)}. {GIVE_UP}'
