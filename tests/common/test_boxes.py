"""Overlap of boxes against pixels that are counted."""

import numpy as np

from openmsra.common.boxes import area, intersect, iou


def test_overlap_equals_counted_pixels():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 12, (40, 2))
    boxes = np.concatenate([corners, corners + rng.integers(0, 9, (40, 2))], 1).astype(float)
    grids = np.zeros((40, 24, 24), bool)
    for grid, (x1, y1, x2, y2) in zip(grids, boxes.astype(int), strict=True):
        grid[y1:y2, x1:x2] = True
    common = (grids[:, None] & grids).sum((2, 3))
    union = (grids[:, None] | grids).sum((2, 3))
    np.testing.assert_array_equal(area(boxes), grids.sum((1, 2)))
    np.testing.assert_array_equal(area(intersect(boxes[:, None], boxes)), common)
    np.testing.assert_allclose(iou(boxes[:, None], boxes), common / np.maximum(union, 1))
    assert iou(boxes[0], boxes[0]) == 1


def test_boxes_without_area_do_not_overlap():
    empty = np.array([3.0, 3, 3, 9])
    assert iou(empty, empty) == 0 and area(np.array([5.0, 5, 1, 9])) == 0
