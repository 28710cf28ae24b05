"""A video encoder as a model of its own: features, without heads."""

from mmengine.model import BaseModel
from torch import Tensor

from openmsra.registry import MODELS


@MODELS.register_module()
class VideoEncoder(BaseModel):
    """A backbone that gives one feature a video; loads what ``tools/model_converters/mcn_export.py`` writes.

    Args:
        backbone: a video network with ``feat_dim`` that gives (B, C, T', H', W').
    """

    def __init__(self, backbone: dict, data_preprocessor: dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ClipDataPreprocessor')), init_cfg)
        self.backbone = MODELS.build(backbone)

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'):
        """Map of clips (B, 3, T, H, W) ('tensor') or samples with features of videos ('predict')."""
        if mode == 'tensor':
            return self.backbone(inputs)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f"{type(self).__name__}: mode={mode!r}; valid are 'tensor' and 'predict', for MCN also 'loss'.")

    def predict(self, inputs: Tensor, data_samples: list) -> list:
        """Samples with ``feature`` (C,): the mean over all clips (V, C, 3, T, H, W) of the pooled map, before any head."""
        features = self.backbone(inputs.flatten(0, 1)).mean((2, 3, 4)).unflatten(0, inputs.shape[:2]).mean(1)
        for sample, feature in zip(data_samples, features, strict=True):
            sample.set_field(feature, 'feature')
        return data_samples
