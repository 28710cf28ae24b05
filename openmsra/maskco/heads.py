"""Mask prediction head and projection."""

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import nn

from openmsra.registry import MODELS


class _Bottleneck(nn.Module):
    def __init__(self, channels: int, mid_channels: int, kernel: int, norm_cfg: dict) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvModule(channels, mid_channels, 1, norm_cfg=norm_cfg),
            ConvModule(mid_channels, mid_channels, kernel, padding=kernel // 2, norm_cfg=norm_cfg),
            ConvModule(mid_channels, channels, 1, norm_cfg=norm_cfg, act_cfg=None),
        )
        nn.init.zeros_(self.convs[-1].norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.convs(x))


@MODELS.register_module()
class MaskPredictionHead(BaseModule):
    """Bridges features with and without a hole (the paper's mask prediction head; its layout is ours).

    Residual bottlenecks without stride on the last map: 1x1, kernel x kernel, 1x1 with BatchNorm. The last scale of each
    starts at 0 and the input is not negative, so the head starts as the identity. It needs a kernel above 1 to
    carry content from the context into the hole.

    Args:
        channels: C of the map (B, C, H, W).
        mid_channels: width inside a bottleneck; ``None`` is a quarter of ``channels``.
        num_blocks: how many bottlenecks.
        kernel: odd size of the middle convolution; 1 sees no context (an ablation).
        norm_cfg: normalisation.

    Raises:
        ValueError: no block or an even kernel.
    """

    def __init__(
        self,
        channels: int,
        mid_channels: int | None = None,
        num_blocks: int = 2,
        kernel: int = 3,
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_blocks < 1 or kernel % 2 == 0:
            raise ValueError(f'MaskPredictionHead: num_blocks={num_blocks}, kernel={kernel}; at least 1 block, an odd kernel.')
        norm_cfg = norm_cfg or dict(type='BN')
        mid_channels = mid_channels or channels // 4
        self.blocks = nn.Sequential(*(_Bottleneck(channels, mid_channels, kernel, norm_cfg) for _ in range(num_blocks)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.blocks(x)
