"""Small videos in which motion is the class and appearance is not: cut-outs of photographs that move over photographs."""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

from openmsra.mcn.data.videos import ClipDataset
from openmsra.miniatures.photographs import load_photo
from openmsra.registry import DATASETS

MOTIONS = ('right', 'left', 'down', 'up', 'clockwise', 'anticlockwise', 'grow', 'shrink')
SHIFTS = {'right': (1, 0), 'left': (-1, 0), 'down': (0, 1), 'up': (0, -1)}  # pixels a frame
TURN, ZOOM = {'clockwise': 9, 'anticlockwise': -9}, {'grow': 1.05, 'shrink': 1 / 1.05}  # degrees, factor a frame
FRAMES, SIDE, PATCH = 20, 40, 16  # of a video; side in pixels of its frames and of the moving patch
FLAT = 12  # grey levels; a square of smaller standard deviation does not show that it turns
PHOTOS = {
    'train': ('astronaut', 'chelsea', 'coffee', 'china', 'brick', 'grass'),
    'test': ('rocket', 'flower', 'gravel', 'camera'),
}


def cutting(split: str, rng: np.random.Generator, side: int) -> np.ndarray:
    """A random square of 40 to 140 pixels of a photograph, resized to (side, side, 3) and put in other colours."""
    names, square = PHOTOS[split], np.zeros(1)
    while square.std() < FLAT:
        photo, size = load_photo(names[rng.integers(len(names))]), int(rng.integers(40, 141))
        top, left = (int(rng.integers(n - size + 1)) for n in photo.shape[:2])
        square = cv2.resize(photo[top : top + size, left : left + size], (side, side), interpolation=cv2.INTER_AREA)
    coloured = square[..., rng.permutation(3)] * rng.uniform(0.7, 1.3, 3) + rng.uniform(-25, 25, 3)
    return np.clip(coloured, 0, 255).astype(np.float32)


def transforms(motion: str, rng: np.random.Generator) -> list[np.ndarray]:
    """For each frame the affine matrix (2, 3) from the patch to the frame; speed and place are random."""
    speed, times = rng.uniform(0.9, 1.5), np.arange(FRAMES) - (FRAMES - 1) / 2
    centre, angle, scale = SIDE / 2 + rng.uniform(-5, 5, 2), rng.uniform(-20, 20), rng.uniform(0.9, 1.2)
    matrices = []
    for time in times * speed:
        place = centre + np.array(SHIFTS.get(motion, (0, 0))) * time
        matrix = cv2.getRotationMatrix2D(
            (PATCH / 2, PATCH / 2), angle - TURN.get(motion, 0) * time, scale * ZOOM.get(motion, 1) ** time
        )
        matrix[:, 2] += place - PATCH / 2
        matrices.append(matrix)
    return matrices


def moving_patch(motion: str, split: str, rng: np.random.Generator, drift: float) -> np.ndarray:
    """A video (20, 40, 40, 3) uint8 of a soft disc that moves while the whole background drifts in a direction of its own.

    Args:
        drift: largest speed of the background in pixels a frame along each axis; it tells videos apart, not classes.
    """
    margin = int(np.ceil(drift * FRAMES / 2)) + 1
    background, patch = cutting(split, rng, SIDE + 2 * margin), cutting(split, rng, PATCH)
    y, x = np.mgrid[0:PATCH, 0:PATCH] - (PATCH - 1) / 2
    alpha = np.clip(PATCH / 2 - np.hypot(y, x), 0, 1).astype(np.float32)
    layer, velocity, frames = np.dstack([patch * alpha[..., None], alpha]), rng.uniform(-drift, drift, 2), []
    for number, matrix in enumerate(transforms(motion, rng)):
        shift = margin + velocity * (number - FRAMES / 2)
        behind = cv2.warpAffine(background, np.array([[1, 0, -shift[0]], [0, 1, -shift[1]]]), (SIDE, SIDE))
        front = cv2.warpAffine(layer, matrix, (SIDE, SIDE))
        frames.append(behind * (1 - front[..., 3:]) + front[..., :3])
    return np.clip(np.stack(frames).round(), 0, 255).astype(np.uint8)


@cache
def videos(split: str, count: int, drift: float, seed: int) -> tuple[np.ndarray, ...]:
    """``count`` videos, the motions in turn; made once in a process."""
    generators = (np.random.default_rng([seed, list(PHOTOS).index(split), number]) for number in range(count))
    return tuple(moving_patch(MOTIONS[number % len(MOTIONS)], split, rng, drift) for number, rng in enumerate(generators))


@DATASETS.register_module()
class MovingPatches(ClipDataset):
    """Videos of :func:`moving_patch`; the label is the motion, of which there are eight, equally frequent.

    Args:
        split: 'train' or 'test'; their photographs are disjoint.
        count: videos.
        drift: see :func:`moving_patch`.
        seed: all videos follow from it, the split and their number.
    """

    METAINFO = dict(classes=MOTIONS)

    def __init__(self, split: str, count: int, pipeline: list, drift: float = 0.55, seed: int = 0, **kwargs) -> None:
        if split not in PHOTOS or count < 1:
            raise ValueError(f'MovingPatches: split={split!r} {tuple(PHOTOS)}, count={count}: out of range.')
        self.split, self.count, self.drift, self.seed = split, count, drift, seed
        super().__init__(pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        self.pixels = videos(self.split, self.count, self.drift, self.seed)
        return [dict(video=f'{self.split}/{k:05d}', label=k % len(MOTIONS), number=k) for k in range(self.count)]

    def frames(self, row: dict, choose: Callable[[int], np.ndarray]) -> np.ndarray:
        return self.pixels[row['number']][choose(FRAMES)]
