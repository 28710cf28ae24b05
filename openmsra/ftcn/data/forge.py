"""Forgeries of a real clip with itself: a face region is replaced, frame by frame, by a changed copy of the same frame.

No face of one person is put on another, and no generator is needed. What stays the same in all frames (the region, a warp, a
colour, a coarser sampling, a compression) is the trace in space; what is drawn anew for each frame is the incoherence over time
that FTCN is to see. Pure functions take a clip (T, H, W, 3) uint8 RGB; places and lengths are shares of its sides, so that a
recipe does not depend on the resolution.
"""

from typing import NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from openmsra.ftcn.data.clips import jpeg
from openmsra.registry import TRANSFORMS

CHANGES = ('warp', 'colour', 'resample', 'jpeg')


class Recipe(NamedTuple):
    """What a forgery does in each of T frames; a change that is left out has its neutral value.

    centres, radii: (T, 2) of the ellipse, x and y, shares of width and height; radii above 0.
    edge: width of its soft edge as a share of its radius; above 0.
    opacity: share of the changed copy within it, 0..1.
    shifts: (T, 2) of the copy, x and y, shares of width and height; neutral 0.
    angles: (T,) in degrees, and scales (T,) of the copy around the centre of the frame; neutral 0 and 1.
    gains, offsets: (T, 3) of its channels, in grey values of 0..255; neutral 1 and 0.
    factors: (T,) by which it is sampled down and up again; neutral 1, above that coarser.
    qualities: (T,) of its JPEG coding, 1..100; neutral 0, no coding.
    """

    centres: np.ndarray
    radii: np.ndarray
    edge: float
    opacity: float
    shifts: np.ndarray
    angles: np.ndarray
    scales: np.ndarray
    gains: np.ndarray
    offsets: np.ndarray
    factors: np.ndarray
    qualities: np.ndarray


def draw_recipe(frames: int, rng: np.random.Generator, jitter: float, changes: tuple[str, ...] = CHANGES) -> Recipe:
    """A recipe for a clip: values drawn once, to which ``jitter`` times a draw of each frame is added.

    Args:
        jitter: strength of what differs from frame to frame: 0 none, 1 about 0.7 pixels and 2 grey values at 112 pixels.
        changes: of :data:`CHANGES`; each takes part with probability 0.5, and at least one does.
    """
    taking = [name for name in changes if rng.random() < 0.5] or [changes[rng.integers(len(changes))]]

    def values(change: str | None, once: float | np.ndarray, each: float, neutral: float, width: int = 1) -> np.ndarray:
        """(T, width), or (T,) of width 1: ``once`` and a normal draw of deviation ``each`` for every frame."""
        moved = once + jitter * each * rng.standard_normal((frames, width))
        moved = moved if change is None or change in taking else np.full((frames, width), neutral)
        return moved if width > 1 else moved[:, 0]

    radii = rng.uniform(0.2, 0.4, 2)
    return Recipe(
        centres=values(None, rng.normal(0.5, 0.05, 2), 0.01, 0.5, 2),
        radii=radii * np.maximum(values(None, 1.0, 0.03, 1.0, 2), 0.5),
        edge=rng.uniform(0.1, 0.5),
        opacity=rng.uniform(0.6, 1.0),
        shifts=values('warp', rng.normal(0, 0.01, 2), 0.006, 0.0, 2),
        angles=values('warp', rng.normal(0, 1.0), 0.6, 0.0),
        scales=values('warp', 1 + rng.normal(0, 0.02), 0.008, 1.0),
        gains=values('colour', 1 + rng.normal(0, 0.06, 3), 0.02, 1.0, 3),
        offsets=values('colour', rng.normal(0, 5, 3), 2.0, 0.0, 3),
        factors=np.maximum(values('resample', rng.uniform(1.2, 3), 0.3, 1.0), 1.0),
        qualities=np.clip(values('jpeg', rng.uniform(30, 90), 8.0, 0.0), int('jpeg' in taking), 100).astype(int),
    )


