"""From 8-bit images to normalised batches on the device of the model."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor

from openmsra.registry import MODELS


@MODELS.register_module()
class ViewDataPreprocessor(BaseDataPreprocessor):
    """Normalise one batch of images or a list of views, so that 0 is the mean colour of the data set.

    Args:
        mean, std: per channel, in the order and range of the images.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """``inputs``: (B, 3, S, S) or a list of them; everything else is moved only."""
        data = self.cast_data(data)
        inputs = data['inputs']
        normalised = [self._normalise(view) for view in inputs] if isinstance(inputs, list) else self._normalise(inputs)
        return {**data, 'inputs': normalised}

    def _normalise(self, images: torch.Tensor) -> torch.Tensor:
        return (images.float() - self.mean) / self.std
