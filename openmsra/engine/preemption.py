"""A training that is asked to stop ends after its current iteration with one checkpoint, on all processes alike."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook

from openmsra.engine.checkpoint.hook import DurableCheckpointHook
from openmsra.errors import PreemptedError

# what Slurm, Kubernetes and a keyboard send; Slurm's --signal chooses among them
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
IMPATIENT = 3.0  # seconds after which another Ctrl-C is a person's, and not the first one arriving on two ways


class _Request:
    """Which signal asked this process to stop, if any."""

    def __init__(self) -> None:
        self.signal, self.time = 0, 0.0

    def handle(self, number: int, frame) -> None:
        if number == signal.SIGINT and self.signal and time.monotonic() - self.time > IMPATIENT:
            raise KeyboardInterrupt
        if not self.signal:
            self.signal, self.time = number, time.monotonic()


_request = _Request()


@contextmanager
def signals_are_requests() -> Iterator[None]:
    """Inside, the signals are noted, for :class:`PreemptionHook` to act on; only in the main thread, as Python demands."""
    global _request
    _request = _Request()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _request.handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class PreemptionHook(Hook):
    """After each iteration all processes learn whether one of them was asked to stop; then they save, together, and leave.

    Raises:
        PreemptedError: on all processes, with the checkpoint to go on from.
    """

    priority = 'LOWEST'  # after everything that belongs to the iteration

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        number = _request.signal
        if get_world_size() > 1:
            flag = torch.tensor([number], device=next(runner.model.parameters()).device)
            all_reduce(flag, 'max')
            number = int(flag)
        if not number:
            return
        name, writer = signal.Signals(number).name, next(h for h in runner.hooks if isinstance(h, DurableCheckpointHook))
        path = writer.save_now(runner)
        runner.logger.warning(f'{name}: stopped after iteration {runner.iter + 1}; {path} was written, --resume goes on from it.')
        raise PreemptedError(f'stopped by {name} after iteration {runner.iter + 1}; add --resume to go on from {path}.')
