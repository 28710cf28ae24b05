"""From 8-bit images to normalised batches on the device of the model."""

from openmsra.common.preprocessor import NormalisingPreprocessor
from openmsra.registry import MODELS


@MODELS.register_module()
class ViewDataPreprocessor(NormalisingPreprocessor):
    """Normalises one batch of images (B, 3, S, S) or a list of views, so that 0 is the mean colour of the data set."""

    def forward(self, data: dict, training: bool = False) -> dict:
        """``inputs``: (B, 3, S, S) or a list of them; everything else is moved only."""
        data = self.cast_data(data)
        inputs = data['inputs']
        return {**data, 'inputs': [self.stack(view) for view in inputs] if isinstance(inputs, list) else self.stack(inputs)}
