"""Exponential moving averages of a network: momentum encoders and mean teachers."""

import torch
from torch import Tensor, nn

BUFFERS = ('copy', 'ema', 'keep')


@torch.no_grad()
def ema_update(target: nn.Module, source: nn.Module, momentum: float, buffers: str = 'copy') -> None:
    """Move ``target`` towards ``source``: t <- m * t + (1 - m) * s  (Soft Teacher sec. 3.1, key encoder of MoCo).

    Args:
        target, source: modules with the same parameter names and shapes.
        momentum: m in [0, 1]; 0 copies the source, 1 leaves the target as it is.
        buffers: what happens to floating-point buffers (BatchNorm statistics): 'copy', 'ema' or 'keep';
            integer buffers are always copied.

    Raises:
        ValueError: m or ``buffers`` is none of these; names or shapes differ, and the message lists every difference.
    """
    if not 0 <= momentum <= 1 or buffers not in BUFFERS:
        raise ValueError(f'momentum must be in [0, 1] and buffers one of {", ".join(BUFFERS)}, got {momentum}, {buffers!r}')
    moved = _pairs(dict(target.named_parameters()), dict(source.named_parameters()))
    copied = []
    for own, other in _pairs(dict(target.named_buffers()), dict(source.named_buffers())):
        if own.is_floating_point() and buffers == 'ema':
            moved.append((own, other))
        elif not own.is_floating_point() or buffers == 'copy':
            copied.append((own, other))
    for dtype in {own.dtype for own, _ in copied}:  # one launch for all tensors of a type on a GPU
        torch._foreach_copy_(*map(list, zip(*(pair for pair in copied if pair[0].dtype == dtype), strict=True)))
    if moved:
        own, other = map(list, zip(*moved, strict=True))
        torch._foreach_lerp_(own, other, 1 - momentum)


def ramped_momentum(iteration: int, momentum: float, warm_up: int = 0) -> float:
    """min(m, 1 - (1 + w) / (t + 1 + w)): with w = 0 the target is the plain mean of the sources up to 1 / (1 - m) iterations.

    Args:
        iteration: t, from 0.
        momentum: m, what the ramp ends at.
        warm_up: w, iterations by which the ramp is stretched.
    """
    return min(momentum, 1 - (1 + warm_up) / (iteration + 1 + warm_up))


def _pairs(own: dict[str, Tensor], other: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    faults = [f'{name}: only in the {"target" if name in own else "source"}' for name in sorted(own.keys() ^ other.keys())]
    faults += [
        f'{name}: target {tuple(own[name].shape)}, source {tuple(other[name].shape)}'
        for name in sorted(own.keys() & other.keys())
        if own[name].shape != other[name].shape
    ]
    if faults:
        raise ValueError('the two modules differ: ' + '; '.join(faults))
    return [(value, other[name]) for name, value in own.items()]
