"""From 8-bit pixels to normalised batches on the device of the model."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor


class NormalisingPreprocessor(BaseDataPreprocessor):
    """(x - mean) / std of RGB images or clips; what is one input of a model is up to the child.

    mmengine's ``ImgDataPreprocessor`` takes one list of images and pads it; our inputs are views, pairs and clips.

    Args:
        mean, std: per channel, in 0..255.
        dimensions: how many follow the channel: 2 of images (..., 3, H, W), 3 of clips (..., 3, T, H, W).
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        dimensions: int = 2,
        non_blocking: bool = False,
    ) -> None:
        super().__init__(non_blocking)
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor(values).view(-1, *[1] * dimensions), persistent=False)

    def stack(self, pixels: Tensor | Sequence[Tensor]) -> Tensor:
        """Pixels 0..255, stacked already or one by one, as one normalised batch."""
        batch = pixels if isinstance(pixels, Tensor) else torch.stack(list(pixels))
        return (batch.float() - self.mean) / self.std
