"""From 8-bit clips to normalised batches on the device of the model: FTCN and MCN."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from openmsra.registry import MODELS


@MODELS.register_module()
class ClipDataPreprocessor(BaseDataPreprocessor):
    """Stacks RGB clips (..., 3, T, H, W), 0..255, and normalises them: (x - mean) / std.

    Args:
        mean, std: per channel.
        residual: give the T - 1 differences of neighbouring frames instead, in which what does not move is 0.
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        residual: bool = False,
        non_blocking: bool = False,
    ) -> None:
        super().__init__(non_blocking)
        self.residual = residual
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        data = self.cast_data(data)
        inputs = data['inputs'] if isinstance(data['inputs'], Tensor) else torch.stack(list(data['inputs']))
        clips = (inputs.float() - self.mean) / self.std
        if self.residual:
            clips = clips.diff(dim=-3)
        return dict(inputs=clips, data_samples=data.get('data_samples'))
