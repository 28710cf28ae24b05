"""The official preprocessing, which is part of the metric: PIL, 8 bit, short side 329, centre crop 288."""

import warnings
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement
from PIL import Image

from openmsra.common.images import channels_first, read_rgb
from openmsra.errors import ImageError
from openmsra.registry import TRANSFORMS

ROLES = ('restored', 'degraded', 'other', 'pristine')
UNLABELLED = ('extra_degraded', 'extra_pristine')  # a pair of another scene, without restored image or score
SMALLEST = 8  # pixels per side; below it nothing is left to compare
INTERPOLATION = {'nearest': Image.Resampling.NEAREST, 'bicubic': Image.Resampling.BICUBIC}


def load_rgb(path: str | Path) -> Image.Image:
    """An image as the metric takes it, see :func:`~openmsra.common.images.read_rgb`; opaque alpha is dropped.

    Raises:
        ImageError: the file is missing, damaged, not an image, floating-point, transparent or tiny.
    """
    return Image.fromarray(read_rgb(path, background=None, smallest=SMALLEST))


def resize_short_side(image: Image.Image, size: int, interpolation: str) -> Image.Image:
    """Short side to ``size``, long side to int(size * long / short)."""
    width, height = image.size
    if width <= height:
        target = size, int(size * height / width)
    else:
        target = int(size * width / height), size
    return image.resize(target, INTERPOLATION[interpolation])


def center_crop(image: Image.Image, size: int) -> Image.Image:
    """Square in the middle; offsets round((n - size) / 2), half to even."""
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def check_pair(restored: Image.Image, reference: Image.Image, name: str) -> None:
    """Raise unless both have one aspect ratio, to a pixel of the longer side at the size of the smaller image.

    Raises:
        ImageError: the images cannot be two versions of one picture.
    """
    (w1, h1), (w2, h2) = sorted((restored.size, reference.size))
    if abs(w2 * h1 / h2 - w1) > 1 and abs(h2 * w1 / w2 - h1) > 1:
        raise ImageError(
            f'{name}: restored {restored.width}x{restored.height} and reference '
            f'{reference.width}x{reference.height} differ in aspect ratio; crop both alike.'
        )


def _identical(first: Image.Image, second: Image.Image) -> bool:
    """Whether all pixels are equal; images that differ do so in their middle rows most of the time."""
    middle = (0, first.height // 2, first.width, first.height // 2 + 1)
    return first.size == second.size and all(
        a.tobytes() == b.tobytes() for a, b in ((first.crop(middle), second.crop(middle)), (first, second))
    )


@TRANSFORMS.register_module()
class LoadPair(BaseTransform):
    """Reads ``{role}_path`` of every role given into ``{role}`` as an RGB image."""

    def transform(self, results: dict) -> dict:
        for role in ROLES:
            if f'{role}_path' in results:
                results[role] = load_rgb(results[f'{role}_path'])
        references = [role for role in ROLES[1:] if role in results]
        for role in references:
            check_pair(results['restored'], results[role], str(results.get('restored_path', role)))
        if 'degraded' in results and _identical(results['restored'], results['degraded']):
            warnings.warn(f'{results.get("restored_path")}: restored and degraded image are identical.', stacklevel=2)
        return results


@TRANSFORMS.register_module()
class ResizeCropPair(BaseTransform):
    """Short side to ``resize`` and centre crop of ``crop`` pixels for all roles.

    Args:
        resize: 329 = floor(288 / 0.875).
        crop: side of the square.
        ref_interp: interpolation of the references (degraded, pristine); the official code takes 'nearest'.
    """

    def __init__(self, resize: int = 329, crop: int = 288, ref_interp: str = 'nearest') -> None:
        if ref_interp not in INTERPOLATION:
            raise ValueError(f'ref_interp must be one of {sorted(INTERPOLATION)}, got {ref_interp!r}')
        if not 0 < crop <= resize:
            raise ValueError(f'0 < crop <= resize is needed, got {crop=} {resize=}')
        self.resize, self.crop, self.ref_interp = resize, crop, ref_interp

    def transform(self, results: dict) -> dict:
        for role in ROLES:
            if role in results:
                interpolation = self.ref_interp if role in ('degraded', 'pristine') else 'bicubic'
                results[role] = center_crop(resize_short_side(results[role], self.resize, interpolation), self.crop)
        return results


@TRANSFORMS.register_module()
class RandomCropPair(BaseTransform):
    """A square at one random place of all roles, half of the time mirrored. The roles must have one size (ResizeCropPair).

    Args:
        crop: side of the square in pixels.

    Raises:
        ImageError: roles of different sizes, or smaller than the square.
    """

    def __init__(self, crop: int) -> None:
        self.crop = crop

    def transform(self, results: dict) -> dict:
        roles = [role for role in ROLES if role in results]
        sizes = {results[role].size for role in roles}
        width, height = min(sizes)
        if len(sizes) > 1 or min(width, height) < self.crop:
            raise ImageError(
                f'{results.get("restored_path")}: RandomCropPair takes images of one size from {self.crop} pixels, '
                f'got {sorted(sizes)}; put ResizeCropPair before it.'
            )
        left, top = np.random.randint(width - self.crop + 1), np.random.randint(height - self.crop + 1)
        mirrored = np.random.randint(2)
        for role in roles:
            part = results[role].crop((left, top, left + self.crop, top + self.crop))
            results[role] = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else part
        return results


def to_tensor(image: Image.Image) -> torch.Tensor:
    """RGB image to uint8 (3, H, W)."""
    return torch.from_numpy(channels_first(np.asarray(image)))


@TRANSFORMS.register_module()
class PackPair(BaseTransform):
    """Images to ``inputs`` (uint8 (3, H, W) by role), labels and names to a data sample."""

    def transform(self, results: dict) -> dict:
        inputs = {role: to_tensor(results[role]) for role in ROLES + UNLABELLED if role in results}
        sample = BaseDataElement()
        for key in ('gt_score', 'gt_other_score'):
            if key in results:
                sample.set_field(results[key], key)
        meta = ('scene', 'version', 'distortion', 'restored_path')
        sample.set_metainfo({key: results[key] for key in meta if key in results})
        return dict(inputs=inputs, data_samples=sample)
