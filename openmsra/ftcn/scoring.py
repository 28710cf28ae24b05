"""Scores of clips, in their order, while a video is read: in batches on a GPU, side by side on a processor."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier, Lock
from typing import TypeVar

import numpy as np
import torch
from torch import nn

Item = TypeVar('Item')
_STARTING = Lock()


def scoring(model: nn.Module, batch_size: int) -> 'Batches':
    """How clips of a video are scored on the model's device with so many clips at a time."""
    workers = min(batch_size, torch.get_num_threads())
    on_processor = next(model.parameters()).device.type == 'cpu'
    return SideBySide(model, workers) if on_processor and workers > 1 else Batches(model, batch_size)


class Batches:
    """Clips wait until a batch is full; the first is scored alone, so that there is a score early.

    Args:
        model: takes clips (B, 3, T, H, W) of bytes in ``test_step`` and gives samples with ``pred_score``.
        size: clips in a forward pass.
    """

    def __init__(self, model: nn.Module, size: int) -> None:
        self.model, self.size, self.full = model, size, 1
        self.waiting: list[np.ndarray] = []

    def __enter__(self) -> 'Batches':
        return self

    def __exit__(self, *error: object) -> None:
        self.waiting.clear()

    def reading(self, events: Iterable[Item]) -> Iterator[Item]:
        """The same events, which may be fetched by another thread."""
        return iter(events)

    def submit(self, clip: np.ndarray) -> None:
        """Hand over a clip (T, H, W, 3)."""
        self.waiting.append(clip)

    def ready(self) -> Iterator[float]:
        """Scores that are known by now, in the order of the clips."""
        if len(self.waiting) >= self.full:
            self.full = self.size
            yield from self.rest()

    def rest(self) -> Iterator[float]:
        """Scores of all clips that wait."""
        clips, self.waiting = self.waiting, []
        if clips:
            yield from scores(self.model, clips)


class SideBySide(Batches):
    """Each clip is scored by a thread of its own, ``workers`` of them, while the video is read on.

    Threads that share no clip do not wait for each other after every layer: two take 0.85 of the time that a network on two
    threads takes, and the reader uses what they leave. At most two clips for each worker wait. The first clip takes all threads.
    """

    def __init__(self, model: nn.Module, workers: int) -> None:
        super().__init__(model, workers)
        self.pool = started(workers, max(1, torch.get_num_threads() // workers))
        self.reader = started(1, 1)
        self.pending: deque[Future] = deque()
        self.first = True

    def __exit__(self, *error: object) -> None:
        self.reader.shutdown(cancel_futures=True)
        self.pool.shutdown(cancel_futures=True)

    def reading(self, events: Iterable[Item]) -> Iterator[Item]:
        events, none = iter(events), object()
        while (event := self.reader.submit(next, events, none).result()) is not none:
            yield event

    def submit(self, clip: np.ndarray) -> None:
        if self.first:
            known = Future()
            known.set_result(_score(self.model, clip))
        else:
            known = self.pool.submit(_score, self.model, clip)
        self.first = False
        self.pending.append(known)

    def ready(self) -> Iterator[float]:
        while self.pending and (self.pending[0].done() or len(self.pending) > 2 * self.size):
            yield self.pending.popleft().result()

    def rest(self) -> Iterator[float]:
        while self.pending:
            yield self.pending.popleft().result()


def _score(model: nn.Module, clip: np.ndarray) -> float:
    (score,) = scores(model, [clip])
    return score


@torch.inference_mode()
def scores(model: nn.Module, clips: list[np.ndarray]) -> list[float]:
    """Probabilities of a forgery for clips (T, H, W, 3) in one forward pass."""
    inputs = torch.from_numpy(np.stack(clips).transpose(0, 4, 1, 2, 3).copy())
    return [sample.pred_score for sample in model.test_step(dict(inputs=inputs))]


def started(workers: int, threads: int) -> ThreadPoolExecutor:
    """Threads for calls of PyTorch with so many threads of its own each."""
    with _STARTING:
        before, ready = torch.get_num_threads(), Barrier(workers + 1)
        pool = ThreadPoolExecutor(workers, 'openmsra', _limit, (threads,))
        for _ in range(workers):
            pool.submit(ready.wait)
        ready.wait()
        torch.set_num_threads(before)  # a thread that is new to PyTorch takes the number that was set last, whoever set it
    return pool


def _limit(threads: int) -> None:
    torch.get_num_threads()  # the first call in a thread sets its number to that of the process
    torch.set_num_threads(threads)
