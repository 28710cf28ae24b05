"""From 8-bit clips to normalised batches on the device of the model: FTCN and MCN."""

from collections.abc import Sequence

from openmsra.common.preprocessor import NormalisingPreprocessor
from openmsra.registry import MODELS


@MODELS.register_module()
class ClipDataPreprocessor(NormalisingPreprocessor):
    """Stacks RGB clips (..., 3, T, H, W), 0..255, and normalises them.

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
        super().__init__(mean, std, 3, non_blocking)
        self.residual = residual

    def forward(self, data: dict, training: bool = False) -> dict:
        data = self.cast_data(data)
        clips = self.stack(data['inputs'])
        return dict(inputs=clips.diff(dim=-3) if self.residual else clips, data_samples=data.get('data_samples'))
