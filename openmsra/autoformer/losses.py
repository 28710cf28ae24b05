"""What the supernet and its sub-networks are trained on: classification, and the two kinds of distillation."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def targets_of(data_samples: list) -> Tensor:
    """Labels (B,), or soft labels (B, K) where Mixup or CutMix made them."""
    if 'gt_score' in data_samples[0]:
        return torch.stack([sample.gt_score for sample in data_samples])
    return torch.cat([sample.gt_label for sample in data_samples])


def hard_distillation_loss(
    criterion: Callable[[Tensor, Tensor], Tensor], logits: Tensor, targets: Tensor, teacher_logits: Tensor
) -> Tensor:
    """Half of the loss against the targets, half against the teacher's most likely class (official ``--teacher_model``).

    Args:
        criterion: the classification loss of logits (B, K) and labels.
        logits, teacher_logits: (B, K).
        targets: labels (B,) or soft labels (B, K).
    """
    return 0.5 * criterion(logits, targets) + 0.5 * criterion(logits, teacher_logits.argmax(-1))


def inplace_distillation_loss(logits: Tensor, largest_logits: Tensor) -> Tensor:
    """Cross-entropy (B, K) x (B, K) -> () with the prediction of the largest network, which gets no gradient from it."""
    return F.cross_entropy(logits, largest_logits.detach().softmax(-1))
