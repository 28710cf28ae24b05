"""From images of a pair to normalised tensors."""

from openmsra.common.preprocessor import NormalisingPreprocessor
from openmsra.registry import MODELS


@MODELS.register_module()
class PairDataPreprocessor(NormalisingPreprocessor):
    """Stacks the RGB images (3, H, W), 0..255, of each role and normalises them."""

    def forward(self, data: dict, training: bool = False) -> dict:
        data = self.cast_data(data)
        inputs = {role: self.stack(images) for role, images in data['inputs'].items()}
        return dict(inputs=inputs, data_samples=data.get('data_samples'))
