"""From one view of an image to another: matrices, boxes and points, never in half precision.

A view has a matrix T (3, 3) that maps pixel coordinates of the original image to its own; M = T_S T_T^-1 leads from the
weak view of the teacher to the strong view of the student. Boxes are (x1, y1, x2, y2), shapes (height, width).
"""

import numpy as np
import torch
from torch import Tensor


def view_to_view(source: np.ndarray, target: np.ndarray, device: torch.device | str = 'cpu') -> Tensor:
    """M = target source^-1, float32 (3, 3): from the view with matrix ``source`` to that with ``target``.

    Composed in double precision, so that boxes are projected once and not by way of the original image, whose frame
    would cut them and whose hulls would widen them.

    Raises:
        ValueError: ``source`` cannot be inverted.
    """
    try:
        inverse = np.linalg.inv(np.asarray(source, np.float64))
    except np.linalg.LinAlgError:
        raise ValueError(f'a view whose matrix is singular cannot be projected: {np.asarray(source).tolist()}') from None
    return torch.from_numpy(np.asarray(target, np.float64) @ inverse).float().to(device)


def project_points(points: Tensor, matrix: Tensor) -> Tensor:
    """Points (..., 2) under a homography (3, 3), in float32 also under autocast."""
    with torch.autocast(points.device.type, enabled=False):
        points, matrix = points.float(), matrix.float()
        mapped = points @ matrix[:, :2].T + matrix[:, 2]
        return mapped[..., :2] / mapped[..., 2:]


def project_boxes(boxes: Tensor, matrix: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
    """Hulls of the projected corners of ``boxes`` (N, 4), clipped to a view of ``shape``.

    A rotation or shear widens boxes: projecting back gives a box that contains the first one, not the same.

    Args:
        boxes: in the source view.
        matrix: (3, 3), see :func:`view_to_view`.
        shape: (height, width) of the target view without padding; ``None`` clips nothing.

    Returns:
        (N, 4) float32 in the target view; what lay outside has no width or no height.
    """
    corners = project_points(boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2), matrix)
    hulls = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
    if shape is not None:
        limits = hulls.new_tensor([shape[1], shape[0], shape[1], shape[0]])
        hulls = torch.minimum(hulls.clamp(min=0), limits)
    return hulls


def wide_enough(boxes: Tensor, least: tuple[float, float]) -> Tensor:
    """(N,) bool: width and height above ``least`` pixels."""
    return ((boxes[:, 2:] - boxes[:, :2]) > boxes.new_tensor(least)).all(1)
