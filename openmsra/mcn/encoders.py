"""Video encoders: R3D-18, R(2+1)D-18, S3D without gating, and a small one for miniatures.

All take (B, 3, T, H, W) and give the last map (B, C, T', H', W'); pooling is left to the heads.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from openmsra.registry import MODELS

BATCH_NORM = dict(type='BN3d')
RELU = dict(type='ReLU')
KINDS = ('r3d', 'r2plus1d')


def conv3d(
    in_channels: int,
    out_channels: int,
    kernel: tuple,
    stride: tuple = (1, 1, 1),
    norm_cfg: dict = BATCH_NORM,
    act_cfg: dict | None = RELU,
) -> ConvModule:
    """Convolution (padded to keep the size), normalisation and, unless ``act_cfg`` is ``None``, ReLU."""
    padding = tuple(size // 2 for size in kernel)
    return ConvModule(
        in_channels,
        out_channels,
        kernel,
        stride,
        padding,
        bias=False,
        conv_cfg=dict(type='Conv3d'),
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
        inplace=False,
    )


class SeparableConv(nn.Module):
    """A convolution in space, then one in time, each with its normalisation; ReLU between them and, if asked, behind."""

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        kernel: tuple[int, int, int],
        stride: tuple[int, int, int] = (1, 1, 1),
        norm_cfg: dict = BATCH_NORM,
        act_cfg: dict | None = RELU,
    ) -> None:
        super().__init__()
        self.space = conv3d(in_channels, mid_channels, (1, *kernel[1:]), (1, *stride[1:]), norm_cfg)
        self.time = conv3d(mid_channels, out_channels, (kernel[0], 1, 1), (stride[0], 1, 1), norm_cfg, act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        return self.time(self.space(x))


class _BasicBlock(nn.Module):
    """Two 3x3x3 convolutions, plain or factored, beside a shortcut."""

    def __init__(self, kind: str, in_channels: int, channels: int, stride: int, norm_cfg: dict) -> None:
        super().__init__()
        self.conv1 = self._conv(kind, in_channels, channels, in_channels, stride, norm_cfg, dict(type='ReLU'))
        self.conv2 = self._conv(kind, channels, channels, in_channels, 1, norm_cfg, None)
        self.relu = nn.ReLU()
        self.downsample = None
        if stride != 1 or in_channels != channels:
            self.downsample = conv3d(in_channels, channels, (1, 1, 1), (stride,) * 3, norm_cfg, act_cfg=None)

    @staticmethod
    def _conv(kind: str, in_channels: int, channels: int, block_in: int, stride: int, norm_cfg: dict, act_cfg: dict | None):
        if kind == 'r3d':
            return conv3d(in_channels, channels, (3, 3, 3), (stride,) * 3, norm_cfg, act_cfg)
        # as many weights as a 3x3x3 convolution of the block's first layer; one width for both layers of a block
        mid_channels = 27 * block_in * channels // (9 * block_in + 3 * channels)
        return SeparableConv(in_channels, mid_channels, channels, (3, 3, 3), (stride,) * 3, norm_cfg, act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv2(self.conv1(x)) + shortcut)


@MODELS.register_module()
class VideoResNet(BaseModule):
    """3-D ResNet of basic blocks: R3D-18 and R(2+1)D-18 (Tran et al., CVPR 2018), widths 64 to 512.

    R3D has the parameter names of mmaction2's ``ResNet3d``. R(2+1)D is torchvision's variant (middle width once a block, stem
    45): the weights of mmaction2's ``ResNet2Plus1d``, which has other widths and pools after the stem, do not fit.

    Args:
        kind: 'r3d' or 'r2plus1d'.
        blocks: blocks of the four stages; (1, 1, 1, 1) is the small network that some papers of this field mean.
        channels: width of the first stage.
        norm_cfg: normalisation. SyncBN cannot be differentiated twice; see :class:`openmsra.mcn.model.MCN`.

    Raises:
        ValueError: unknown ``kind``.
    """

    def __init__(
        self,
        kind: str = 'r3d',
        blocks: Sequence[int] = (2, 2, 2, 2),
        channels: int = 64,
        norm_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg or KAIMING)
        if kind not in KINDS:
            raise ValueError(f'VideoResNet: kind must be one of {", ".join(KINDS)}, got {kind!r}')
        norm_cfg = norm_cfg or BATCH_NORM
        if kind == 'r3d':
            self.conv1 = conv3d(3, channels, (3, 7, 7), (1, 2, 2), norm_cfg)
        else:
            self.conv1 = SeparableConv(3, 45 * channels // 64, channels, (3, 7, 7), (1, 2, 2), norm_cfg)
        widths = [channels * 2**stage for stage in range(len(blocks))]
        self.stages = [f'layer{number}' for number, _ in enumerate(blocks, start=1)]
        for stage, (name, count) in enumerate(zip(self.stages, blocks, strict=True)):
            inputs = [widths[max(stage - 1, 0)], *[widths[stage]] * (count - 1)]
            strides = [1 if stage == 0 else 2, *[1] * (count - 1)]
            layers = [
                _BasicBlock(kind, width, widths[stage], stride, norm_cfg) for width, stride in zip(inputs, strides, strict=True)
            ]
            self.add_module(name, nn.Sequential(*layers))
        self.feat_dim, self.last_stage = widths[-1], self.stages[-1]

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for name in self.stages:
            x = getattr(self, name)(x)
        return x


class _Inception(nn.Module):
    """Four branches side by side, joined by channels. ``widths``: b0; b1a, b1b; b2a, b2b; b3."""

    def __init__(self, in_channels: int, widths: Sequence[int], norm_cfg: dict) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3 = widths
        one = (1, 1, 1)
        self.branch0 = conv3d(in_channels, b0, one, norm_cfg=norm_cfg)
        self.branch1 = nn.Sequential(
            conv3d(in_channels, b1a, one, norm_cfg=norm_cfg), SeparableConv(b1a, b1b, b1b, (3, 3, 3), norm_cfg=norm_cfg)
        )
        self.branch2 = nn.Sequential(
            conv3d(in_channels, b2a, one, norm_cfg=norm_cfg), SeparableConv(b2a, b2b, b2b, (3, 3, 3), norm_cfg=norm_cfg)
        )
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, 1, 1), conv3d(in_channels, b3, one, norm_cfg=norm_cfg))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)], 1)


INCEPTION = {
    'mixed_3b': (64, 96, 128, 16, 32, 32), 'mixed_3c': (128, 128, 192, 32, 96, 64),
    'mixed_4b': (192, 96, 208, 16, 48, 64), 'mixed_4c': (160, 112, 224, 24, 64, 64), 'mixed_4d': (128, 128, 256, 24, 64, 64),
    'mixed_4e': (112, 144, 288, 32, 64, 64), 'mixed_4f': (256, 160, 320, 32, 128, 128),
    'mixed_5b': (256, 160, 320, 32, 128, 128), 'mixed_5c': (384, 192, 384, 48, 128, 128),
}  # fmt: skip
POOL_BEFORE = {'mixed_3b': ((1, 3, 3), (1, 2, 2)), 'mixed_4b': ((3, 3, 3), (2, 2, 2)), 'mixed_5b': ((2, 2, 2), (2, 2, 2))}


@MODELS.register_module()
class S3D(BaseModule):
    """Separable 3-D Inception without gating (Xie et al., ECCV 2018): 1024 channels.

    Args:
        norm_cfg: normalisation; by default BatchNorm with the epsilon and momentum of the usual port.
    """

    feat_dim, last_stage = 1024, 'blocks.mixed_5[bc]'

    def __init__(self, norm_cfg: dict | None = None, init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg or KAIMING)
        norm_cfg = norm_cfg or dict(type='BN3d', eps=1e-3, momentum=1e-3)
        self.stem = nn.Sequential(
            SeparableConv(3, 64, 64, (7, 7, 7), (2, 2, 2), norm_cfg),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            conv3d(64, 64, (1, 1, 1), norm_cfg=norm_cfg),
            SeparableConv(64, 192, 192, (3, 3, 3), norm_cfg=norm_cfg),
        )
        blocks, channels = {}, 192
        for name, widths in INCEPTION.items():
            if name in POOL_BEFORE:
                kernel, stride = POOL_BEFORE[name]
                padding = tuple(size // 2 if size == 3 else 0 for size in kernel)
                blocks[f'pool_{name[-2:]}'] = nn.MaxPool3d(kernel, stride, padding)
            blocks[name] = _Inception(channels, widths, norm_cfg)
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.blocks = nn.ModuleDict(blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks.values():
            x = block(x)
        return x


@MODELS.register_module()
class TinyVideoNet(BaseModule):
    """3x3x3 convolutions with GroupNorm, for miniatures (ours).

    Args:
        widths: channels of the layers.
        strides: of the layers, (time, height, width).
        norm_cfg: normalisation.
    """

    def __init__(
        self,
        widths: Sequence[int] = (12, 24, 48, 64),
        strides: Sequence[Sequence[int]] = ((1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 1)),
        norm_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg or KAIMING)
        norm_cfg = norm_cfg or dict(type='GN', num_groups=4)
        self.layers = nn.Sequential(
            *(
                conv3d(a, b, (3, 3, 3), tuple(stride), norm_cfg)
                for (a, b), stride in zip(pairwise((3, *widths)), strides, strict=True)
            )
        )
        self.feat_dim, self.last_stage = widths[-1], f'layers.{len(widths) - 1}'

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


KAIMING = dict(type='Kaiming', layer='Conv3d', mode='fan_out', nonlinearity='relu')
