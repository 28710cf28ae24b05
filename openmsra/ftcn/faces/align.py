"""One similarity transform per clip from face landmarks to the template of the official code.

A transform per frame would add the jitter that the detector looks for.
"""

from collections.abc import Sequence

import cv2
import numpy as np

# left eye, right eye, nose, left and right mouth corner (image left) at 256 pixels
TEMPLATE = np.array([(85.82991, 85.7792), (169.0532, 84.3381), (127.574, 137.0006), (90.6964, 174.7014), (167.3069, 173.3733)])


def template(size: int) -> np.ndarray:
    """The five points (5, 2) for crops of ``size`` pixels."""
    return TEMPLATE * (size / 256)


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The (2, 3) affine matrix of the similarity that takes ``source`` (N, 2) to ``target`` (N, 2).

    Least squares is solved from target to source, with errors in pixels of the source, and inverted, as the official
    code does.

    Raises:
        ValueError: fewer than two different points.
    """
    (x, y), ones, zeros = target.T, np.ones(len(target)), np.zeros(len(target))
    system = np.concatenate([np.stack([x, y, ones, zeros], 1), np.stack([y, -x, zeros, ones], 1)])
    (p, q, dx, dy), _, rank, _ = np.linalg.lstsq(system, source.T.ravel(), rcond=None)
    if rank < 4 or p * p + q * q < 1e-12:
        raise ValueError('landmarks coincide: no similarity transform fits them')
    inverse = np.linalg.inv(np.array([[p, q], [-q, p]]))
    return np.column_stack([inverse, -inverse @ (dx, dy)])


def loose_box(box: np.ndarray, shape: tuple[int, int], margin: float = 0.5) -> np.ndarray:
    """A box (x1, y1, x2, y2) enlarged by ``margin`` of its size on each side, rounded and clipped to (H, W)."""
    x1, y1, x2, y2 = np.round(box)
    width, height = margin * (x2 - x1), margin * (y2 - y1)
    last = np.array([shape[1], shape[0]] * 2) - 1
    return np.round(np.clip((x1 - width, y1 - height, x2 + width, y2 + height), 0, last)).astype(int)


def align_clip(crops: Sequence[np.ndarray], corners: np.ndarray, landmarks: np.ndarray, size: int = 224) -> np.ndarray:
    """Warp all crops with one transform: (T, size, size, 3), black outside each crop.

    Args:
        crops: T images (h, w, 3) cut from the frames with :func:`loose_box`.
        corners: (T, 2) x and y of their top left corners in the frames.
        landmarks: (T, 5, 2) in pixels of the frames.
    """
    matrix = fit_similarity(landmarks.reshape(-1, 2), np.tile(template(size), (len(crops), 1)))
    clip = np.empty((len(crops), size, size, 3), np.uint8)
    for crop, corner, aligned in zip(crops, corners, clip, strict=True):
        moved = matrix.copy()
        moved[:, 2] += matrix[:, :2] @ corner
        cv2.warpAffine(crop, moved, (size, size), dst=aligned)
    return clip


def landmarks_of_box(box: np.ndarray) -> np.ndarray:
    """Five points (5, 2) that put a detector's box where the template has its face, for detectors without landmarks.

    Frontal detectors draw squares with the eyes at 0.3 and 0.7 of the width and 0.38 of the height: (24, 6) to (232, 214)
    of the template at 256 pixels.
    """
    x1, y1, x2, y2 = box
    side, centre = max(x2 - x1, y2 - y1), np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    return (TEMPLATE - (128, 110)) / 208 * side + centre
