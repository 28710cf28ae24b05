"""Convolutions as matrix products, for a CPU, where these are faster than the convolution kernels; equal up to rounding.

Shapes, where nothing else is said: ``x`` (B, C, *size), ``w`` (O, C, *kernel), ``g`` (B, O, *size').
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

FEW = 256  # so few positions of an image are worth a copy, for one product over the images
SHARE = 4  # how many times larger the weights must be than the unfolded input


class Geometry(NamedTuple):
    """Stride, padding and dilation, a number for each dimension of the map."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


class Temporal:
    """Kernel (k, 1, ...) with odd k and stride 1 that keeps the size: k products with slices of the input, for N tasks at once.

    ``x`` (N, B, C, T, ...), ``w`` (N, O, C, k, 1, ...), ``g`` (N, B, O, T, ...).
    """

    @staticmethod
    def applies(shape: tuple[int, ...], geometry: Geometry) -> bool:
        """``shape`` of the weights of a task."""
        _, _, length, *rest = shape
        kept = geometry.padding == (length // 2, *[0] * len(rest)) and {*geometry.stride, *geometry.dilation} == {1}
        return kept and length % 2 == 1 and set(rest) <= {1}

    @staticmethod
    def output(x: Tensor, w: Tensor) -> Tensor:
        return _over_time(x, _matrices(w))

    @staticmethod
    def input_gradient(g: Tensor, w: Tensor) -> Tensor:
        return _over_time(g, [matrix.transpose(1, 2) for matrix in reversed(_matrices(w))])

    @staticmethod
    def weight_gradient(x: Tensor, g: Tensor, shape: tuple[int, ...]) -> Tensor:
        tasks, outputs, inputs, length, *_ = shape
        matrices, few = x.new_zeros(length, tasks, outputs, inputs), _few(x)
        if few:
            x, g = _side_by_side(x), _side_by_side(g)
        for matrix, into, of in _taps(matrices.unbind(), x.shape[2 if few else 3]):
            if few:
                matrix.baddbmm_(g[:, :, into].flatten(2), x[:, :, of].flatten(2).transpose(1, 2))
                continue
            for task, clips, gradients in zip(matrix, x, g, strict=True):
                for clip, gradient in zip(clips, gradients, strict=True):
                    task.addmm_(gradient[:, into].flatten(1), clip[:, of].flatten(1).t())
        return matrices.movedim(0, 3).reshape(shape)


def _over_time(x: Tensor, matrices: list[Tensor]) -> Tensor:
    """(N, B, C, T, ...) and matrices (N, O, C), one for each frame of the kernel, to (N, B, O, T, ...)."""
    outputs, frames = matrices[0].shape[1], x.shape[3]
    if _few(x):
        clips = _side_by_side(x)
        y = clips.new_empty(len(x), outputs, *clips.shape[2:])
        for matrix, into, of in _taps(matrices, frames):
            target, source = y[:, :, into].flatten(2), clips[:, :, of].flatten(2)
            torch.bmm(matrix, source, out=target) if into == of else target.baddbmm_(matrix, source)
        return y.unflatten(3, (x.shape[1], *x.shape[4:])).movedim(3, 1).contiguous()
    y = x.new_empty(*x.shape[:2], outputs, *x.shape[3:])
    for task, clips, outs in zip(range(len(x)), x, y, strict=True):
        for clip, out in zip(clips, outs, strict=True):
            for matrix, into, of in _taps(matrices, frames):
                target, source = out[:, into].flatten(1), clip[:, of].flatten(1)
                torch.mm(matrix[task], source, out=target) if into == of else target.addmm_(matrix[task], source)
    return y


def _matrices(w: Tensor) -> list[Tensor]:
    return list(w.flatten(3).movedim(3, 0).contiguous())


def _taps(matrices: Sequence[Tensor], frames: int) -> Iterator[tuple[Tensor, slice, slice]]:
    """The matrices of a kernel, first that in the middle, with the frames into which and those of which they go."""
    middle = len(matrices) // 2
    for k in sorted(range(len(matrices)), key=lambda k: k != middle):
        shift = k - middle
        if abs(shift) < frames:
            yield matrices[k], slice(max(-shift, 0), frames - max(shift, 0)), slice(max(shift, 0), frames + min(shift, 0))


def _few(x: Tensor) -> bool:
    return x.shape[1] > 1 and x[0, 0, 0].numel() < FEW


def _side_by_side(x: Tensor) -> Tensor:
    """(N, B, C, T, ...) to (N, C, T, B * ...), a copy."""
    return x.movedim(1, 3).flatten(3)


class Unfolded:
    """Any kernel on maps so small that most of the time would go into bringing the weights into another order."""

    @staticmethod
    def applies(positions: int, shape: tuple[int, ...]) -> bool:
        """``positions`` B * prod(size') and ``shape`` of the weights."""
        return SHARE * positions <= shape[0]

    @staticmethod
    def output(x: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
        columns = _unfolded(_padded(x, geometry), w.shape[2:], geometry)  # (C, *kernel, B, *size')
        y = w.flatten(1) @ columns.reshape(w[0].numel(), -1)
        return y.view(len(w), *columns.shape[-x.dim() + 1 :]).transpose(0, 1).contiguous()

    @staticmethod
    def input_gradient(g: Tensor, w: Tensor, size: tuple[int, ...], geometry: Geometry) -> Tensor:
        columns = (w.flatten(1).t() @ g.transpose(0, 1).flatten(1)).view(*w.shape[1:], len(g), *g.shape[2:])
        padded = _padded(g.new_zeros(len(g), *size[1:]), geometry)
        targets = _unfolded(padded, w.shape[2:], geometry)
        for place in product(*map(range, w.shape[2:])):  # one after the other: they overlap
            targets[(slice(None), *place)] += columns[(slice(None), *place)]
        edges = zip(geometry.padding, size[2:], strict=True)
        return padded[(slice(None), slice(None), *(slice(edge, edge + length) for edge, length in edges))].contiguous()

    @staticmethod
    def weight_gradient(x: Tensor, g: Tensor, out: Tensor, geometry: Geometry) -> None:
        columns = _unfolded(_padded(x, geometry), out.shape[2:], geometry).reshape(out[0].numel(), -1)
        torch.mm(g.transpose(0, 1).flatten(1), columns.t(), out=out.flatten(1))


def _padded(x: Tensor, geometry: Geometry) -> Tensor:
    return F.pad(x, [edge for edge in reversed(geometry.padding) for _ in range(2)]).contiguous()


def _unfolded(x: Tensor, kernel: tuple[int, ...], geometry: Geometry) -> Tensor:
    """A view (C, *kernel, B, *size') of a contiguous padded map (B, C, *size)."""
    images, channels, *steps = x.stride()
    sizes = [
        (length - dilation * (width - 1) - 1) // stride + 1
        for length, width, stride, dilation in zip(x.shape[2:], kernel, geometry.stride, geometry.dilation, strict=True)
    ]
    inside = [step * dilation for step, dilation in zip(steps, geometry.dilation, strict=True)]
    across = [step * stride for step, stride in zip(steps, geometry.stride, strict=True)]
    return x.as_strided((x.shape[1], *kernel, len(x), *sizes), (channels, *inside, images, *across), x.storage_offset())
