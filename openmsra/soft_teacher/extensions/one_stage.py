"""Soft Teacher for one-stage detectors (ours: the paper has two-stage ones): RetinaNet, FCOS, ATSS.

Positives come from the boxes that are selected for the classification; each negative point is weighted by 1 - max_c p of the
teacher at the same point. No head can be asked about jittered boxes, so that the uncertainty is the spread of all raw predictions
that agree with a kept box.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import ATSSHead, FCOSHead, RetinaHead
from mmdet.models.detectors import SingleStageDetector
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor

from openmsra.soft_teacher.extensions.class_thresholds import ClassThresholds
from openmsra.soft_teacher.geometry import project_points
from openmsra.soft_teacher.losses import box_uncertainty
from openmsra.soft_teacher.pseudo_labels import PseudoLabels, UnsupervisedBranch, between_views
from openmsra.soft_teacher.settings import Settings

HEADS = (RetinaHead, FCOSHead, ATSSHead)
AGREEMENT = 0.5  # overlap from which a raw prediction counts as agreeing with a kept box


class OneStageBranch(UnsupervisedBranch):
    """The unsupervised step of RetinaNet, FCOS and ATSS."""

    def __init__(
        self,
        student: SingleStageDetector,
        teacher: SingleStageDetector,
        settings: Settings,
        class_thresholds: ClassThresholds | None = None,
    ) -> None:
        super().__init__(student, teacher, settings, class_thresholds)
        if not isinstance(student.bbox_head, HEADS):
            names = ', '.join(head.__name__ for head in HEADS)
            raise TypeError(f'Soft Teacher knows the one-stage heads {names}, not {type(student.bbox_head).__name__}.')
        if settings.bg_weight not in ('teacher', 'none'):
            raise ValueError(f"semi_train_cfg.bg_weight={settings.bg_weight!r}: one-stage detectors know 'teacher' and 'none'.")

    @torch.no_grad()
    def generate_pseudo_labels(self, inputs: Tensor, samples: list[DetDataSample]) -> PseudoLabels:
        head, metas = self.teacher.bbox_head, [sample.metainfo for sample in samples]
        outputs = head(self.teacher.extract_feat(inputs))
        detections, raw = (
            head.predict_by_feat(*outputs, batch_img_metas=metas, rescale=False, with_nms=nms) for nms in (True, False)
        )
        pseudo_labels = PseudoLabels(outputs, metas, [self.keep_candidates(instances) for instances in detections])
        for instances, predictions in zip(pseudo_labels.candidates, raw, strict=True):
            instances.reg_uncs = agreement(instances, predictions, self.settings.jitter_norm)
        return pseudo_labels

    def loss(self, inputs: Tensor, samples: list[DetDataSample], pseudo_labels: PseudoLabels) -> dict[str, Tensor]:
        head, metas = self.student.bbox_head, [sample.metainfo for sample in samples]
        outputs = head(self.student.extract_feat(inputs))
        self.project_to_strong_views(pseudo_labels, metas, inputs.device)
        losses = head.loss_by_feat(*outputs, self.select_for_reg(pseudo_labels), metas)
        return dict(losses, loss_cls=self._cls_loss(outputs, metas, pseudo_labels))

    def selections(self) -> dict[str, Callable[[PseudoLabels], list[InstanceData]]]:
        return dict(cls=self.select_for_cls, reg=self.select_for_reg)

    def _cls_loss(self, outputs: tuple, metas: list[dict], pseudo_labels: PseudoLabels) -> list[Tensor]:
        """The head's classification loss per level, with soft weights on the negatives."""
        head, losses, bg_weights = self.student.bbox_head, [], []
        labels, weights, divisor = _cls_targets(head, outputs, metas, self.select_for_cls(pseudo_labels))
        for level, scores in enumerate(outputs[0]):
            label, weight = labels[level].reshape(-1), weights[level].reshape(-1)
            negative = label == head.num_classes
            if self.settings.bg_weight == 'teacher':
                background = 1 - self._teacher_foreground(level, scores.shape[-2:], pseudo_labels).reshape(-1)
                weight = torch.where(negative, weight * background, weight)
            bg_weights.append(weight[negative])
            logits = scores.permute(0, 2, 3, 1).reshape(-1, head.cls_out_channels).float()
            losses.append(head.loss_cls(logits, label, weight, avg_factor=divisor))
        pseudo_labels.bg_weights = torch.cat(bg_weights)
        return losses

    @torch.no_grad()
    def _teacher_foreground(self, level: int, size: tuple[int, int], pseudo_labels: PseudoLabels) -> Tensor:
        """max_c p (B, h, w, A) of the teacher at the points of the strong views; 0 outside of the weak view."""
        head = self.teacher.bbox_head
        scores = pseudo_labels.features[0][level].float().sigmoid()
        foreground = scores.unflatten(1, (-1, head.cls_out_channels)).amax(2)
        stride, offset = _layout(head, level)
        rows, columns = (torch.arange(length, device=scores.device) for length in size)
        points = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), -1) + offset
        sampled = []
        for image, weak, strong in zip(foreground, pseudo_labels.weak_metas, pseudo_labels.strong_metas, strict=True):
            weak_points = project_points(points * stride, between_views(strong, weak, scores.device)) / stride - offset
            last = weak_points.new_tensor([image.shape[-1] - 1, image.shape[-2] - 1]).clamp(min=1)
            grid = (weak_points / last * 2 - 1)[None]
            sampled.append(F.grid_sample(image[None], grid, mode='bilinear', align_corners=True)[0])
        return torch.stack(sampled).permute(0, 2, 3, 1)


