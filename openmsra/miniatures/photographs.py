"""Photographs that installed packages ship (scikit-image, scikit-learn), as the raw material of miniature data sets."""

from functools import cache

import numpy as np

SCIKIT_LEARN = ('china', 'flower')


@cache
def load_photo(name: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB; grey photographs are repeated on three channels.

    Args:
        name: 'china' or 'flower' of scikit-learn, 'motorcycle' (the left image of the stereo pair) or the name of a function
            of ``skimage.data`` whose file is part of the package.
    """
    from skimage import data
    from sklearn.datasets import load_sample_image

    if name in SCIKIT_LEARN:
        pixels = load_sample_image(f'{name}.jpg')
    else:
        pixels = data.stereo_motorcycle()[0] if name == 'motorcycle' else getattr(data, name)()
    return np.repeat(pixels[..., None], 3, 2) if pixels.ndim == 2 else pixels[..., :3]
