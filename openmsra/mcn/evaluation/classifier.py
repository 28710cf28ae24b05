"""Fine-tuning and linear probing of a pre-trained encoder."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

from openmsra.engine.checkpoint.io import load_file, load_weights
from openmsra.mcn.export import encoder_weights
from openmsra.mcn.features import VideoEncoder
from openmsra.registry import MODELS


@MODELS.register_module()
class VideoClassifier(VideoEncoder):
    """An encoder, dropout and a linear classifier; parameter names are those of mmaction2's Recognizer3D with an I3DHead.

    Args:
        backbone: see :class:`VideoEncoder`.
        num_classes: classes.
        dropout: probability of dropping a feature in training.
        pretrained: file of ``tools/model_converters/mcn_export.py``, a checkpoint of the pre-training, or a file of
            torchvision's (the supervised upper bound of a comparison); strictly loaded. ``None`` trains from scratch.
        frozen: keep the encoder as it is, in evaluation mode: a linear probe.
    """

    def __init__(
        self,
        backbone: dict,
        num_classes: int,
        dropout: float = 0.5,
        pretrained: str | None = None,
        frozen: bool = False,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(backbone, data_preprocessor, init_cfg)
        self.num_classes = num_classes
        self.cls_head = nn.Sequential(
            OrderedDict(dropout=nn.Dropout(dropout), fc_cls=nn.Linear(self.backbone.feat_dim, num_classes))
        )
        nn.init.normal_(self.cls_head.fc_cls.weight, std=0.01)
        nn.init.zeros_(self.cls_head.fc_cls.bias)
        self.pretrained, self.frozen = pretrained, frozen
        if frozen:
            self.backbone.requires_grad_(False)

    def init_weights(self) -> None:
        """Initialise the encoder or load it.

        Raises:
            CheckpointError: no such file, or a weight that is missing, unexpected or misshapen.
        """
        super().init_weights()
        if self.pretrained:
            state = load_file(self.pretrained)
            weights = encoder_weights(state.get('state_dict', state))
            encoder = {name.removeprefix('backbone.'): value for name, value in weights.items() if name.startswith('backbone.')}
            load_weights(self.backbone, encoder, self.pretrained)
            print_log(f'The encoder starts from {self.pretrained}.', 'current')

    def train(self, mode: bool = True) -> nn.Module:
        """A frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'):
        """Logits (V, C, K) of clips (V, C, 3, T, H, W) ('tensor'), cross-entropy ('loss'), or samples with ``pred_score``."""
        pooled = self.backbone(inputs.flatten(0, 1)).mean((2, 3, 4))
        logits = self.cls_head(pooled).unflatten(0, inputs.shape[:2])
        if mode == 'tensor':
            return logits
        if mode == 'loss':
            labels = torch.tensor([sample.gt_label for sample in data_samples], device=inputs.device)
            return dict(loss=F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(inputs.shape[1])))
        return self._scored(logits, data_samples)

    @staticmethod
    def _scored(logits: Tensor, data_samples: list) -> list:
        """The probabilities of a video are the mean over its clips."""
        for sample, score in zip(data_samples, logits.softmax(-1).mean(1), strict=True):
            sample.set_field(score, 'pred_score')
        return data_samples
