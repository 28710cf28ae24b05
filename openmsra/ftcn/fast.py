"""The fully temporal network rewritten for inference, exactly: same weights, same outputs up to rounding.

No operation before the head mixes positions except max pools, so that the image is worked off in strips of rows, each
from the stem to the last stage: activations stay in the cache and the full-resolution map never exists. Activations are
(T, P, C), time slowest, P positions of one or more clips: a 1x1x1 convolution is one matrix product, a (k, 1, 1)
convolution k products of contiguous slices. Batch norm is folded into the product in front of it; the last product of a
block is added to the shortcut in place.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

POSITIONS = 8192  # points in time and space behind the stem that are worked off together; sets the cache footprint


def fully_temporal(network: nn.Module) -> bool:
    """Whether every convolution of a :class:`ResNet3D` has a 1x1 spatial kernel."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv3d)]
    return all(module.kernel_size[1:] == (1, 1) for module in convolutions) and not network.r2plus1d


def folded(conv: nn.Conv3d, norm: nn.Module) -> tuple[list[Tensor], Tensor]:
    """Matrices (C_in, C_out) for each frame of the kernel, and the bias (C_out,), of a convolution and its batch norm."""
    norm = norm[0] if isinstance(norm, nn.Sequential) else norm
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = conv.weight.flatten(2) * scale[:, None, None]
    return [matrix.t().contiguous() for matrix in weight.unbind(2)], norm.bias - norm.running_mean * scale


