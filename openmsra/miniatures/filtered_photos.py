"""Photographs of installed packages, restored by filters: a few seconds of training for the tests."""

import numpy as np
from mmengine.dataset import BaseDataset
from PIL import Image, ImageFilter

from openmsra.miniatures.photographs import load_photo
from openmsra.registry import DATASETS

PHOTOS = ('astronaut', 'chelsea', 'china', 'coffee', 'flower', 'rocket')


@DATASETS.register_module()
class PhotoPairs(BaseDataset):
    """Photographs of scikit-learn and scikit-image, degraded by noise and restored by filters of several strengths.

    There are no human scores: the label of a version is 1 / (1 + RMSE / 20) against the pristine photograph.

    Args:
        split: 'train' or 'val'; the photographs are disjoint.
        size: side of the square patches in pixels.
        patches: of each photograph; four strengths of noise in turn.
    """

    def __init__(self, split: str, pipeline: list, size: int = 64, patches: int = 4, **kwargs) -> None:
        self.split, self.size, self.patches = split, size, patches
        super().__init__(pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        names = PHOTOS[:4] if self.split == 'train' else PHOTOS[4:]
        return [row for name in names for k in range(self.patches) for row in self._versions(name, load_photo(name), k)]

    def _versions(self, name: str, photo: np.ndarray, k: int) -> list[dict]:
        rng = np.random.default_rng([k, *name.encode()])
        top, left = (int(rng.integers(n - self.size)) for n in photo.shape[:2])
        pristine = photo[top : top + self.size, left : left + self.size]
        noisy = np.clip(pristine + rng.normal(0, 15 + 8 * (k % 4), pristine.shape), 0, 255).astype(np.uint8)
        degraded = Image.fromarray(noisy)
        restored = [
            degraded,
            *(degraded.filter(ImageFilter.GaussianBlur(r)) for r in (0.7, 1.5, 3)),
            degraded.filter(ImageFilter.MedianFilter(3)),
        ]
        error = [np.sqrt(np.mean((np.asarray(image, float) - pristine) ** 2)) for image in restored]
        score = [float(1 / (1 + value / 20)) for value in error]
        return [
            dict(
                restored=image,
                degraded=degraded,
                pristine=Image.fromarray(pristine),
                other=restored[i - 1],
                gt_score=score[i],
                gt_other_score=score[i - 1],
                scene=f'{name}{k}',
            )
            for i, image in enumerate(restored)
        ]
