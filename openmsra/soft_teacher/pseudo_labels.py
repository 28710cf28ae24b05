"""Pseudo labels of a batch, and which of them supervise the RPN, the classification and the box regression (sec. 3.1).

Common to two-stage and one-stage detectors.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from openmsra.soft_teacher.extensions.class_thresholds import ClassThresholds
from openmsra.soft_teacher.geometry import project_boxes, view_to_view, wide_enough
from openmsra.soft_teacher.settings import Settings


@dataclass
class PseudoLabels:
    """What the teacher detects in a batch of weak views, and the same boxes in the strong views.

    Args:
        features: of the teacher, for the weak views; dense heads keep their output here.
        weak_metas: metainfo of the weak views.
        candidates: detections in the weak views: ``bboxes`` (n, 4), ``labels``, ``scores``, ``reg_uncs`` (n,) and, with masks,
            ``mask_probs`` (n, m, m).
        proposals: (P, 4) of each weak view.
        head_inputs: what the teacher's R-CNN head needs beside features and regions.
        instances: candidates in the strong views: ``bboxes`` are projected, ``weak_boxes`` those of the weak views.
        strong_metas: metainfo of the strong views.
        bg_weights: (R,) weights of the regions that were sampled as background.
    """

    features: tuple
    weak_metas: list[dict]
    candidates: list[InstanceData]
    proposals: list[Tensor] = field(default_factory=list)
    head_inputs: dict = field(default_factory=dict)
    instances: list[InstanceData] = field(default_factory=list)
    strong_metas: list[dict] = field(default_factory=list)
    bg_weights: Tensor | None = None


class UnsupervisedBranch:
    """The unsupervised step of a kind of detector.

    Args:
        student, teacher: detectors of the same config; only references are kept.
        settings: thresholds and options.
        class_thresholds: of the scores by class, where ``settings`` want them.
    """

    def __init__(
        self, student: nn.Module, teacher: nn.Module, settings: Settings, class_thresholds: ClassThresholds | None = None
    ) -> None:
        self.student, self.teacher, self.settings, self.class_thresholds = student, teacher, settings, class_thresholds

    def generate_pseudo_labels(self, inputs: Tensor, samples: list[DetDataSample]) -> PseudoLabels:
        """Detect on weak views (B, 3, H, W): candidates with their uncertainty."""
        raise NotImplementedError

    def loss(self, inputs: Tensor, samples: list[DetDataSample], pseudo_labels: PseudoLabels) -> dict[str, Tensor]:
        """Losses of strong views (B, 3, H, W) under mmdet's names, not yet weighted by alpha."""
        raise NotImplementedError

    def keep_candidates(self, detections: InstanceData) -> InstanceData:
        """Detections above the first score threshold that are large enough."""
        return where(
            detections,
            (detections.scores > self.settings.pseudo_label_initial_score_thr)
            & wide_enough(detections.bboxes, self.settings.min_pseudo_bbox_wh),
        )

    def project_to_strong_views(self, pseudo_labels: PseudoLabels, metas: list[dict], device: torch.device) -> None:
        """Fill in ``instances``, the candidates in the strong views with the given ``metas``."""
        pseudo_labels.strong_metas = metas
        for candidates, weak, strong in zip(pseudo_labels.candidates, pseudo_labels.weak_metas, metas, strict=True):
            projected = candidates.new()
            projected.weak_boxes = candidates.bboxes
            projected.bboxes = project_boxes(candidates.bboxes, between_views(weak, strong, device), strong['img_shape'])
            large = wide_enough(projected.bboxes, self.settings.min_pseudo_bbox_wh)
            pseudo_labels.instances.append(where(projected, large))

    def select_for_rpn(self, pseudo_labels: PseudoLabels) -> list[InstanceData]:
        return [
            where(instances, self.scores_above(instances, self.settings.rpn_pseudo_thr)) for instances in pseudo_labels.instances
        ]

    def select_for_cls(self, pseudo_labels: PseudoLabels) -> list[InstanceData]:
        return [where(instances, self.usable_for_cls(instances)) for instances in pseudo_labels.instances]

    def select_for_reg(self, pseudo_labels: PseudoLabels) -> list[InstanceData]:
        return [where(instances, self.usable_for_reg(instances)) for instances in pseudo_labels.instances]

    def usable_for_cls(self, instances: InstanceData) -> Tensor:
        """(n,) bool: the score is high enough."""
        return self.scores_above(instances, self.settings.cls_pseudo_thr)

    def usable_for_reg(self, instances: InstanceData) -> Tensor:
        """(n,) bool: the box stays in place under jitter, whatever its score (sec. 3.3)."""
        if self.settings.reg_select == 'score':
            return self.usable_for_cls(instances)
        return instances.reg_uncs < self.settings.reg_pseudo_thr

    def scores_above(self, instances: InstanceData, score_thr: float) -> Tensor:
        """(n,) bool: scores above ``score_thr``, or above the lower threshold of their class."""
        if self.class_thresholds is None:
            return instances.scores > score_thr
        return instances.scores > self.class_thresholds.values().clamp(max=score_thr)[instances.labels]

    def selections(self) -> dict[str, Callable[[PseudoLabels], list[InstanceData]]]:
        """The selecting function of each part of the loss."""
        return dict(rpn=self.select_for_rpn, cls=self.select_for_cls, reg=self.select_for_reg)


def where(instances: InstanceData, mask: Tensor) -> InstanceData:
    """``instances[mask]``, for which the host waits once for the device and not once for each field."""
    return instances[mask.nonzero().flatten()]


def between_views(source: dict, target: dict, device: torch.device) -> Tensor:
    """M (3, 3) between two views given by their metainfo."""
    return view_to_view(source['homography_matrix'], target['homography_matrix'], device)
