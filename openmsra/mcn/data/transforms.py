"""Augmentation of clips with one draw for all frames: what changes from frame to frame would look like motion."""

from functools import reduce

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from openmsra.registry import TRANSFORMS

Affine = tuple[np.ndarray, np.ndarray]  # (3, 3) and (3,)
GREY = np.array([0.299, 0.587, 0.114])
GREY_MAP: Affine = (np.tile(GREY, (3, 1)), np.zeros(3))


@TRANSFORMS.register_module()
class ClipJitter(BaseTransform):
    """Brightness, contrast, saturation, hue and grey in this order, as one map of colours, then blur; the same for all frames.

    mmaction2's ``ColorJitter`` draws its order once a run and takes the contrast's mean of each frame.

    Args:
        brightness, contrast, saturation: factors are drawn from [1 - x, 1 + x].
        hue: shift in turns, drawn from [-x, x].
        jitter_prob, grey_prob, blur_prob: probability of jitter, of grey and of blur.
        blur: range of the standard deviation in pixels.
    """

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.1,
        jitter_prob: float = 0.8,
        grey_prob: float = 0.2,
        blur_prob: float = 0.5,
        blur: tuple[float, float] = (0.1, 2.0),
    ) -> None:
        self.ranges, self.hue = (brightness, contrast, saturation), hue
        self.jitter_prob, self.grey_prob, self.blur_prob, self.blur = jitter_prob, grey_prob, blur_prob, blur

    def transform(self, results: dict) -> dict:
        """Changes ``imgs``, T frames (H, W, 3) uint8."""
        clip, colours = np.stack(results['imgs']), []
        if np.random.rand() < self.jitter_prob:
            colours.append(self._jitter(clip))
        if np.random.rand() < self.grey_prob:
            colours.append(GREY_MAP)
        if colours:  # affine maps, taken as one: a pass over the clip costs more than all else
            matrix, offset = reduce(_then, colours)
            clip = cv2.transform(clip.reshape(-1, *clip.shape[2:]), np.column_stack([matrix, offset])).reshape(clip.shape)
        if np.random.rand() < self.blur_prob:
            sigma = np.random.uniform(*self.blur)
            clip = [cv2.GaussianBlur(frame, (0, 0), sigma) for frame in clip]
        return dict(results, imgs=list(clip))

    def _jitter(self, clip: np.ndarray) -> Affine:
        """The map of colours (R, G, B); only the contrast's mean depends on the clip (T, H, W, 3)."""
        brightness, contrast, saturation = (np.random.uniform(1 - x, 1 + x) for x in self.ranges)
        turns = np.random.uniform(-self.hue, self.hue)
        mean = brightness * (GREY @ np.mean([cv2.mean(frame)[:3] for frame in clip], 0))
        saturated = saturation * np.eye(3) + (1 - saturation) * np.tile(GREY, (3, 1))
        steps = [
            (brightness * np.eye(3), np.zeros(3)),
            (contrast * np.eye(3), np.full(3, (1 - contrast) * mean)),
            (saturated, np.zeros(3)),
            (hue_rotation(turns), np.zeros(3)),
        ]
        return reduce(_then, steps)


def _then(first: Affine, second: Affine) -> Affine:
    """The map x -> M x + o that applies one and then the other."""
    return second[0] @ first[0], second[0] @ first[1] + second[1]


def hue_rotation(turns: float) -> np.ndarray:
    """Matrix (3, 3) that turns RGB colours about the grey axis; it is linear."""
    cosine, sine = np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)
    axis = np.sqrt(1 / 3)
    cross = np.array([[0, -axis, axis], [axis, 0, -axis], [-axis, axis, 0]])
    return cosine * np.eye(3) + sine * cross + (1 - cosine) / 3
