"""Soft Teacher for one-stage detectors (ours: the paper has two-stage ones): RetinaNet, FCOS, ATSS.

Positives come from the sure boxes; each negative place is weighted by 1 - max_c p of the teacher at the same place. No head can
be asked about jittered boxes, so that the uncertainty is the spread of all raw predictions that agree with a kept box.
"""

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
from openmsra.soft_teacher.pseudo_labels import Lesson, Teaching, to_view
from openmsra.soft_teacher.settings import Settings

HEADS = (RetinaHead, FCOSHead, ATSSHead)
AGREEMENT = 0.5  # overlap from which a raw prediction is a witness of a kept box


class OneStageTeaching(Teaching):
    """The unsupervised step of RetinaNet, FCOS and ATSS."""

    def __init__(
        self,
        student: SingleStageDetector,
        teacher: SingleStageDetector,
        settings: Settings,
        thresholds: ClassThresholds | None = None,
    ) -> None:
        super().__init__(student, teacher, settings, thresholds)
        if not isinstance(student.bbox_head, HEADS):
            names = ', '.join(head.__name__ for head in HEADS)
            raise TypeError(f'Soft Teacher knows the one-stage heads {names}, not {type(student.bbox_head).__name__}.')
        if settings.bg_weight not in ('teacher', 'none'):
            raise ValueError(f"semi_train_cfg.bg_weight={settings.bg_weight!r}: one-stage detectors know 'teacher' and 'none'.")

    @torch.no_grad()
    def teach(self, inputs: Tensor, samples: list[DetDataSample]) -> Lesson:
        head, metas = self.teacher.bbox_head, [sample.metainfo for sample in samples]
        maps = head(self.teacher.extract_feat(inputs))
        kept, raw = (head.predict_by_feat(*maps, batch_img_metas=metas, rescale=False, with_nms=nms) for nms in (True, False))
        lesson = Lesson(maps, metas, [self.candidates(found) for found in kept])
        for own, everything in zip(lesson.candidates, raw, strict=True):
            own.reg_uncs = agreement(own, everything, self.settings.jitter_norm)
        return lesson

    def losses(self, inputs: Tensor, samples: list[DetDataSample], lesson: Lesson) -> dict[str, Tensor]:
        head, metas = self.student.bbox_head, [sample.metainfo for sample in samples]
        maps = head(self.student.extract_feat(inputs))
        self.project(lesson, metas, inputs.device)
        found = head.loss_by_feat(*maps, self.for_reg(lesson), metas)
        return dict(found, loss_cls=self._cls_loss(maps, metas, lesson))

    def roles(self) -> dict:
        return dict(cls=self.for_cls, reg=self.for_reg)

    def _cls_loss(self, maps: tuple, metas: list[dict], lesson: Lesson) -> list[Tensor]:
        """The head's classification loss per level, with soft weights on the negatives."""
        head, losses, used = self.student.bbox_head, [], []
        labels, weights, divisor = _cls_targets(head, maps, metas, self.for_cls(lesson))
        for level, scores in enumerate(maps[0]):
            own, weight = labels[level].reshape(-1), weights[level].reshape(-1)
            negative = own == head.num_classes
            if self.settings.bg_weight == 'teacher':
                reliable = 1 - self._teacher_foreground(level, scores.shape[-2:], lesson).reshape(-1)
                weight = torch.where(negative, weight * reliable, weight)
            used.append(weight[negative])
            logits = scores.permute(0, 2, 3, 1).reshape(-1, head.cls_out_channels).float()
            losses.append(head.loss_cls(logits, own, weight, avg_factor=divisor))
        lesson.reliability = torch.cat(used)
        return losses

    @torch.no_grad()
    def _teacher_foreground(self, level: int, size: tuple[int, int], lesson: Lesson) -> Tensor:
        """max_c p (B, h, w, A) of the teacher at the places of the strong views; 0 outside of the weak view."""
        head = self.teacher.bbox_head
        scores = lesson.features[0][level].float().sigmoid()
        foreground = scores.unflatten(1, (-1, head.cls_out_channels)).amax(2)
        stride, offset = _layout(head, level)
        rows, columns = (torch.arange(length, device=scores.device) for length in size)
        places = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), -1) + offset
        read = []
        for image, old, new in zip(foreground, lesson.metas, lesson.strong_metas, strict=True):
            there = project_points(places * stride, to_view(new, old, scores.device)) / stride - offset
            last = there.new_tensor([image.shape[-1] - 1, image.shape[-2] - 1]).clamp(min=1)
            grid = (there / last * 2 - 1)[None]
            read.append(F.grid_sample(image[None], grid, mode='bilinear', align_corners=True)[0])
        return torch.stack(read).permute(0, 2, 3, 1)


def agreement(kept: InstanceData, raw: InstanceData, norm: str) -> Tensor:
    """u (n,): spread of the raw predictions of the same class that overlap a kept box; infinite with fewer than two."""
    witness = (bbox_overlaps(kept.bboxes, raw.bboxes) >= AGREEMENT) & (kept.labels[:, None] == raw.labels)
    spreads = [
        box_uncertainty(raw.bboxes[own][:, None], norm)[0] if own.sum() > 1 else kept.scores.new_tensor(torch.inf)
        for own in witness
    ]
    return torch.stack(spreads) if spreads else kept.scores.new_zeros(0)


def _cls_targets(head, maps: tuple, metas: list[dict], pseudo: list[InstanceData]) -> tuple[list, list, float]:
    """Labels and weights of each level, ordered (B, h, w, A), and what the loss is divided by."""
    sizes, device = [scores.shape[-2:] for scores in maps[0]], maps[0][0].device
    if isinstance(head, FCOSHead):
        labels = head.get_targets(head.prior_generator.grid_priors(sizes, device=device), pseudo)[0]
        positives = sum(((own >= 0) & (own < head.num_classes)).sum() for own in labels)
        return labels, [torch.ones_like(own, dtype=torch.float) for own in labels], _shared(positives.float())
    anchors, valid = head.get_anchors(sizes, metas, device=device)
    targets = head.get_targets(anchors, valid, pseudo, metas)
    labels, weights = targets[1:3] if isinstance(head, ATSSHead) else targets[:2]
    count = targets[-1]
    return labels, weights, _shared(torch.tensor(float(count), device=device)) if isinstance(head, ATSSHead) else count


def _shared(count: Tensor) -> float:
    """Mean over the processes, at least 1."""
    return max(reduce_mean(count).item(), 1.0)


def _layout(head, level: int) -> tuple[float, float]:
    """Stride of a level, and the offset of its first place in units of the stride."""
    generator = head.prior_generator
    return float(generator.strides[level][0]), float(getattr(generator, 'center_offset', getattr(generator, 'offset', 0.0)))
