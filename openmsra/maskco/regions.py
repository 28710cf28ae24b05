"""Masks and region features of a batch."""

import torch
import torch.nn.functional as F
from torch import nn

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
        mode: 'mmcv' is the compiled operator; 'grid' the same maths by ``grid_sample``, for an mmcv without operators;
            'auto' takes the compiled one where it is installed. Both agree to 1e-5 (tested).
    """

    def __init__(self, bins: int = 1, samples: int = 4, mode: str = 'auto') -> None:
        super().__init__()
        if mode not in ('auto', 'mmcv', 'grid'):
            raise ValueError(f"RegionPool: mode={mode!r}; valid are 'auto', 'mmcv', 'grid'.")
        self.bins, self.samples = bins, samples
        self.compiled = mode == 'mmcv' or (mode == 'auto' and _operators_installed())

    def forward(self, features: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
        """Pool.

        Args:
            features: (B, C, H, W).
            boxes: (B, N, 4) in pixels of the view.
            size: side of the view in pixels.

        Returns:
            (B, N, C * bins * bins).
        """
        pooled = self._by_operator(features, boxes, size) if self.compiled else self._by_grid(features, boxes, size)
        return pooled.flatten(2)

    def _by_operator(self, features: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
        from mmcv.ops import roi_align

        batch, count = boxes.shape[:2]
        rows = torch.arange(batch, device=boxes.device, dtype=boxes.dtype).repeat_interleave(count)
        rois = torch.cat([rows[:, None], boxes.flatten(0, 1)], dim=1).to(features.dtype)
        scale = features.shape[-1] / size
        # mmcv reads the memory as if it were contiguous, whatever the strides say
        return roi_align(features.contiguous(), rois, self.bins, scale, self.samples, 'avg', True).unflatten(0, (batch, count))

    def _by_grid(self, features: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
        n, (batch, count) = self.bins * self.samples, boxes.shape[:2]
        steps = (torch.arange(n, device=boxes.device) + 0.5) / n
        points = boxes[..., :2, None] + steps * (boxes[..., 2:, None] - boxes[..., :2, None])  # (B, N, 2, n)
        points = 2 * points / size - 1
        x = points[:, :, 0, None, :].expand(-1, -1, n, -1)
        y = points[:, :, 1, :, None].expand(-1, -1, -1, n)
        grid = torch.stack([x, y], -1).view(batch, count * n, n, 2).to(features.dtype)
        sampled = F.grid_sample(features, grid, padding_mode='border', align_corners=False)  # (B, C, N * n, n)
        cells = sampled.view(batch, features.shape[1], count, self.bins, self.samples, self.bins, self.samples)
        return cells.mean((4, 6)).transpose(1, 2)


def _operators_installed() -> bool:
    import importlib.util

    return importlib.util.find_spec('mmcv._ext') is not None