def forge(clip: np.ndarray, recipe: Recipe) -> np.ndarray:
    """The clip (T, H, W, 3) uint8 with its face region replaced as the recipe says.

    Raises:
        ValueError: the recipe is for another number of frames.
    """
    if len(recipe.centres) != len(clip):
        raise ValueError(f'a recipe for {len(recipe.centres)} frames and a clip of {len(clip)}')
    copy = warped(clip, recipe.shifts, recipe.angles, recipe.scales)
    copy = _bytes(copy * recipe.gains[:, None, None] + recipe.offsets[:, None, None])
    copy = coded(resampled(copy, recipe.factors), recipe.qualities)
    weights = recipe.opacity * ellipses(clip.shape[1], clip.shape[2], recipe.centres, recipe.radii, recipe.edge)
    return _bytes(weights * copy + (1 - weights) * clip)


def ellipses(height: int, width: int, centres: np.ndarray, radii: np.ndarray, edge: float) -> np.ndarray:
    """Weights (T, H, W, 1), 1 inside of each frame's ellipse, 0 outside, falling over ``edge`` of its radius.

    Args:
        centres, radii: (T, 2), x and y, shares of width and height.
    """
    y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    across = ((x - centres[:, :1]) / radii[:, :1])[:, None, :]
    down = ((y - centres[:, 1:]) / radii[:, 1:])[:, :, None]
    distance = np.sqrt(across**2 + down**2)
    return np.clip((1 - distance) / edge + 0.5, 0, 1).astype(np.float32)[..., None]


def warped(clip: np.ndarray, shifts: np.ndarray, angles: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Every frame turned and scaled around its centre and shifted, to fractions of a pixel; see :class:`Recipe`."""
    height, width = clip.shape[1:3]
    frames = []
    for frame, shift, angle, scale in zip(clip, shifts, angles, scales, strict=True):
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), float(angle), float(scale))
        matrix[:, 2] += shift * (width, height)
        frames.append(cv2.warpAffine(frame, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))
    return np.stack(frames)


def resampled(clip: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Every frame sampled down by its factor (T,) of 1 or more, and up again."""
    height, width = clip.shape[1:3]
    frames = []
    for frame, factor in zip(clip, factors, strict=True):
        small = max(1, round(width / factor)), max(1, round(height / factor))
        coarse = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
        frames.append(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))
    return np.stack(frames)


def coded(clip: np.ndarray, qualities: np.ndarray) -> np.ndarray:
    """Every frame behind JPEG of its quality (T,); 0 leaves it as it is."""
    return np.stack([jpeg(frame, int(q)) if q else frame for frame, q in zip(clip, qualities, strict=True)])


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@TRANSFORMS.register_module()
class ForgeFace(BaseTransform):
    """Forges the clips that :class:`openmsra.ftcn.data.videos.FaceVideos` asks to forge; others pass.

    Args:
        jitter: range from which the strength of a clip is drawn, see :func:`draw_recipe`; (0, 0) makes forgeries that are the
            same in all frames.
        changes: which of :data:`CHANGES` there may be.
        seed: ``None`` draws anew each time. A number fixes the forgery of a video's window: it follows from the number, the
            name of the video and its first frame.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self, jitter: tuple[float, float] = (0.5, 3.0), changes: tuple[str, ...] = CHANGES, seed: int | None = None
    ) -> None:
        if not 0 <= jitter[0] <= jitter[1]:
            raise ValueError(f'jitter must be a range of numbers from 0 up, got {tuple(jitter)}')
        if not changes or (unknown := sorted(set(changes) - set(CHANGES))):
            raise ValueError(f'changes must be among {", ".join(CHANGES)}, got {tuple(changes) if not changes else unknown}')
        self.jitter, self.changes, self.seed = tuple(jitter), tuple(changes), seed

    def transform(self, results: dict) -> dict:
        """Changes ``clip`` (T, H, W, 3) uint8 where ``forge`` is true."""
        if not results.get('forge'):
            return results
        if self.seed is None:
            key = np.random.randint(2**31, size=4).tolist()  # numpy's own state is what a training seeds for each sample
        else:
            key = [self.seed, int(results['frames'][0]), *results['video'].encode()]
        rng = np.random.default_rng(key)
        recipe = draw_recipe(len(results['clip']), rng, rng.uniform(*self.jitter), self.changes)
        return dict(results, clip=forge(results['clip'], recipe))
