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
WAITS = ('torch/autograd/', 'torch/distributed/', 'torch/nn/parallel/')  # where a process stands that waits for another


class HungProcessHook(Hook):
    """A thread of each process tells the others its iteration and where it stands; half the timeout before a wait is given up,
    the first process that is alive names those that have not arrived.

    The timeout is ``env_cfg.dist_cfg.timeout`` in seconds, else torch's.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.iteration, self.since, self.ended = 0, time.monotonic(), threading.Event()

    def before_train(self, runner) -> None:
        rank, world_size = get_dist_info()
        if world_size > 1:
            timeout = runner.cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout') or PATIENCE.get(dist.get_backend(), 600.0)
            self.since = time.monotonic()
            threading.Thread(target=self._watch, args=(rank, world_size, timeout / 2), daemon=True).start()

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self.iteration, self.since = runner.iter + 1, time.monotonic()

    def before_val(self, runner) -> None:
        """A validation has no iterations of the training, and may take longer than any of them."""
        self.since = float('inf')

    def after_val(self, runner) -> None:
        self.since = time.monotonic()

    def after_train(self, runner) -> None:
        self.ended.set()

    def _watch(self, rank: int, world_size: int, patience: float) -> None:
        main, store, reported = threading.main_thread().ident, _store(), None
        while not self.ended.wait(min(patience / 4, 10)):
            frame = sys._current_frames().get(main)
            if frame is None:
                return
            stack = [f'{frame.filename}:{frame.lineno} in {frame.name}' for frame in traceback.extract_stack(frame)]
            waits = any(part in line for line in stack[-4:] for part in WAITS)
            facts = dict(iteration=self.iteration, waits=waits, at=stack[-1], node=platform.node(), time=time.time())
            try:
                store.set(f'openmsra/{rank}', json.dumps(facts))
                if time.monotonic() - self.since < patience or reported == self.iteration:
                    continue
                others = [json.loads(store.get(f'openmsra/{other}')) for other in range(world_size)]
            except (RuntimeError, ValueError):  # the store is gone with the process that kept it
                return
            alive = [time.time() - other['time'] < patience for other in others]
            if alive.index(True) == rank:
                reported = self.iteration
                print(_sentence(others, alive, patience), file=sys.stderr, flush=True)


def _store() -> dist.Store:
    store = dist.PrefixStore('watchdog', dist.distributed_c10d._get_default_store())
    store.set_timeout(timedelta(seconds=10))
    return store


def _sentence(processes: list[dict], alive: list[bool], patience: float) -> str:
    late = [rank for rank, (facts, lives) in enumerate(zip(processes, alive, strict=True)) if not (lives and facts['waits'])]
    parts = []
    for rank in late or range(len(processes)):
        facts = processes[rank]
        what = f'is at {Path(facts["at"]).name}' if alive[rank] else 'has given no sign since then'
        parts.append(f'process {rank} on {facts["node"]} began iteration {facts["iteration"]} and {what}')
    return (
        f'warning: no iteration has ended for {patience:.0f} s, the others wait for: {"; ".join(parts)}. '
        'They give up after twice that time (env_cfg.dist_cfg.timeout).'
    )
