"""How good pseudo labels are: figures without and, where hidden labels travel with the images, with the truth."""

from collections import Counter

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from openmsra.soft_teacher.geometry import project_boxes
from openmsra.soft_teacher.pseudo_labels import Lesson, Teaching

BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
IOU = 0.5


def lesson_figures(lesson: Lesson, teaching: Teaching) -> dict[str, float]:
    """Averages over the images of a batch: candidates, boxes in each role, mean uncertainty and background weight, a histogram
    of the scores; nothing is said about what is not there."""
    images, found = len(lesson.candidates), lesson.candidates
    scores = torch.cat([own.scores for own in found])
    uncertainty = torch.cat([own.reg_uncs for own in found])
    figures = dict(candidates=len(scores) / images)
    for role, choose in teaching.roles().items():
        figures[f'boxes_{role}'] = sum(map(len, choose(lesson))) / images
    if teaching.thresholds is not None:
        limits = teaching.settings.pseudo_label_initial_score_thr, teaching.settings.cls_pseudo_thr
        figures['threshold_cls'] = teaching.thresholds.values().clamp(*limits).mean().item()
    finite = uncertainty[uncertainty.isfinite()]
    if len(finite):
        figures['uncertainty'] = finite.mean().item()
    if lesson.reliability is not None and lesson.reliability.numel():
        figures['background_weight'] = lesson.reliability.mean().item()
    counts = np.histogram(scores.cpu(), BINS)[0]
    return figures | {f'scores_from_{low}': count / images for low, count in zip(BINS, counts.tolist())}


def class_counts(lesson: Lesson, teaching: Teaching) -> Counter:
    """Label -> number of boxes that teach the classification."""
    return Counter(label for own in teaching.for_cls(lesson) for label in own.labels.tolist())


def hidden_truth(lesson: Lesson) -> list[tuple[Tensor, Tensor]] | None:
    """Boxes and labels of the strong views from ``hidden_bboxes`` and ``hidden_labels``; ``None`` where images have none."""
    if any('hidden_bboxes' not in meta for meta in lesson.strong_metas) or not lesson.strong_metas:
        return None
    return [hidden_boxes(meta) for meta in lesson.strong_metas]


def hidden_boxes(meta: dict) -> tuple[Tensor, Tensor]:
    """Hidden boxes (n, 4), projected to the view, and labels (n,)."""
    matrix = torch.from_numpy(meta['homography_matrix'])
    boxes = project_boxes(torch.from_numpy(meta['hidden_bboxes']), matrix, meta['img_shape'])
    return boxes, torch.from_numpy(meta['hidden_labels'])


def matches(pseudo: InstanceData, boxes: Tensor, labels: Tensor) -> tuple[int, list[float]]:
    """How many pseudo boxes are right (best first, each object once, IoU of 0.5, right class), and the best IoU of each."""
    if not len(pseudo) or not len(boxes):
        return 0, [0.0] * len(pseudo)
    overlaps = bbox_overlaps(pseudo.bboxes.cpu(), boxes)
    allowed = overlaps.masked_fill(pseudo.labels.cpu()[:, None] != labels, 0)
    taken, right = set(), 0
    for own in pseudo.scores.argsort(descending=True).tolist():
        free = [place for place in range(len(boxes)) if place not in taken and allowed[own, place] >= IOU]
        if free:
            best = max(free, key=allowed[own].__getitem__)
            taken.add(best)
            right += 1
    return right, overlaps.amax(1).tolist()


def truth_figures(lesson: Lesson, teaching: Teaching) -> dict[str, tuple[float, float]]:
    """Numerator and denominator of precision, recall and mean IoU of the boxes for classification and regression.

    Sums are returned, to be added up over batches before the division.
    """
    truth, sums = hidden_truth(lesson), {}
    if truth is None:
        return sums
    for role in ('cls', 'reg'):
        chosen = teaching.roles()[role](lesson)
        found = [matches(own, *target) for own, target in zip(chosen, truth, strict=True)]
        right, made = sum(count for count, _ in found), sum(map(len, chosen))
        sums[f'precision_{role}'] = right, made
        sums[f'recall_{role}'] = right, sum(len(boxes) for boxes, _ in truth)
        sums[f'iou_{role}'] = sum(sum(ious) for _, ious in found), made
    return sums
