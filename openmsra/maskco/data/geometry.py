"""Crops, flips and boxes: where one region of an image lies in each view.

Boxes are (x1, y1, x2, y2) in continuous pixel edges: the pixel in column i covers [i, i + 1). Crops are (x, y, w, h) in
whole pixels of the original image. All laws of sizes and overlaps are ours: the paper gives none.
"""

from dataclasses import dataclass

import numpy as np

from openmsra.common.boxes import area, intersect, iou


@dataclass(frozen=True)
class View:
    """How a square view was cut: crop, then resize to ``size`` pixels, then perhaps a horizontal flip.

    Args:
        crop: (x, y, w, h) in original pixels.
        flip: whether the view is mirrored.
        size: side of the view in pixels.
    """

    crop: tuple[int, int, int, int]
    flip: bool
    size: int

    def to_view(self, boxes: np.ndarray) -> np.ndarray:
        """Original boxes (..., 4) in view pixels; they may reach out of the view."""
        x, y, w, h = self.crop
        offset, scale = np.array([x, y, x, y]), self.size / np.array([w, h, w, h])
        moved = (np.asarray(boxes, float) - offset) * scale
        return self._mirrored(moved)

    def to_original(self, boxes: np.ndarray) -> np.ndarray:
        """View boxes (..., 4) in original pixels, the inverse of :meth:`to_view`."""
        x, y, w, h = self.crop
        offset, scale = np.array([x, y, x, y]), np.array([w, h, w, h]) / self.size
        return self._mirrored(np.asarray(boxes, float)) * scale + offset

    def _mirrored(self, boxes: np.ndarray) -> np.ndarray:
        if not self.flip:
            return boxes
        return np.stack([self.size - boxes[..., 2], boxes[..., 1], self.size - boxes[..., 0], boxes[..., 3]], -1)

    @property
    def box(self) -> np.ndarray:
        """The crop as a box (4,) in original pixels."""
        x, y, w, h = self.crop
        return np.array([x, y, x + w, y + h], float)


def random_crop(width: int, height: int, scale: tuple, ratio: tuple, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A random resized crop (x, y, w, h): area share from ``scale``, log-uniform aspect from ``ratio``, ten tries.

    After ten misses the largest centred crop whose aspect is in range, as in torchvision and MoCo v2.
    """
    for _ in range(10):
        target = rng.uniform(*scale) * width * height
        aspect = np.exp(rng.uniform(*np.log(ratio)))
        w, h = round(np.sqrt(target * aspect)), round(np.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1)), w, h
    aspect = np.clip(width / height, *ratio)
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    return (width - w) // 2, (height - h) // 2, w, h


def common_region(query: View, key: View, min_overlap: float, min_side: float) -> np.ndarray | None:
    """The part (4,) of the original image that both views show, or ``None`` if it is too small.

    Args:
        min_overlap: least share of the smaller crop, in [0, 1].
        min_side: least side in pixels of either view.
    """
    common = intersect(query.box, key.box)
    if area(common) < min_overlap * min(area(query.box), area(key.box)) or area(common) == 0:
        return None
    sides = [view.to_view(common) for view in (query, key)]
    return common if all((box[2:] - box[:2]).min() >= min_side for box in sides) else None


def random_boxes(inside: np.ndarray, count: int, size: float, scale: tuple, ratio: tuple, rng: np.random.Generator) -> np.ndarray:
    """Boxes (count, 4) within ``inside``: area ``scale`` of a square of side ``size``, log-uniform aspect, uniform position.

    Sides that do not fit are clipped to those of ``inside``.
    """
    target, aspect = rng.uniform(*scale, count) * size * size, np.exp(rng.uniform(*np.log(ratio), count))
    room = inside[2:] - inside[:2]
    sides = np.minimum(np.sqrt(np.stack([target * aspect, target / aspect], 1)), room)
    corners = inside[:2] + rng.uniform(size=(count, 2)) * (room - sides)
    return np.concatenate([corners, corners + sides], axis=1)


def random_regions(
    query: View,
    key: View,
    common: np.ndarray,
    count: int,
    scale: tuple,
    ratio: tuple,
    min_side: float,
    rng: np.random.Generator,
    tries: int = 100,
) -> np.ndarray:
    """Disjoint boxes (count, 4) of the common part, in original pixels; their sizes are shares of the query view.

    Of ``tries`` boxes for each, those with at least ``min_side`` pixels in both views count. Where none does, all of the
    common part is the region; where the common part has no room for as many, regions are repeated.
    """
    boxes = query.to_original(random_boxes(query.to_view(common), tries * count, query.size, scale, ratio, rng))
    in_views = np.concatenate([query.to_view(boxes), key.to_view(boxes)], axis=1)
    sides = np.concatenate([in_views[:, 2:4] - in_views[:, :2], in_views[:, 6:] - in_views[:, 4:6]], axis=1)
    regions: list[np.ndarray] = []
    for box in boxes[sides.min(1) >= min_side - 1e-6]:
        if not regions or not area(intersect(box, np.stack(regions))).any():
            regions.append(box)
        if len(regions) == count:
            return np.stack(regions)
    regions = regions or [common]
    return np.stack([regions[i % len(regions)] for i in range(count)])


def random_negatives(
    taken: np.ndarray,
    count: int,
    size: float,
    scale: tuple,
    ratio: tuple,
    max_iou: float,
    rng: np.random.Generator,
    tries: int = 20,
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of the key view that are other regions than ``taken`` (R, 4).

    Returns:
        boxes (count, 4) in view pixels and whether each is valid (count,); a box for which ``tries`` draws overlap
        a taken one by more than ``max_iou`` is invalid and covers the whole view.
    """
    whole = np.array([0, 0, size, size], float)
    drawn = random_boxes(whole, count * tries, size, scale, ratio, rng)
    apart = (iou(drawn[:, None], taken) <= max_iou).all(1).reshape(count, tries)
    valid = apart.any(1)
    first = drawn.reshape(count, tries, 4)[np.arange(count), apart.argmax(1)]
    return np.where(valid[:, None], first, whole), valid
