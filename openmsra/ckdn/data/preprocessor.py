"""From images of a pair to normalised tensors."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from openmsra.registry import MODELS


@MODELS.register_module()
class PairDataPreprocessor(BaseDataPreprocessor):
    """Stacks the RGB images (3, H, W), 0..255, of each role and normalises them: (x - mean) / std."""

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        non_blocking: bool = False,
    ) -> None:
        super().__init__(non_blocking)
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        data = self.cast_data(data)
        inputs = {role: self.stack(images) for role, images in data['inputs'].items()}
        return dict(inputs=inputs, data_samples=data.get('data_samples'))

    def stack(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Images 0..255 to one normalised batch (B, 3, H, W)."""
        batch = images if isinstance(images, Tensor) else torch.stack(list(images))
        return (batch.float() - self.mean) / self.std
