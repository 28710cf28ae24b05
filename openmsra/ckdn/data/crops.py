"""Which parts of a pair are scored: the centre as in training, overlapping tiles, or the whole image."""

import numpy as np
import torch
from PIL import Image

from openmsra.ckdn.data.transforms import INTERPOLATION, ResizeCropPair, to_tensor

TILE, STRIDE = 288, 144  # pixels; the tile is what the network was trained with
CROPS = ('center', 'grid', 'whole')


def tile_offsets(length: int, tile: int = TILE, stride: int = STRIDE) -> list[int]:
    """First pixels of the tiles along one side; the last tile is shifted to the border, so that all pixels are covered."""
    if length < tile:
        raise ValueError(f'{length} pixels are less than a tile of {tile}')
    offsets = list(range(0, length - tile + 1, stride))
    return offsets if offsets[-1] == length - tile else [*offsets, length - tile]


def cut(
    restored: Image.Image, degraded: Image.Image, crop: str, ref_interp: str = 'nearest'
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tiles of both images at the same relative places, uint8 (T, 3, h, w).

    'center': the official preprocessing (short side 329, centre 288), the only one that the network was trained with.
    'grid': tiles of 288 pixels, 144 apart, at the resolution of the restored image; an image with a shorter side is
    enlarged to 288 first. 'whole': one tile, the restored image as it is. The degraded image is resized to the
    restored one for the last two.

    Raises:
        ValueError: unknown ``crop``.
    """
    if crop not in CROPS:
        raise ValueError(f'crop must be one of {CROPS}, got {crop!r}')
    if crop == 'center':
        pair = ResizeCropPair(ref_interp=ref_interp).transform(dict(restored=restored, degraded=degraded))
        return to_tensor(pair['restored'])[None], to_tensor(pair['degraded'])[None]
    restored = _enlarged(restored) if crop == 'grid' else restored
    if degraded.size != restored.size:
        degraded = degraded.resize(restored.size, INTERPOLATION[ref_interp])
    if crop == 'whole':
        return to_tensor(restored)[None], to_tensor(degraded)[None]
    return _tiles(restored), _tiles(degraded)


def _enlarged(image: Image.Image) -> Image.Image:
    scale = TILE / min(image.size)
    if scale <= 1:
        return image
    return image.resize(tuple(max(TILE, round(side * scale)) for side in image.size), INTERPOLATION['bicubic'])


def _tiles(image: Image.Image) -> torch.Tensor:
    pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    tiles = [pixels[y : y + TILE, x : x + TILE] for y in tile_offsets(height) for x in tile_offsets(width)]
    return torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2).contiguous()
