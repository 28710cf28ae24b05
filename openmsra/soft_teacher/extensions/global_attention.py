"""The extra block of HTC++ (appendix A2.2 of the Swin paper): global self-attention at the output of the last stage."""

from mmdet.models.necks import FPN
from torch import Tensor, nn

from openmsra.registry import MODELS


@MODELS.register_module()
class GlobalAttentionFPN(FPN):
    """mmdet's FPN behind a transformer layer on the coarsest map, all of whose positions attend to each other.

    The paper says no more than that there is such a layer. Ours is a usual one: pre-norm, hidden width 4 C, GELU, no positions,
    which the map has from the backbone.

    Args:
        num_heads: of the layer.
        kwargs: of ``FPN``; the last of ``in_channels`` is C.
    """

    def __init__(self, num_heads: int, **kwargs) -> None:
        super().__init__(**kwargs)
        width = self.in_channels[-1]
        self.global_attention = nn.TransformerEncoderLayer(
            width, num_heads, 4 * width, dropout=0.0, activation='gelu', batch_first=True, norm_first=True
        )

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps (B, C_i, H_i, W_i) of the backbone to those of the pyramid."""
        last = inputs[-1]
        attended = self.global_attention(last.flatten(2).transpose(1, 2))  # (B, H W, C)
        return super().forward((*inputs[:-1], attended.transpose(1, 2).reshape(last.shape)))
