"""What the teacher says about a batch, and which of its boxes teach what: common to two-stage and one-stage detectors."""

from dataclasses import dataclass, field

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from openmsra.soft_teacher.extensions.class_thresholds import ClassThresholds
from openmsra.soft_teacher.geometry import project_boxes, view_to_view, wide_enough
from openmsra.soft_teacher.settings import Settings


@dataclass
class Lesson:
    """A batch of weak views as the teacher sees it, and what has been made of it for the strong views.

    Candidates hold ``bboxes`` in the weak view, ``labels``, ``scores``, ``reg_uncs`` and, with masks, ``mask_probs``; the pseudo
    labels made of them have ``bboxes`` in the strong view and keep the others as ``weak_boxes``.
    """

    features: tuple
    metas: list[dict]
    candidates: list[InstanceData]
    proposals: list[Tensor] = field(default_factory=list)
    context: dict = field(default_factory=dict)
    pseudo: list[InstanceData] = field(default_factory=list)
    strong_metas: list[dict] = field(default_factory=list)
    reliability: Tensor | None = None  # weights of the background


class Teaching:
    """The unsupervised step of a kind of detector.

    Args:
        student, teacher: detectors of the same config; only references are kept.
        settings: thresholds and options.
        thresholds: of the scores by class, where ``settings`` want them.
    """

    def __init__(
        self, student: nn.Module, teacher: nn.Module, settings: Settings, thresholds: ClassThresholds | None = None
    ) -> None:
        self.student, self.teacher, self.settings, self.thresholds = student, teacher, settings, thresholds

    def teach(self, inputs: Tensor, samples: list[DetDataSample]) -> Lesson:
        """Detect on weak views (B, 3, H, W): candidates with their uncertainty."""
        raise NotImplementedError

    def losses(self, inputs: Tensor, samples: list[DetDataSample], lesson: Lesson) -> dict[str, Tensor]:
        """Losses of strong views (B, 3, H, W) under mmdet's names, not yet weighted by alpha."""
        raise NotImplementedError

    def candidates(self, found: InstanceData) -> InstanceData:
        """Detections that are sure and large enough."""
        return found[
            (found.scores > self.settings.pseudo_label_initial_score_thr)
            & wide_enough(found.bboxes, self.settings.min_pseudo_bbox_wh)
        ]

    def project(self, lesson: Lesson, metas: list[dict], device: torch.device) -> None:
        """Make the pseudo labels of the strong views with the given ``metas``."""
        lesson.strong_metas = metas
        for own, old, new in zip(lesson.candidates, lesson.metas, metas, strict=True):
            projected = own.new()
            projected.weak_boxes = own.bboxes
            projected.bboxes = project_boxes(own.bboxes, to_view(old, new, device), new['img_shape'])
            lesson.pseudo.append(projected[wide_enough(projected.bboxes, self.settings.min_pseudo_bbox_wh)])

    def for_rpn(self, lesson: Lesson) -> list[InstanceData]:
        return self._sure(lesson, self.settings.rpn_pseudo_thr)

    def for_cls(self, lesson: Lesson) -> list[InstanceData]:
        return self._sure(lesson, self.settings.cls_pseudo_thr)

    def _sure(self, lesson: Lesson, score: float) -> list[InstanceData]:
        """Pseudo labels above a score, or above the lower one of their class."""
        if self.thresholds is None:
            return [own[own.scores > score] for own in lesson.pseudo]
        by_class = self.thresholds.values().clamp(max=score)
        return [own[own.scores > by_class[own.labels]] for own in lesson.pseudo]

    def for_reg(self, lesson: Lesson) -> list[InstanceData]:
        if self.settings.reg_select == 'score':
            return self.for_cls(lesson)
        return [own[own.reg_uncs < self.settings.reg_pseudo_thr] for own in lesson.pseudo]

    def roles(self) -> dict:
        """Which pseudo boxes teach what."""
        return dict(rpn=self.for_rpn, cls=self.for_cls, reg=self.for_reg)


def to_view(source: dict, target: dict, device: torch.device) -> Tensor:
    """M (3, 3) between two views given by their metainfo."""
    return view_to_view(source['homography_matrix'], target['homography_matrix'], device)
