"""FTCN as a trainable model: loss and prediction."""

from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor
from torch.nn import functional as F

from openmsra.ftcn.heads import AverageHead, TransformerHead
from openmsra.ftcn.network import ResNet3D, init_weights
from openmsra.registry import MODELS


@MODELS.register_module()
class FTCN(BaseModel):
    """Fully temporal convolution network with temporal transformer (ICCV 2021, arXiv 2108.06693).

    Args:
        backbone: options of :class:`ResNet3D`.
        head: options of the head; ``kind`` is 'transformer' (FTCN-TT) or 'average' (FTCN).
        clip_len, size: frames and side in pixels of the clips; they fix the number of tokens.
        official_init: see :func:`openmsra.ftcn.network.init_weights`.

    Raises:
        ValueError: an option has an unknown value; the message lists the valid ones.
    """

    def __init__(
        self,
        backbone: dict | None = None,
        head: dict | None = None,
        clip_len: int = 32,
        size: int = 224,
        official_init: bool = False,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ClipDataPreprocessor')), init_cfg)
        self.resnet = ResNet3D(**(backbone or {}))
        head = dict(head or {})
        kind = head.pop('kind', 'transformer')
        if kind == 'transformer':
            shape = self.resnet.output_shape(clip_len, size)
            self.resnet.head = TransformerHead(self.resnet.channels, shape, **head)
        elif kind == 'average':
            self.resnet.head = AverageHead(self.resnet.channels, **head)
        else:
            raise ValueError(f"head kind must be 'transformer' or 'average', got {kind!r}")
        self.clip_len, self.size, self.official_init = clip_len, size, official_init

    def init_weights(self) -> None:
        """Random weights; those that ``init_cfg`` names come last."""
        init_weights(self.resnet, self.official_init)
        super().init_weights()

    def forward(self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None, mode: str = 'tensor'):
        """Run on normalised clips (B, 3, T, H, W).

        Returns:
            'tensor': logits (B,) of being fake; 'predict': the samples with ``pred_score``, the probability of a
            forgery; 'loss': binary cross-entropy against ``gt_label`` (1 is fake).

        Raises:
            ValueError: the shape is not (B, 3, T, H, W) or the mode is unknown.
        """
        if inputs.ndim != 5 or inputs.shape[1] != 3:
            raise ValueError(f'clips must have the shape (B, 3, T, H, W), got {tuple(inputs.shape)}')
        if mode not in ('tensor', 'predict', 'loss'):
            raise ValueError(f"mode must be 'tensor', 'predict' or 'loss', got {mode!r}")
        logits = self.resnet.head(self.resnet.features(inputs)).float()  # in bfloat16 many scores would be equal
        if mode == 'tensor':
            return logits
        if mode == 'loss':
            labels = logits.new_tensor([sample.gt_label for sample in data_samples])
            return dict(loss=F.binary_cross_entropy_with_logits(logits, labels))
        data_samples = data_samples or [BaseDataElement() for _ in logits]
        for sample, score in zip(data_samples, logits.sigmoid().tolist(), strict=True):
            sample.set_field(score, 'pred_score')
        return data_samples
