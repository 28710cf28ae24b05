"""The scoring network as one module of plain tensors, to be written to a file."""

from torch import Tensor, nn

from openmsra.ckdn.model import CKDN


class PixelScorer(nn.Module):
    """Normalisation and slim network in one: RGB images in 0..255 to scores.

    Args:
        model: loaded for inference; its weights are shared, not copied.
    """

    def __init__(self, model: CKDN) -> None:
        super().__init__()
        self.model = model

    def forward(self, restored: Tensor, degraded: Tensor) -> Tensor:
        """Preprocessed images (B, 3, H, W) to scores (B,) in (0, 1), higher is better."""
        stack = self.model.data_preprocessor.stack
        return self.model.score_logits(stack(restored), stack(degraded)).sigmoid()