def temporal(x: Tensor, matrices: list[Tensor], bias: Tensor) -> Tensor:
    """Convolution over time with zero padding: (T, P, C_in) to (T, P, C_out)."""
    count, frames = len(matrices), len(x)
    out = torch.addmm(bias, x.flatten(0, 1), matrices[count // 2]).unflatten(0, x.shape[:2])
    for k, matrix in enumerate(matrices):
        shift = k - count // 2
        if shift and abs(shift) < frames:
            into = out[max(-shift, 0) : frames - max(shift, 0)].flatten(0, 1)
            into.addmm_(x[max(shift, 0) : frames + min(shift, 0)].flatten(0, 1), matrix)
    return out


def halve(x: Tensor, width: int) -> Tensor:
    """2x2 max pool without padding of maps with ``width`` columns: (T, P, C) to (T, P', C)."""
    rows, columns = x.shape[1] // width // 2, width // 2
    x = x.unflatten(1, (-1, width))[:, : 2 * rows, : 2 * columns].unflatten(1, (rows, 2))
    x = torch.maximum(x[:, :, 0], x[:, :, 1])
    return torch.maximum(x[:, :, 0::2], x[:, :, 1::2]).flatten(1, 2)


class Block:
    """A bottleneck with folded matrices."""

    def __init__(self, block: nn.Module) -> None:
        branch = block.branch2
        self.a, self.a_bias = folded(branch.a, branch.a_bn)
        (self.b,), self.b_bias = folded(branch.b, branch.b_bn)
        (self.c,), self.bias = folded(branch.c, branch.c_bn)
        self.pool = isinstance(branch.b_bn, nn.Sequential)
        self.projection = None
        if hasattr(block, 'branch1'):
            (self.projection,), bias = folded(block.branch1, block.branch1_bn)
            self.bias = self.bias + bias  # a constant commutes with the max pool of the shortcut

    def __call__(self, x: Tensor, width: int) -> tuple[Tensor, int]:
        """(T, P, C) with ``width`` columns to the output and its columns; overwrites ``x`` where it is the shortcut."""
        inner = temporal(x, self.a, self.a_bias).relu_()
        inner = torch.addmm(self.b_bias, inner.flatten(0, 1), self.b).unflatten(0, inner.shape[:2])
        if self.projection is not None:
            x = (x.flatten(0, 1) @ self.projection).unflatten(0, x.shape[:2])
        if self.pool:
            inner, x, width = halve(inner, width), halve(x, width), width // 2
        out = x.flatten(0, 1).addmm_(inner.relu_().flatten(0, 1), self.c).add_(self.bias).relu_()
        return out.unflatten(0, x.shape[:2]), width


class Stem:
    """The stem on a range of output rows of a chunk of clips."""

    def __init__(self, stem: nn.Module) -> None:
        matrices, self.bias = folded(stem.conv, stem.bn)
        self.matrix, self.count = torch.cat(matrices), len(matrices)  # (5 * 3, C): one product of neighbouring frames
        self.overlapping = stem.pool.kernel_size == (1, 3, 3)

    def __call__(self, clips: Tensor, low: int, high: int) -> tuple[Tensor, int]:
        """Frames (T, B, H, W, 3) to (T, P, C): rows ``low`` to ``high`` of the map of quarter size, and its columns."""
        frames, count, height, width = *clips.shape[:2], clips.shape[2] // 2, clips.shape[3] // 2
        top = max(2 * low - 1, 0) if self.overlapping else 2 * low
        strip = clips[:, :, 2 * top : 2 * min(2 * high, height), : 2 * width]
        padded = functional.pad(strip, (0, 0, 0, 0, 0, 0, 0, 0, self.count // 2, self.count // 2))
        neighbours = torch.cat([padded[k : k + frames] for k in range(self.count)], dim=-1)
        x = torch.addmm(self.bias, neighbours.flatten(0, 3), self.matrix).unflatten(0, (frames, -1))
        x = halve(x, 2 * width).relu_()
        if not self.overlapping:
            return halve(x, width), width // 2
        x = x.unflatten(1, (count, -1, width))
        above = int(top == 2 * low)  # behind ReLU a zero is as good as the pool's padding
        x = functional.pad(x, (0, 0, 1, width % 2, above, (x.shape[2] + above + 1) % 2))
        x = torch.maximum(torch.maximum(x[:, :, 0:-2:2], x[:, :, 1:-1:2]), x[:, :, 2::2])
        x = torch.maximum(torch.maximum(x[:, :, :, 0:-2:2], x[:, :, :, 1:-1:2]), x[:, :, :, 2::2])
        return x.flatten(1, 3), x.shape[3]


@torch.no_grad()
def features(network: nn.Module, clips: Tensor) -> Tensor:
    """``network.features(clips)`` of a :func:`fully_temporal` network in evaluation mode: (B, C, T', H', W')."""
    stem = Stem(network.s1.pathway0_stem)
    stages = {stage: [Block(block) for block in getattr(network, f's{stage}')] for stage in network.stages}
    step = 2 ** (network.stages[-1] - 2)  # rows behind the stem for one output row
    height, width = (((n // 2 + 1) // 2 if stem.overlapping else n // 4) for n in clips.shape[3:])
    height = height // step * step
    row = clips.shape[2] * max(width, 1)
    rows = min(max(step, POSITIONS // row // step * step), height)
    group = max(1, POSITIONS // (row * rows))
    clips = clips.permute(2, 0, 3, 4, 1)
    out = []
    for chunk in clips.split(group, dim=1):
        chunk = chunk.contiguous()
        strips = [
            _strip(chunk, low, min(low + rows, height), stem, stages, network.temporal_pool) for low in range(0, height, rows)
        ]
        out.append(torch.cat(strips, dim=2))
    return torch.cat(out, dim=1).permute(1, 4, 0, 2, 3)


def _strip(clips: Tensor, low: int, high: int, stem: Stem, stages: dict[int, list[Block]], temporal_pool: bool) -> Tensor:
    """From frames (T, B, H, W, 3) to rows of the last stage (T', B, rows, W', C)."""
    x, width = stem(clips, low, high)
    for stage, blocks in stages.items():
        if stage == 3 and temporal_pool:
            x = torch.maximum(x[0 : len(x) // 2 * 2 : 2], x[1::2])
        for block in blocks:
            x, width = block(x, width)
    return x.unflatten(1, (clips.shape[1], -1, width))
