"""Boxes (x1, y1, x2, y2) as numpy arrays (..., 4) that broadcast."""

import numpy as np


def area(boxes: np.ndarray) -> np.ndarray:
    """Areas (...); inverted boxes have none."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return sides[..., 0] * sides[..., 1]


def intersect(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersections (..., 4); inverted, with area 0, where the boxes do not meet."""
    corners = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    return np.concatenate(corners, axis=-1)


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union (...); 0 of two boxes without area."""
    common = area(intersect(first, second))
    union = area(first) + area(second) - common
    return common / np.where(union > 0, union, 1)