def agreement(kept: InstanceData, raw: InstanceData, norm: str) -> Tensor:
    """u (n,): spread of the raw predictions of the same class that overlap a kept box; infinite with fewer than two."""
    agrees = (bbox_overlaps(kept.bboxes, raw.bboxes) >= AGREEMENT) & (kept.labels[:, None] == raw.labels)
    spreads = [
        box_uncertainty(raw.bboxes[rows][:, None], norm)[0] if rows.sum() > 1 else kept.scores.new_tensor(torch.inf)
        for rows in agrees
    ]
    return torch.stack(spreads) if spreads else kept.scores.new_zeros(0)


def _cls_targets(head, outputs: tuple, metas: list[dict], instances: list[InstanceData]) -> tuple[list, list, float]:
    """Labels and weights of each level, ordered (B, h, w, A), and what the loss is divided by."""
    sizes, device = [scores.shape[-2:] for scores in outputs[0]], outputs[0][0].device
    if isinstance(head, FCOSHead):
        labels = head.get_targets(head.prior_generator.grid_priors(sizes, device=device), instances)[0]
        positives = sum(((label >= 0) & (label < head.num_classes)).sum() for label in labels)
        return labels, [torch.ones_like(label, dtype=torch.float) for label in labels], _mean_over_processes(positives.float())
    anchors, valid = head.get_anchors(sizes, metas, device=device)
    targets = head.get_targets(anchors, valid, instances, metas)
    labels, weights = targets[1:3] if isinstance(head, ATSSHead) else targets[:2]
    count = targets[-1]
    return (
        labels,
        weights,
        _mean_over_processes(torch.tensor(float(count), device=device)) if isinstance(head, ATSSHead) else count,
    )


def _mean_over_processes(count: Tensor) -> float:
    """Mean over the processes, at least 1."""
    return max(reduce_mean(count).item(), 1.0)


def _layout(head, level: int) -> tuple[float, float]:
    """Stride of a level, and the offset of its first point in units of the stride."""
    generator = head.prior_generator
    return float(generator.strides[level][0]), float(getattr(generator, 'center_offset', getattr(generator, 'offset', 0.0)))
