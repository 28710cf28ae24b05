"""The two ideas of Soft Teacher as functions: box jitter (sec. 3.3) and soft background weights (sec. 3.2).

Shapes: n boxes, N repeats of the jitter, R sampled regions, C classes; column C of R-CNN scores is the background.
"""

import torch
from torch import Tensor

JITTER_DISTS = ('normal', 'uniform')
JITTER_NORMS = ('axis', 'mean_side')
CLS_NORMS = ('joint', 'separate')
BG_WEIGHTS = ('teacher', 'student', 'pred_diff', 'iou', 'reverse_iou', 'none')


def jitter_boxes(boxes: Tensor, times: int = 10, scale: float = 0.06, dist: str = 'normal') -> Tensor:
    """Boxes (n, 4) with independent offsets of ``scale`` of the side on each coordinate: (N, n, 4).

    Args:
        boxes: sides below one pixel count as one.
        times: N.
        scale: f.
        dist: 'normal' has standard deviation f of the side (official code), 'uniform' lies within -f and f of it (paper).
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1).repeat(1, 2)
    draw = torch.randn if dist == 'normal' else _uniform
    return boxes + draw((times, *boxes.shape), device=boxes.device) * sides * scale


def _uniform(shape: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.rand(shape, device=device) * 2 - 1


def box_uncertainty(refined: Tensor, norm: str = 'axis') -> Tensor:
    """u (n,): spread of N refinements of each box, mean over coordinates of their unbiased standard deviation over a side.

    Args:
        refined: (N, n, 4), N >= 2.
        norm: 'axis' divides by width and height of the mean box (official code), 'mean_side' by their mean (paper).
    """
    if not refined.shape[1]:
        return refined.new_zeros(0)
    std = refined.std(0)
    mean = refined.mean(0)
    sides = (mean[:, 2:] - mean[:, :2]).clamp(min=1)
    if norm == 'mean_side':
        return std.mean(1) / sides.mean(1)
    return (std / sides.repeat(1, 2)).mean(1)


def background_weights(mode: str, teacher: Tensor, student: Tensor, iou: Tensor) -> Tensor:
    """r (R,) in [0, 1]: how sure it is that a region sampled as background is background.

    Args:
        mode: 'teacher' is the paper's choice; 'student' its own opinion; 'pred_diff' the agreement of both; 'iou' the overlap
            with the nearest pseudo box, 'reverse_iou' its complement; 'none' trusts every region.
        teacher, student: (R,) probabilities of the background.
        iou: (R,) overlap with the nearest pseudo box.
    """
    return {
        'teacher': teacher,
        'student': student,
        'pred_diff': 1 - (student - teacher).abs(),
        'iou': iou,
        'reverse_iou': 1 - iou,
        'none': torch.ones_like(teacher),
    }[mode]


def soft_cls_loss(cross_entropy: Tensor, weights: Tensor, foreground: Tensor, norm: str = 'joint') -> Tensor:
    """Classification loss with soft weights.

    Args:
        cross_entropy: (R,) unreduced loss.
        weights: (R,) 1 for foreground, r for background.
        foreground: (R,) bool.
        norm: 'joint' divides by the sum of all weights, at least 1 (official code); 'separate' divides foreground and background
            by their own sums (paper).

    Returns:
        a number; 0, connected to the graph, where R is 0.
    """
    weighted = cross_entropy * weights
    if norm == 'joint':
        return weighted.sum() / weights.sum().clamp(min=1)
    parts = [(weighted[group].sum(), weights[group].sum()) for group in (foreground, ~foreground)]
    return sum(total / mass if mass > 0 else total for total, mass in parts)
