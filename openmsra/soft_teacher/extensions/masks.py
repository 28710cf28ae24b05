"""Pseudo masks between views (ours: the official masks were never released).

The teacher's mask of a box is a small probability map. Pasting it into the weak view, warping that to the strong view and
cropping a student's region is one composed sampling here: points of the region go back to the weak view and read the
map where they fall into the box.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from openmsra.soft_teacher.geometry import project_points


def read_maps(maps: Tensor, boxes: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of maps (K, m, m), pasted at boxes (K, 4), at points (K, h, w, 2); 0 outside of the boxes."""
    corner, side = boxes[:, None, None, :2], (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)[:, None, None]
    grid = (points - corner) / side * 2 - 1
    return F.grid_sample(maps[:, None].float(), grid, mode='bilinear', align_corners=False)[:, 0]


def region_points(regions: Tensor, size: tuple[int, int]) -> Tensor:
    """Centres (K, h, w, 2) of the h x w bins of regions (K, 4)."""
    axes = [
        regions[:, k, None]
        + (regions[:, k + 2] - regions[:, k])[:, None] * (torch.arange(size[1 - k], device=regions.device) + 0.5) / size[1 - k]
        for k in (0, 1)
    ]
    x, y = axes[0][:, None, :].expand(-1, *size), axes[1][:, :, None].expand(-1, *size)
    return torch.stack([x, y], dim=-1)


def mask_targets(
    regions: Tensor,
    maps: Tensor,
    boxes: Tensor,
    to_weak: Tensor,
    weak_shape: tuple[int, int],
    size: tuple[int, int],
    margin: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Binary targets of student regions and where they count.

    Args:
        regions: (K, 4) in the strong view.
        maps, boxes: (K, m, m) probabilities of the assigned pseudo masks and (K, 4) their boxes in the weak view.
        to_weak: (3, 3) from the strong to the weak view.
        weak_shape: (height, width) of the weak view; what lies outside was not seen by the teacher and is ignored.
        size: (h, w) of the student's mask head.
        margin: probabilities within ``margin`` of 0.5 are ignored.

    Returns:
        targets (K, h, w) of 0 and 1, and bool (K, h, w).
    """
    points = project_points(region_points(regions, size), to_weak)
    probability = read_maps(maps, boxes, points)
    inside = ((points >= 0) & (points <= points.new_tensor([weak_shape[1], weak_shape[0]]))).all(-1)
    certain = (probability >= 0.5 + margin) | (probability <= 0.5 - margin)
    return (probability >= 0.5).float(), inside & certain


def warp_masks(maps: Tensor, boxes: Tensor, to_weak: Tensor, shape: tuple[int, int]) -> Tensor:
    """Probabilities (K, height, width) of pseudo masks on the whole strong view (for pictures)."""
    frame = boxes.new_tensor([[0, 0, shape[1], shape[0]]]).expand(len(boxes), 4)
    return read_maps(maps, boxes, project_points(region_points(frame, shape), to_weak))


def masked_bce(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Binary cross entropy per pixel, mean over ``valid`` ones; 0, connected to the graph, if there are none."""
    losses = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction='none')
    return (losses * valid).sum() / valid.sum().clamp(min=1)
