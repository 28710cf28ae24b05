"""Interleaved timing: A, B, A, B, ... so that a busy machine slows both sides; networks for it."""

import statistics
import time
from collections.abc import Callable

import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModule


def draw_weights(model: BaseModule) -> None:
    """``init_weights`` without mmengine's report, which has three lines for each parameter."""
    MMLogger.get_current_instance().setLevel('WARNING')
    model.init_weights()


def interleaved(sides: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each call of each side; one call of each first, which does not count.

    On one thread of a CPU they are seconds of the processor (user and system), which a busy machine leaves almost alone.
    """
    clock = time.process_time if device.type == 'cpu' and torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for name, call in sides.items():
            _synchronise(device)
            start = clock()
            call()
            _synchronise(device)
            if repeat:
                times[name].append(clock() - start)
    return times


def ratio(times: dict[str, list[float]], ours: str, peer: str) -> dict[str, float]:
    """Ratio of the fastest calls, and median and range of the ratios within single repeats."""
    pairs = [a / b for a, b in zip(times[ours], times[peer], strict=True)]
    return dict(
        ratio=min(times[ours]) / min(times[peer]),
        median=statistics.median(pairs),
        lowest=min(pairs),
        highest=max(pairs),
        ours_ms=min(times[ours]) * 1e3,
        peer_ms=min(times[peer]) * 1e3,
    )


def _synchronise(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize()
