"""Convolutions over time as matrix products with first derivatives, for training on a CPU; equal up to rounding.

Channels lie behind each other in memory (channels-last), so that a 1x1x1 convolution is one product for all positions and a
(k, 1, 1) convolution k products for each clip, with contiguous slices of time. No copies are made of maps or of 1x1x1 weights.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from openmsra.common.products import Geometry, Temporal

FORMAT = torch.channels_last_3d


class TemporalConv3d(nn.Conv3d):
    """An ``nn.Conv3d`` of kernel (k, 1, 1), k odd, that keeps T: by products on a CPU for channels-last maps."""

    def forward(self, x: Tensor) -> Tensor:
        if not is_channels_last(x) or self.bias is not None:
            return super().forward(x)
        if not Temporal.applies(self.weight.shape, Geometry(self.stride, self.padding, self.dilation)):
            return super().forward(x)
        return self._of_few_channels(x) if self.in_channels * self.kernel_size[0] < 16 else _Products.apply(x, self.weight)

    def _of_few_channels(self, x: Tensor) -> Tensor:
        """One product with neighbouring frames under each other: channels-last maps of a few channels are slow to copy."""
        length, frames = self.kernel_size[0], x.shape[2]
        padded = F.pad(x.contiguous(), (0, 0, 0, 0, length // 2, length // 2))
        columns = torch.cat([padded[:, :, k : k + frames] for k in range(length)], 1).flatten(2)  # (B, k * C, T * H * W)
        matrix = self.weight.transpose(1, 2).flatten(1)
        rows = torch.bmm(columns.transpose(1, 2), matrix.t().expand(len(x), -1, -1))
        return rows.unflatten(1, x.shape[2:]).permute(0, 4, 1, 2, 3)


def is_channels_last(x: Tensor) -> bool:
    """Whether these are maps (B, C, T, H, W) on a CPU for which this file is meant."""
    return (
        x.device.type == 'cpu' and x.dim() == 5 and not torch.is_autocast_enabled('cpu') and x.is_contiguous(memory_format=FORMAT)
    )


class _Products(Function):
    """(B, C, T, H, W) and (O, C, k, 1, 1) to (B, O, T, H, W), channels-last."""

    @staticmethod
    def forward(ctx, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        rows, matrices = _rows(x), _matrices(w)
        out = rows.new_empty(*rows.shape[:3], len(w))
        for k, clip, into, of, first in _taps(len(matrices), rows):
            source, target = rows[clip, of].flatten(0, -2), out[clip, into].flatten(0, -2)
            _accumulate(target, source, matrices[k].t(), first)
        return _maps(out, x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, w = ctx.saved_tensors
        rows, g, matrices = _rows(x), _rows(gradient), _matrices(w)
        to_input = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
        to_weight = [torch.empty_like(matrix, memory_format=torch.contiguous_format) for matrix in matrices]
        begun = set()
        for k, clip, into, of, first in _taps(len(matrices), rows):
            moved = g[clip, into].flatten(0, -2)
            if to_input is not None:
                _accumulate(to_input[clip, of].flatten(0, -2), moved, matrices[k], first)
            if ctx.needs_input_grad[1]:
                _accumulate(to_weight[k], moved.t(), rows[clip, of].flatten(0, -2), k not in begun)
                begun.add(k)
        for k in set(range(len(matrices))) - begun:  # the clip is shorter than half the kernel
            to_weight[k].zero_()
        input_gradient = None if to_input is None else _maps(to_input, x)
        return input_gradient, torch.stack(to_weight, 2).view(w.shape) if ctx.needs_input_grad[1] else None


def _taps(count: int, rows: Tensor) -> Iterator[tuple[int, slice | int, slice, slice, bool]]:
    """Tap of the kernel, clips, frames into which and of which it goes, and whether it is the first that goes there.

    The first tap, that in the middle, reaches all frames.
    """
    if count == 1:
        yield 0, slice(None), slice(None), slice(None), True
        return
    frames, middle = rows.shape[1], count // 2
    for clip in range(len(rows)):
        for k in sorted(range(count), key=lambda k: k != middle):
            shift = k - middle
            if abs(shift) < frames:
                into, of = slice(max(-shift, 0), frames - max(shift, 0)), slice(max(shift, 0), frames + min(shift, 0))
                yield k, clip, into, of, k == middle


def _accumulate(target: Tensor, first: Tensor, second: Tensor, overwrite: bool) -> None:
    torch.mm(first, second, out=target) if overwrite else target.addmm_(first, second)


def _rows(x: Tensor) -> Tensor:
    """(B, C, T, H, W) to (B, T, H * W, C); of channels-last maps a view."""
    return x.permute(0, 2, 3, 4, 1).flatten(2, 3).contiguous()


def _maps(rows: Tensor, like: Tensor) -> Tensor:
    """(B, T, H * W, C) to (B, C, T, H, W) of the size of ``like``."""
    return rows.unflatten(2, like.shape[3:]).permute(0, 4, 1, 2, 3)


def _matrices(w: Tensor) -> list[Tensor]:
    """(O, C, k, 1, 1) to k matrices (O, C)."""
    return [w.flatten(1)] if w.shape[2] == 1 else [w[:, :, k, 0, 0].contiguous() for k in range(w.shape[2])]
