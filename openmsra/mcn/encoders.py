"""Video encoders: R3D-18, R(2+1)D-18 and S3D of torchvision without their classifiers, and a small one for miniatures.

All take (B, 3, T, H, W) and give the last map (B, C, T', H', W'); pooling is left to the heads. The names of weights are
torchvision's, so that its Kinetics weights fit.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from mmcv.cnn import ConvModule, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn
from torchvision.models.video import resnet
from torchvision.models.video.s3d import S3D as TorchvisionS3D  # noqa: N811

from openmsra.mcn.recompute import recomputed
from openmsra.registry import MODELS

KAIMING = dict(type='Kaiming', layer='Conv3d', mode='fan_out', nonlinearity='relu')
KINDS = {'r3d': (resnet.Conv3DSimple, resnet.BasicStem), 'r2plus1d': (resnet.Conv2Plus1D, resnet.R2Plus1dStem)}


class _Encoder(BaseModule):
    """A network that is a chain of segments.

    Args:
        recompute: keep only what goes into a segment and compute the rest again in the backward passes, see
            :func:`~openmsra.mcn.recompute.recomputed`: much less memory, about a third more time, the same gradients.
    """

    def __init__(self, recompute: bool = False, init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg or KAIMING)
        self.recompute = recompute

    def segments(self) -> list[nn.Module]:
        """The parts in the order in which they are run."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        for segment in self.segments():
            x = recomputed(segment, x) if self.recompute and self.training else segment(x)
        return x


@MODELS.register_module()
class VideoResNet(_Encoder):
    """torchvision's 3-D ResNets of basic blocks: R3D-18 and R(2+1)D-18 (Tran et al., CVPR 2018), 512 channels.

    R(2+1)D has the middle width of torchvision, once a block: mmaction2's ``ResNet2Plus1d`` has other widths and pools after
    the stem.

    Args:
        kind: 'r3d' or 'r2plus1d'.
        blocks: blocks of the four stages; (1, 1, 1, 1) is the small network that some papers of this field mean.
        norm_cfg: normalisation in the place of BatchNorm. SyncBN cannot be differentiated twice; see
            :class:`openmsra.mcn.model.MCN`.
        recompute: see :class:`_Encoder`.

    Raises:
        ValueError: unknown ``kind``.
    """

    feat_dim, last_stage = 512, 'layer4'

    def __init__(
        self,
        kind: str = 'r3d',
        blocks: Sequence[int] = (2, 2, 2, 2),
        norm_cfg: dict | None = None,
        recompute: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(recompute, init_cfg)
        if kind not in KINDS:
            raise ValueError(f'VideoResNet: kind must be one of {", ".join(KINDS)}, got {kind!r}')
        convolution, stem = KINDS[kind]
        network = resnet.VideoResNet(resnet.BasicBlock, [convolution] * 4, list(blocks), stem, num_classes=1)
        for name in ('stem', 'layer1', 'layer2', 'layer3', 'layer4'):
            self.add_module(name, getattr(network, name))
        if norm_cfg:
            _replace_norms(self, norm_cfg)

    def segments(self) -> list[nn.Module]:
        """The stem and the residual blocks."""
        return [self.stem, *self.layer1, *self.layer2, *self.layer3, *self.layer4]


@MODELS.register_module()
class S3D(_Encoder):
    """torchvision's separable 3-D Inception without gating (Xie et al., ECCV 2018): 1024 channels.

    Args:
        norm_cfg: normalisation; by default BatchNorm with the epsilon and momentum of the usual port.
        recompute: see :class:`_Encoder`.
    """

    feat_dim, last_stage = 1024, 'features.1[45]'

    def __init__(self, norm_cfg: dict | None = None, recompute: bool = False, init_cfg: dict | list | None = None) -> None:
        super().__init__(recompute, init_cfg)
        self.features = TorchvisionS3D(num_classes=1).features
        if norm_cfg:
            _replace_norms(self, norm_cfg)

    def segments(self) -> list[nn.Module]:
        """Convolutions, pools and inception blocks."""
        return list(self.features)


@MODELS.register_module()
class TinyVideoNet(_Encoder):
    """3x3x3 convolutions with GroupNorm, for miniatures (ours).

    Args:
        widths: channels of the layers.
        strides: of the layers, (time, height, width).
        norm_cfg: normalisation.
        recompute: see :class:`_Encoder`.
    """

    def __init__(
        self,
        widths: Sequence[int] = (12, 24, 48, 64),
        strides: Sequence[Sequence[int]] = ((1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 1)),
        norm_cfg: dict | None = None,
        recompute: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(recompute, init_cfg)
        convolution = partial(
            ConvModule,
            kernel_size=3,
            padding=1,
            bias=False,
            conv_cfg=dict(type='Conv3d'),
            norm_cfg=norm_cfg or dict(type='GN', num_groups=4),
            inplace=False,
        )
        pairs = zip(pairwise((3, *widths)), strides, strict=True)
        self.layers = nn.Sequential(*(convolution(a, b, stride=tuple(stride)) for (a, b), stride in pairs))
        self.feat_dim, self.last_stage = widths[-1], f'layers.{len(widths) - 1}'

    def segments(self) -> list[nn.Module]:
        """The layers."""
        return list(self.layers)


def _replace_norms(network: nn.Module, norm_cfg: dict) -> None:
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm3d):
                setattr(module, name, build_norm_layer(norm_cfg, child.num_features)[1])
