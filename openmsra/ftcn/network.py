"""The network of FTCN: a 3D ResNet whose spatial kernels are 1 (section 3.2).

Modules carry the names of the released weights, so that converting a checkpoint renames nothing.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmsra.ftcn import fast, products

# temporal kernel of conv `a`, cycled over the blocks of stages 2 to 5
TEMPORAL_KERNELS = ((3,), (3, 1), (3, 1), (1, 3))
# convolutions that the official conversion creates anew
REPLACED = ('stem.conv', '.b', 's3.pathway0_res0.branch1', 's4.pathway0_res0.branch1', 's5.pathway0_res0.branch1')


def convolution(inputs: int, outputs: int, temporal: int = 1, spatial: int = 1, stride: int = 1) -> nn.Conv3d:
    """(temporal, spatial, spatial) convolution without bias that keeps T; a 1x1 spatial kernel is never strided."""
    stride = stride if spatial > 1 else 1
    kernel, padding = (temporal, spatial, spatial), (temporal // 2, spatial // 2, spatial // 2)
    kind = products.TemporalConv3d if spatial == 1 else nn.Conv3d
    return kind(inputs, outputs, kernel, (1, stride, stride), padding, bias=False)


class MaxPool(nn.MaxPool3d):
    """Max pool over the picture, kernel (1, k, k), or over time, (k, 1, 1), of (B, C, T, H, W) as a pool in two dimensions.

    Values and gradients are those of ``MaxPool3d``, whose gradient has no deterministic form on CUDA.
    """

    def forward(self, x: Tensor) -> Tensor:
        (time, *picture), (_, *stride), padding = self.kernel_size, self.stride, self.padding
        if time == 1:
            return _over_pictures(F.max_pool2d, x, picture, stride, padding[1:] if padding else 0)
        if products.is_channels_last(x):  # on a CPU the one form is deterministic and, channels-last, the faster one
            return super().forward(x)
        return F.max_pool2d(x.flatten(3), (time, 1)).unflatten(3, x.shape[3:])


class AveragePool(nn.AvgPool3d):
    """Average pool over the picture, kernel (1, k, k), of (B, C, T, H, W); padding does not count.

    Values and gradients are those of ``AvgPool3d``, whose gradient has no deterministic form on CUDA.
    """

    def __init__(self, kernel: Sequence[int], stride: Sequence[int] | None = None, padding: Sequence[int] = (0, 0, 0)) -> None:
        super().__init__(tuple(kernel), stride and tuple(stride), tuple(padding), count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        sizes = [sides[1:] for sides in (self.kernel_size, self.stride, self.padding)]
        return _over_pictures(F.avg_pool2d, x, *sizes, count_include_pad=False)


def _over_pictures(pool: Callable[..., Tensor], x: Tensor, *sizes, **options) -> Tensor:
    """A pool of two dimensions on all pictures of (B, C, T, H, W); channels-last maps stay so."""
    if products.is_channels_last(x):
        return pool(x.transpose(1, 2).flatten(0, 1), *sizes, **options).unflatten(0, (len(x), -1)).transpose(1, 2)
    return pool(x.flatten(1, 2), *sizes, **options).unflatten(1, x.shape[1:3])


POOLS = dict(max=MaxPool, average=AveragePool)


def norm(channels: int, pool: type[nn.Module] | None = None) -> nn.Module:
    """Batch norm; a 1x2x2 ``pool`` behind it, of :data:`POOLS`, stands for the stride that the convolution lost.

    The pool comes after the norm and before ReLU: a max pool does not commute with a negative scale.
    """
    layer = nn.BatchNorm3d(channels)
    return nn.Sequential(layer, pool((1, 2, 2))) if pool else layer


def factorised(channels: int, temporal: int, spatial: int, stride: int) -> nn.Sequential:
    """(2+1)D: spatial convolution, norm, ReLU, temporal convolution."""
    return nn.Sequential(
        convolution(channels, channels, 1, spatial, stride),
        nn.BatchNorm3d(channels),
        nn.ReLU(inplace=True),
        convolution(channels, channels, temporal),
    )


class Branch(nn.Module):
    """The three convolutions of a bottleneck; the temporal kernel sits on the first, in (2+1)D on the second.

    ``pool`` stands behind the second where it has lost its stride; see :func:`norm`.
    """

    def __init__(
        self,
        inputs: int,
        inner: int,
        outputs: int,
        temporal: int,
        spatial: int,
        stride: int,
        r2plus1d: bool,
        pool: type[nn.Module] | None,
    ) -> None:
        super().__init__()
        self.a = convolution(inputs, inner, 1 if r2plus1d else temporal)
        self.a_bn = norm(inner)
        middle = factorised(inner, temporal, spatial, stride) if r2plus1d else convolution(inner, inner, 1, spatial, stride)
        self.b = middle
        self.b_bn = norm(inner, pool)
        self.c = convolution(inner, outputs)
        self.c_bn = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a_bn(self.a(x)), inplace=True)
        x = F.relu(self.b_bn(self.b(x)), inplace=True)
        return self.c_bn(self.c(x))


class Bottleneck(nn.Module):
    """relu(branch2(x) + shortcut); the shortcut is a projection in the first block of a stage."""

    def __init__(
        self,
        inputs: int,
        inner: int,
        outputs: int,
        temporal: int,
        spatial: int,
        stride: int,
        r2plus1d: bool,
        pool: type[nn.Module],
    ) -> None:
        super().__init__()
        lost_stride = pool if spatial == 1 and stride > 1 else None  # a convolution without a spatial kernel has none
        if inputs != outputs:
            self.branch1 = convolution(inputs, outputs)
            if spatial > 1:
                self.branch1.stride = (1, stride, stride)
            self.branch1_bn = norm(outputs, lost_stride)
        self.branch2 = Branch(inputs, inner, outputs, temporal, spatial, stride, r2plus1d, lost_stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.branch1_bn(self.branch1(x)) if hasattr(self, 'branch1') else x
        return F.relu(self.branch2(x) + shortcut, inplace=True)


class Stem(nn.Module):
    """Convolution 5xkxk, norm, stride 2, ReLU, pool 1x3x3 of stride 2: (B, 3, T, H, W) to (B, C, T, H/4, W/4)."""

    def __init__(self, channels: int, temporal: int, spatial: int, overlapping_pool: bool, pool: type[nn.Module]) -> None:
        super().__init__()
        self.conv = convolution(3, channels, temporal, spatial, 2)
        self.bn = norm(channels, pool if spatial == 1 else None)
        self.pool = pool((1, 3, 3), (1, 2, 2), (0, 1, 1)) if overlapping_pool else pool((1, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(F.relu(self.bn(self.conv(x)), inplace=True))


def make_stage(
    inputs: int,
    inner: int,
    count: int,
    kernels: Sequence[int],
    spatial: int,
    stride: int,
    r2plus1d: bool,
    pool: type[nn.Module],
) -> nn.Module:
    """``count`` bottlenecks; the first one changes width and resolution."""
    blocks = OrderedDict()
    for i in range(count):
        source, step = (inputs, stride) if i == 0 else (4 * inner, 1)
        temporal = kernels[i % len(kernels)]
        blocks[f'pathway0_res{i}'] = Bottleneck(source, inner, 4 * inner, temporal, spatial, step, r2plus1d, pool)
    return nn.Sequential(blocks)


class ResNet3D(nn.Module):
    """3D ResNet-50 and its fully temporal form, by the spatial kernel of each stage.

    Args:
        depths: blocks of stages 2 to 5.
        channels: width of the stem.
        stop_stage: last stage that is kept, 2 to 5; the released network stops after 4.
        spatial_kernels: odd spatial kernel of the stem and of stages 2 to 5. 1 is FTCN: strides become max pools.
            (7, 3, 3, 3, 3) is the plain 3D ResNet.
        temporal: off, all temporal kernels are 1.
        temporal_pool: the 2x1x1 max pool between stages 2 and 3.
        r2plus1d: (2+1)D middle convolutions.
        overlapping_pool: the 3x3 pool of the stem; off, it is 2x2.
        spatial_pool: 'max' as in the paper, or 'average'. Max pools pass order statistics of neighbouring pixels on, and so some
            texture; average pools pass their mean alone.
        rewrite: on a CPU, without mixed precision, a fully temporal network runs in an equal form. With gradients its maps are
            channels-last and its convolutions those of :mod:`openmsra.ftcn.products`; without, in evaluation mode and with max
            pools, it is :mod:`openmsra.ftcn.fast`, which calls no submodule: switch it off for forward hooks.
    """

    def __init__(
        self,
        depths: Sequence[int] = (3, 4, 6, 3),
        channels: int = 64,
        stop_stage: int = 4,
        spatial_kernels: Sequence[int] = (1, 1, 1, 1, 1),
        temporal: bool = True,
        temporal_pool: bool = True,
        r2plus1d: bool = False,
        overlapping_pool: bool = True,
        rewrite: bool = True,
        spatial_pool: str = 'max',
    ) -> None:
        super().__init__()
        if spatial_pool not in POOLS:
            raise ValueError(f'spatial_pool must be one of {", ".join(POOLS)}, got {spatial_pool!r}')
        pool = POOLS[spatial_pool]
        self.rewrite, self.r2plus1d = rewrite, r2plus1d
        if not 2 <= stop_stage <= 5:
            raise ValueError(f'stop_stage must be 2, 3, 4 or 5, got {stop_stage}')
        if len(spatial_kernels) != 5 or any(kernel % 2 == 0 for kernel in spatial_kernels):
            raise ValueError(f'spatial_kernels must be five odd numbers (stem, stages 2 to 5), got {spatial_kernels}')
        if len(depths) < stop_stage - 1:
            raise ValueError(f'depths {tuple(depths)} are too few for stop_stage {stop_stage}')
        stem = Stem(channels, 5 if temporal else 1, spatial_kernels[0], overlapping_pool, pool)
        self.s1 = nn.Sequential(OrderedDict(pathway0_stem=stem))
        self.pathway0_pool = MaxPool((2, 1, 1)) if temporal_pool else nn.Identity()
        self.stages, self.temporal_pool = range(2, stop_stage + 1), temporal_pool
        width = channels
        for stage in self.stages:
            inner, kernels = channels * 2 ** (stage - 2), TEMPORAL_KERNELS[stage - 2] if temporal else (1,)
            stride, spatial = 1 if stage == 2 else 2, spatial_kernels[stage - 1]
            setattr(self, f's{stage}', make_stage(width, inner, depths[stage - 2], kernels, spatial, stride, r2plus1d, pool))
            width = 4 * inner
        self.channels = width

    def output_shape(self, clip_len: int, size: int) -> tuple[int, int, int]:
        """(T', H', W') for square clips (clip_len, size, size)."""
        for _ in range(self.stages[-1]):  # two strides in the stem, one in each stage after the second
            size = (size + 1) // 2
        return (clip_len // 2 if self.temporal_pool and len(self.stages) > 1 else clip_len), size, size

    def features(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) to (B, C, T', H', W')."""
        if self.rewrite and x.device.type == 'cpu' and not torch.is_autocast_enabled('cpu') and fast.fully_temporal(self):
            if not (torch.is_grad_enabled() or self.training) and isinstance(self.s1.pathway0_stem.pool, MaxPool):
                return fast.features(self, x)
            x = x.contiguous(memory_format=products.FORMAT)
        x = self.s1(x)
        for stage in self.stages:
            if stage == 3:
                x = self.pathway0_pool(x)
            x = getattr(self, f's{stage}')(x)
        return x


def init_weights(network: nn.Module, official_init: bool = False) -> None:
    """Kaiming fan-out for convolutions, 0 for the scale of each block's last norm.

    ``official_init`` leaves PyTorch's default on the convolutions that the official conversion replaces after its
    initialisation: the stem, the middle convolutions and the strided projections, where their spatial kernel or stride is gone.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv3d):
            converted = module.kernel_size[1:] == (1, 1) and module.stride == (1, 1, 1)
            if official_init and converted and name.endswith(REPLACED):
                nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            else:
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        elif isinstance(module, Branch):
            nn.init.zeros_(module.c_bn.weight)
