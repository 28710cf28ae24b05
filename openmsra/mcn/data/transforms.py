"""Augmentation of clips with one draw for all frames: what changes from frame to frame would look like motion."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from openmsra.registry import TRANSFORMS

GREY = np.array([0.299, 0.587, 0.114], np.float32)


@TRANSFORMS.register_module()
class ClipJitter(BaseTransform):
    """Brightness, contrast, saturation and hue in this order, then grey and blur; the same for all frames of a clip.

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
        clip = np.stack(results['imgs'])
        if np.random.rand() < self.jitter_prob:
            clip = self._jitter(clip)
        if np.random.rand() < self.grey_prob:
            clip = np.repeat((clip @ GREY)[..., None], 3, -1)
        if np.random.rand() < self.blur_prob:
            sigma = np.random.uniform(*self.blur)
            clip = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in clip])
        return dict(results, imgs=list(np.clip(clip, 0, 255).astype(np.uint8)))

    def _jitter(self, clip: np.ndarray) -> np.ndarray:
        brightness, contrast, saturation = (np.random.uniform(1 - x, 1 + x) for x in self.ranges)
        turns = np.random.uniform(-self.hue, self.hue)
        clip = clip * np.float32(brightness)
        mean = (clip @ GREY).mean()
        clip = (clip - mean) * np.float32(contrast) + mean
        if saturation != 1:
            grey = (clip @ GREY)[..., None]
            clip = (clip - grey) * np.float32(saturation) + grey
        return clip @ hue_rotation(turns).T if turns else clip


def hue_rotation(turns: float) -> np.ndarray:
    """Matrix (3, 3) that turns RGB colours about the grey axis; it is linear, so one product serves a whole clip."""
    cosine, sine = np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)
    axis = np.sqrt(1 / 3)
    cross = np.array([[0, -axis, axis], [axis, 0, -axis], [-axis, axis, 0]])
    return (cosine * np.eye(3) + sine * cross + (1 - cosine) / 3).astype(np.float32)
