"""Masks and region features of a batch."""

import torch
import torch.nn.functional as F
from torch import nn

from openmsra.engine.deterministic import must_be_fixed

FILLS = ('mean', 'image_mean', 'noise', 'blur', 'learned')


def ellipse_mask(boxes: torch.Tensor, size: int) -> torch.Tensor:
    """Which pixels (B, 1, S, S) have their centre in the ellipse inscribed in any of the boxes (B, R, 4).

    The corners of the region stay visible, about a fifth of it.
    """
    centres = torch.arange(size, device=boxes.device) + 0.5
    middle, radius = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
    distance = ((centres - middle[..., None]) / radius[..., None]).square()  # (B, R, 2, S)
    return (distance[:, :, 1, :, None] + distance[:, :, 0, None, :] <= 1).any(1, keepdim=True)


def box_mask(boxes: torch.Tensor, size: int) -> torch.Tensor:
    """Which pixels (B, 1, S, S) any of the boxes (B, R, 4) touches: edges are rounded outward, so nothing leaks."""
    low, high = boxes[..., :2].floor(), boxes[..., 2:].ceil()
    grid = torch.arange(size, device=boxes.device)
    covered = (grid >= low[..., None]) & (grid < high[..., None])  # (B, R, 2, S)
    return (covered[:, :, 1, :, None] & covered[:, :, 0, None, :]).any(1, keepdim=True)


MASK_SHAPES = {'box': box_mask, 'ellipse': ellipse_mask}


def fill_mask(images: torch.Tensor, mask: torch.Tensor, fill: str, learned: torch.Tensor | None = None) -> torch.Tensor:
    """Replace the masked pixels of normalised images; the fill uses nothing from below the mask except with 'blur'.

    Args:
        images: (B, 3, S, S), normalised, so that 0 is the mean colour of the data set.
        mask: (B, 1, S, S), true where hidden.
        fill: 'mean' (0, our default), 'image_mean' (of the visible pixels), 'noise' (standard normal), 'blur' (a copy
            at an eighth of the resolution: it shows the coarse content), 'learned' (the vector ``learned`` (3,)).
    """
    if fill == 'mean':
        return images.masked_fill(mask, 0.0)
    if fill == 'image_mean':
        visible = (~mask).float()
        value = (images * visible).sum((2, 3), keepdim=True) / visible.sum((2, 3), keepdim=True).clamp_min(1)
    elif fill == 'noise':
        value = torch.randn_like(images)
    elif fill == 'blur':
        value = F.interpolate(F.adaptive_avg_pool2d(images, max(1, images.shape[-1] // 8)), images.shape[-2:], mode='bilinear')
    else:
        value = learned[:, None, None]
    return torch.where(mask, value, images)


class RegionPool(nn.Module):
    """RoIAlign with half-pixel-corrected coordinates: one vector per box (framework figure; bins and samples are ours).

    Args:
        bins: the vector holds bins x bins cells.
        samples: samples per side of a cell.
        mode: 'matrix' takes the mean of bilinear samples as a product of the map with two small matrices, which is faster
            and needs no compiled operator; 'mmcv' is mmcv's operator, whose gradient does not repeat itself on a GPU. They
            agree to 1e-5 (tested).
    """

    def __init__(self, bins: int = 1, samples: int = 4, mode: str = 'matrix') -> None:
        super().__init__()
        if mode not in ('matrix', 'mmcv'):
            raise ValueError(f"RegionPool: mode={mode!r}; valid are 'matrix', 'mmcv'.")
        self.bins, self.samples, self.mode = bins, samples, mode
        self.has_fixed_gradient = mode != 'mmcv'  # on a GPU

    def forward(self, features: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
        """Pool.

        Args:
            features: (B, C, H, W).
            boxes: (B, N, 4) in pixels of the view.
            size: side of the view in pixels.

        Returns:
            (B, N, C * bins * bins).

        Raises:
            RuntimeError: fixed algorithms are asked for on a GPU, and ``mode`` is 'mmcv'.
        """
        if not self.has_fixed_gradient and must_be_fixed(features.device.type):
            raise RuntimeError("RegionPool: mode='mmcv' has no gradient that repeats itself on a GPU; mode='matrix' has.")
        pooled = self._by_operator if self.mode == 'mmcv' else self._by_matrices
        return pooled(features, boxes, size).flatten(2)

    def _by_operator(self, features: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
        from mmcv.ops import roi_align

        batch, count = boxes.shape[:2]
        rows = torch.arange(batch, device=boxes.device, dtype=boxes.dtype).repeat_interleave(count)
        rois = torch.cat([rows[:, None], boxes.flatten(0, 1)], dim=1)
        scale = features.shape[-1] / size
        # Maps take the type of the coordinates, not the reverse: 16 bits round a coordinate of 200 pixels by up to half a pixel.
        # mmcv reads the memory as if it were contiguous, whatever the strides say.
        maps = features.to(rois.dtype).contiguous()
        pooled = roi_align(maps, rois, self.bins, scale, self.samples, 'avg', True).to(features.dtype)
        return pooled.unflatten(0, (batch, count))

    def _by_matrices(self, features: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
        columns, rows = (
            self._weights(boxes[..., axis] / size, boxes[..., axis + 2] / size, features.shape[3 - axis]) for axis in (0, 1)
        )
        weights = torch.einsum('bnpy,bnqx->bnpqyx', rows, columns).flatten(4).flatten(1, 3).to(features.dtype)
        vectors = weights @ features.flatten(2).mT  # (B, N * bins * bins, C)
        return vectors.unflatten(1, (boxes.shape[1], self.bins**2)).mT

    def _weights(self, low: torch.Tensor, high: torch.Tensor, length: int) -> torch.Tensor:
        """Mean bilinear weights (B, N, bins, length) of the cells of a map for intervals (B, N) of the unit line."""
        n = self.bins * self.samples
        steps = (torch.arange(n, device=low.device) + 0.5) / n
        points = (low[..., None] + steps * (high - low)[..., None]) * length - 0.5
        distance = points.clamp(0, length - 1)[..., None] - torch.arange(length, device=low.device)
        return (1 - distance.abs()).clamp_min(0).unflatten(2, (self.bins, self.samples)).mean(3)
