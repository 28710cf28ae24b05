"""Degraded inputs made from pristine images, for data sets that have none; never to be compared with published figures."""

import io
import zlib

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image, ImageFilter

from openmsra.registry import TRANSFORMS

# strength of severity 1 to 5
LEVELS = {
    'noise': (8, 15, 22, 32, 45),  # standard deviation in grey levels
    'blur': (0.8, 1.1, 1.4, 1.7, 2.0),  # standard deviation in pixels, and noise of 3 grey levels
    'jpeg': (30, 22, 15, 10, 5),  # quality
    'down': (2, 2.5, 3, 3.5, 4),  # factor, by area; back up bicubic
}


def degrade(image: Image.Image, kind: str, severity: int, rng: np.random.Generator) -> Image.Image:
    """A degraded copy of an RGB image, of the same size.

    Args:
        kind: 'noise', 'blur', 'jpeg' or 'down'.
        severity: 1 (weak) to 5.

    Raises:
        ValueError: unknown kind or severity.
    """
    if kind not in LEVELS or severity not in range(1, 6):
        raise ValueError(f'kind must be one of {sorted(LEVELS)} and severity 1 to 5, got {kind!r} and {severity!r}')
    level = LEVELS[kind][severity - 1]
    if kind == 'noise':
        return _noisy(image, level, rng)
    if kind == 'blur':
        return _noisy(image.filter(ImageFilter.GaussianBlur(level)), 3, rng)
    if kind == 'jpeg':
        stream = io.BytesIO()
        image.save(stream, 'JPEG', quality=level)
        return Image.open(stream).convert('RGB')
    small = image.resize(tuple(max(1, round(side / level)) for side in image.size), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def _noisy(image: Image.Image, sigma: float, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    return Image.fromarray(np.clip(np.rint(pixels + rng.normal(0, sigma, pixels.shape)), 0, 255).astype(np.uint8))


@TRANSFORMS.register_module()
class SyntheticDegraded(BaseTransform):
    """Makes ``degraded`` from ``pristine``: kind and severity follow from the image's name, equal in every epoch.

    Args:
        kinds: among which to choose.
        severities: among which to choose.
        keep_pristine: leave the pristine image for training; off in tests, where the network must not see it.

    Raises:
        ValueError: unknown kind or severity.
    """

    def __init__(
        self, kinds: tuple[str, ...] = tuple(LEVELS), severities: tuple[int, ...] = (1, 2, 3, 4, 5), keep_pristine: bool = True
    ) -> None:
        if not kinds or not severities or set(kinds) - set(LEVELS) or set(severities) - set(range(1, 6)):
            raise ValueError(f'kinds of {sorted(LEVELS)} and severities of 1 to 5 are needed, got {kinds=} {severities=}')
        self.kinds, self.severities, self.keep_pristine = tuple(kinds), tuple(severities), keep_pristine

    def transform(self, results: dict) -> dict:
        rng = np.random.default_rng(zlib.crc32(str(results['restored_path']).encode()))
        kind, severity = self.kinds[rng.integers(len(self.kinds))], self.severities[rng.integers(len(self.severities))]
        results['degraded'] = degrade(results['pristine'], kind, int(severity), rng)
        if not self.keep_pristine:
            del results['pristine']
        return results
