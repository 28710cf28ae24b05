"""How good pseudo labels are: figures without and, where hidden labels travel with the images, with the truth."""

from collections import Counter

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from openmsra.soft_teacher.geometry import project_boxes
from openmsra.soft_teacher.pseudo_labels import PseudoLabels, UnsupervisedBranch

BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
IOU = 0.5


def pseudo_label_figures(pseudo_labels: PseudoLabels, branch: UnsupervisedBranch) -> dict[str, float]:
    """Averages over the images of a batch: candidates, boxes for each part of the loss, mean uncertainty and background weight,
    a histogram of the scores; nothing is said about what is not there."""
    candidates = pseudo_labels.candidates
    images = len(candidates)
    scores = torch.cat([instances.scores for instances in candidates])
    uncertainty = torch.cat([instances.reg_uncs for instances in candidates])
    figures = dict(candidates=len(scores) / images)
    for name, select in branch.selections().items():
        figures[f'boxes_{name}'] = sum(map(len, select(pseudo_labels))) / images
    if branch.class_thresholds is not None:
        limits = branch.settings.pseudo_label_initial_score_thr, branch.settings.cls_pseudo_thr
        figures['threshold_cls'] = branch.class_thresholds.values().clamp(*limits).mean().item()
    finite = uncertainty[uncertainty.isfinite()]
    if len(finite):
        figures['uncertainty'] = finite.mean().item()
    if pseudo_labels.bg_weights is not None and pseudo_labels.bg_weights.numel():
        figures['background_weight'] = pseudo_labels.bg_weights.mean().item()
    counts = np.histogram(scores.cpu(), BINS)[0]
    return figures | {f'scores_from_{low}': count / images for low, count in zip(BINS, counts.tolist())}


def class_counts(pseudo_labels: PseudoLabels, branch: UnsupervisedBranch) -> Counter:
    """Label -> number of pseudo labels for the classification."""
    return Counter(label for instances in branch.select_for_cls(pseudo_labels) for label in instances.labels.tolist())


def hidden_ground_truth(pseudo_labels: PseudoLabels) -> list[tuple[Tensor, Tensor]] | None:
    """Boxes and labels of the strong views from ``hidden_bboxes`` and ``hidden_labels``; ``None`` where images have none."""
    if any('hidden_bboxes' not in meta for meta in pseudo_labels.strong_metas) or not pseudo_labels.strong_metas:
        return None
    return [hidden_boxes(meta) for meta in pseudo_labels.strong_metas]


def hidden_boxes(meta: dict) -> tuple[Tensor, Tensor]:
    """Hidden boxes (n, 4), projected to the view, and labels (n,)."""
    matrix = torch.from_numpy(meta['homography_matrix'])
    boxes = project_boxes(torch.from_numpy(meta['hidden_bboxes']), matrix, meta['img_shape'])
    return boxes, torch.from_numpy(meta['hidden_labels'])


def matches(instances: InstanceData, boxes: Tensor, labels: Tensor) -> tuple[int, list[float]]:
    """How many pseudo labels are right (best first, each object once, IoU of 0.5, right class), and the best IoU of each."""
    if not len(instances) or not len(boxes):
        return 0, [0.0] * len(instances)
    overlaps = bbox_overlaps(instances.bboxes.cpu(), boxes)
    allowed = overlaps.masked_fill(instances.labels.cpu()[:, None] != labels, 0)
    matched = set()
    for row in instances.scores.argsort(descending=True).tolist():
        free = [column for column in range(len(boxes)) if column not in matched and allowed[row, column] >= IOU]
        if free:
            matched.add(max(free, key=allowed[row].__getitem__))
    return len(matched), overlaps.amax(1).tolist()


def ground_truth_figures(pseudo_labels: PseudoLabels, branch: UnsupervisedBranch) -> dict[str, tuple[float, float]]:
    """Numerator and denominator of precision, recall and mean IoU of the boxes for classification and regression.

    Sums are returned, to be added up over batches before the division.
    """
    ground_truth, sums = hidden_ground_truth(pseudo_labels), {}
    if ground_truth is None:
        return sums
    for name in ('cls', 'reg'):
        selected = branch.selections()[name](pseudo_labels)
        results = [matches(instances, *objects) for instances, objects in zip(selected, ground_truth, strict=True)]
        right, total = sum(count for count, _ in results), sum(map(len, selected))
        sums[f'precision_{name}'] = right, total
        sums[f'recall_{name}'] = right, sum(len(boxes) for boxes, _ in ground_truth)
        sums[f'iou_{name}'] = sum(sum(ious) for _, ious in results), total
    return sums
