"""Scenes of several digits on photographs: real pictures whose views need not show one thing."""

from functools import cache

import cv2
import numpy as np
from mmengine.dataset import BaseDataset

from openmsra.miniatures.photographs import load_photo
from openmsra.registry import DATASETS

PHOTOS = {'train': ('china', 'astronaut', 'coffee'), 'test': ('flower', 'chelsea', 'rocket')}
PARTS = {'train': slice(0, 1197), 'probe': slice(1197, 1497), 'test': slice(1497, 1797)}


@DATASETS.register_module()
class DigitScenes(BaseDataset):
    """Handwritten digits (scikit-learn) on photographs (scikit-image, scikit-learn), composed from a seed.

    Digits and photographs of pre-training, of fitting and of testing a probe are disjoint. Made by us: results say nothing
    about ImageNet or COCO.

    Args:
        split: 'train' (pre-training, no labels used) or 'probe' (images that probes are fitted on, then test images).
        count: images; for 'probe' a pair (to fit on, to test on).
        kind: 'multi' has four different digits, one per quadrant: views often share none. 'single' has one large
            digit in the centre: views show the same thing.
        follow: in pre-training scenes of 'multi' the right neighbour is the digit + 1 (mod 10) with this probability: without
            such a rule nothing in the picture tells what a fully hidden digit was. Probes always have 0.
        size: side in pixels.
        seed: of the composition.

    Raises:
        ValueError: an unknown split or kind.
    """

    METAINFO = dict(classes=tuple('0123456789'))

    def __init__(
        self,
        split: str,
        count: int | tuple[int, int],
        pipeline: list,
        kind: str = 'multi',
        follow: float = 0.8,
        size: int = 64,
        seed: int = 0,
        **kwargs,
    ) -> None:
        if split not in ('train', 'probe') or kind not in ('multi', 'single'):
            raise ValueError(f"DigitScenes: split={split!r}, kind={kind!r}; valid: 'train', 'probe'; 'multi', 'single'.")
        self.split, self.count, self.kind, self.follow, self.size, self.seed = split, count, kind, follow, size, seed
        super().__init__(pipeline=pipeline, serialize_data=False, **kwargs)

    def load_data_list(self) -> list[dict]:
        if self.split == 'train':
            return [self._scene('train', i) for i in range(self.count)]
        fit, test = self.count
        return [dict(self._scene('probe', i), bank=True) for i in range(fit)] + [
            dict(self._scene('test', i), bank=False) for i in range(test)
        ]

    def _scene(self, part: str, index: int) -> dict:
        rng = np.random.default_rng([self.seed, list(PARTS).index(part), self.kind == 'multi', index])
        image = _background('train' if part == 'train' else 'test', self.size, rng)
        labels = self._labels(part, rng)
        boxes = [self._place(image, part, label, slot, rng) for slot, label in enumerate(labels)]
        scene = dict(
            img=image.round().clip(0, 255).astype(np.uint8), gt_boxes=np.array(boxes, float), gt_box_labels=np.array(labels)
        )
        return scene | (dict(gt_label=labels[0]) if self.kind == 'single' else {})

    def _labels(self, part: str, rng: np.random.Generator) -> list[int]:
        """Digits in the order upper left, upper right, lower left, lower right."""
        if self.kind == 'single':
            return [int(rng.integers(10))]
        while True:
            labels = rng.permutation(10)[:4]
            for left in (0, 2):
                if part == 'train' and rng.uniform() < self.follow:
                    labels[left + 1] = (labels[left] + 1) % 10
            if len(set(labels.tolist())) == 4:
                return labels.tolist()

    def _place(self, image: np.ndarray, part: str, label: int, slot: int, rng: np.random.Generator) -> list[int]:
        """Paint a digit into ``image`` in place and return its box (x1, y1, x2, y2)."""
        if self.kind == 'multi':
            side, room = round(self.size * rng.uniform(0.28, 0.4)), self.size // 2
            row, column = divmod(slot, 2)
            x, y = (int(rng.integers(room - side + 1)) + room * i for i in (column, row))
        else:
            side, reach = round(self.size * rng.uniform(0.4, 0.55)), self.size // 12
            x, y = ((self.size - side) // 2 + int(rng.integers(-reach, reach + 1)) for _ in range(2))
        patch, ink = image[y : y + side, x : x + side], _digit(part, label, rng)
        ink = cv2.resize(ink, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)[..., None]
        bright = patch.mean() > 127
        colour = rng.uniform(0, 70, 3) if bright else rng.uniform(185, 255, 3)
        patch[:] = patch * (1 - ink) + colour * ink
        return [x, y, x + side, y + side]


def _background(split: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """A crop of a photograph with halved contrast, float (size, size, 3)."""
    photo = load_photo(str(rng.choice(PHOTOS[split])))
    side = int(rng.integers(size, min(photo.shape[:2]) + 1))
    y, x = (int(rng.integers(n - side + 1)) for n in photo.shape[:2])
    crop = cv2.resize(photo[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_AREA).astype(float)
    return crop.mean() + (crop - crop.mean()) / 2


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    table = load_digits()
    return (table.images / 16).astype(np.float32), table.target


def _digit(part: str, label: int, rng: np.random.Generator) -> np.ndarray:
    images, labels = _digits()
    return images[PARTS[part]][rng.choice(np.flatnonzero(labels[PARTS[part]] == label))]
