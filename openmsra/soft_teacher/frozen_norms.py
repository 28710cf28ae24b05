"""Frozen batch norm as a part of the convolution before it: no map is read and written for it, and none is kept for the gradient.

With fixed statistics batch norm is y = s x + t in each channel, s = gamma / sqrt(var + eps) and t = beta - s mean, and so

    norm(conv(x, w) + b) = conv(x, s w) + s b + t

with the same gradients, those of gamma and beta too, up to rounding. The ResNets of detectors are trained with such norms. mmdet
computes them apart; two fifths of what such a backbone keeps for the gradient are their inputs.
"""

import torch
from mmdet.models.backbones.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class FrozenNorm(nn.BatchNorm2d, _BatchNorm):  # mmengine's initialisation finds a layer by the names of its direct bases
    """Batch norm that is left to the convolution before it while its statistics are fixed (in evaluation mode)."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return super().forward(input) if self.training else input


class FoldedConv2d(nn.Conv2d):
    """A convolution that does the work of the :class:`FrozenNorm` behind it; names and values of the weights stay.

    Attributes:
        place: the module that holds the norm, and its name there; what replaces the norm (SyncBatchNorm) works for itself.
    """

    place: tuple[nn.Module, str]

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        norm = getattr(*self.place)
        if type(norm) is not FrozenNorm or norm.training:
            return super().forward(input)
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        centre = norm.running_mean if self.bias is None else norm.running_mean - self.bias
        shift = torch.addcmul(norm.bias, centre, scale, value=-1)
        return self._conv_forward(input, self.weight * scale[:, None, None, None], shift)


def fold_frozen_norms(detector: nn.Module) -> None:
    """Let the convolutions of the ResNets in a detector do the batch norm that follows them while it is frozen."""
    for backbone in detector.modules():
        if type(backbone) is not ResNet:
            continue
        if not backbone.deep_stem:
            _fold(backbone, 'conv1', backbone.norm1_name)
        for block in backbone.modules():
            if type(block) in (BasicBlock, Bottleneck) and not getattr(block, 'with_plugins', False):
                for number in (1, 2, 3) if type(block) is Bottleneck else (1, 2):
                    _fold(block, f'conv{number}', getattr(block, f'norm{number}_name'))
                if isinstance(block.downsample, nn.Sequential):
                    _fold(block.downsample, *list(block.downsample._modules)[-2:])


def _fold(owner: nn.Module, conv_name: str, norm_name: str) -> None:
    conv, norm = getattr(owner, conv_name), getattr(owner, norm_name)
    if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.affine and norm.track_running_stats:
        conv.__class__, norm.__class__ = FoldedConv2d, FrozenNorm
        conv.place = (owner, norm_name)
