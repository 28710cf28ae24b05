"""The seven perturbations in five levels of DeeperForensics-1.0 on clips of frames, for tests of robustness.

Pure functions take a clip (T, H, W, 3) uint8 RGB and the strength of a level, and return a clip of the same shape. What is
drawn at random (noise, blocks) can be drawn for each frame, as the published protocol does, or once for the clip: noise
that differs from frame to frame is itself incoherent over time, which is what FTCN looks for.
"""

import io
from collections.abc import Callable

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from openmsra.registry import TRANSFORMS

# strength of the levels 1 to 5
LEVELS: dict[str, tuple[float, ...]] = {
    'saturation': (0.4, 0.3, 0.2, 0.1, 0.0),  # factor of the chroma
    'contrast': (0.85, 0.725, 0.6, 0.475, 0.35),  # factor of the intensities
    'blocks': (16, 32, 48, 64, 80),  # grey squares of 8 pixels in an image of 256
    'noise': (0.001, 0.002, 0.005, 0.01, 0.05),  # variance, of intensities in 0..1
    'blur': (7, 9, 13, 17, 21),  # Gaussian kernel in pixels; its deviation is a sixth
    'pixelation': (2, 3, 4, 5, 6),  # factor of down- and up-sampling
    'compression': (30, 32, 35, 38, 40),  # H.264 constant rate factor
}
BLOCK = 8


def saturation(clip: np.ndarray, factor: float) -> np.ndarray:
    """Scale the chroma of YCrCb."""
    converted = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb) for frame in clip]).astype(np.float32)
    converted[..., 1:] = 128 + factor * (converted[..., 1:] - 128)
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_YCrCb2RGB) for frame in _bytes(converted)])


def contrast(clip: np.ndarray, factor: float) -> np.ndarray:
    """Scale the intensities towards black."""
    return _bytes(factor * clip.astype(np.float32))


def blocks(clip: np.ndarray, count: float, rng: np.random.Generator, temporal: str = 'frame') -> np.ndarray:
    """Paste grey squares at random places; ``count`` is for 256 pixels and grows with the shorter side."""
    out, (height, width) = clip.copy(), clip.shape[1:3]
    number = max(1, round(count * min(height, width) / 256))
    room = (max(height - BLOCK, 0) + 1, max(width - BLOCK, 0) + 1)
    for frames in _draws(out, temporal):
        for top, left in rng.integers(0, room, (number, 2)):
            frames[:, top : top + BLOCK, left : left + BLOCK] = 128
    return out


def noise(clip: np.ndarray, variance: float, rng: np.random.Generator, temporal: str = 'frame') -> np.ndarray:
    """Add Gaussian noise in YCrCb."""
    converted = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb) for frame in clip]).astype(np.float32)
    for frames in _draws(converted, temporal):
        frames += 255 * np.sqrt(variance) * rng.standard_normal(clip.shape[1:], np.float32)
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_YCrCb2RGB) for frame in _bytes(converted)])


def blur(clip: np.ndarray, kernel: float) -> np.ndarray:
    """Gaussian blur."""
    return np.stack([cv2.GaussianBlur(frame, (int(kernel), int(kernel)), kernel / 6) for frame in clip])


def pixelation(clip: np.ndarray, factor: float) -> np.ndarray:
    """Sample down and up again, bilinearly."""
    size = clip.shape[2], clip.shape[1]
    small = tuple(max(1, int(side / factor)) for side in size)
    return np.stack([cv2.resize(cv2.resize(frame, small), size) for frame in clip])


def compression(clip: np.ndarray, crf: float, fps: int = 25) -> np.ndarray:
    """Encode as one H.264 video and decode it again; odd sides are padded meanwhile.

    Raises:
        ImportError: PyAV, which brings the encoder, is not installed.
    """
    try:
        import av
    except ImportError:
        raise ImportError('compression needs an H.264 encoder: `pip install av`.') from None
    height, width = clip.shape[1:3]
    padded = np.pad(clip, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode='edge')
    file = io.BytesIO()
    with av.open(file, 'w', format='mp4') as container:
        stream = container.add_stream('libx264', rate=fps, options=dict(crf=str(int(crf))))
        stream.width, stream.height, stream.pix_fmt = padded.shape[2], padded.shape[1], 'yuv420p'
        stream.thread_count = 1
        for frame in padded:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='rgb24')))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        decoded = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    return np.stack(decoded)[:, :height, :width]


def sharpness(clip: np.ndarray) -> float:
    """Mean over the frames of the variance of the Laplacian of the grey image; 0 is flat."""
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip]
    return float(np.mean([cv2.Laplacian(grey, cv2.CV_32F).var() for grey in greys]))


def soften(clip: np.ndarray, target: float) -> np.ndarray:
    """Blur with the least Gaussian (to 1/64 pixel) behind which :func:`sharpness` is at most ``target``; softer clips stay."""
    if sharpness(clip) <= target:
        return clip

    def blurred(sixtyfourths: int) -> np.ndarray:
        return np.stack([cv2.GaussianBlur(frame, (0, 0), sixtyfourths / 64) for frame in clip])

    low, high = 0, 64 * max(clip.shape[1:3])  # of the deviation: too sharp, soft enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sharpness(blurred(middle)) > target else (low, middle)
    return blurred(high)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _draws(clip: np.ndarray, temporal: str) -> list[np.ndarray]:
    """The parts of a clip that share one draw: each frame, or all of them."""
    return [clip[k : k + 1] for k in range(len(clip))] if temporal == 'frame' else [clip]


KINDS: dict[str, Callable[..., np.ndarray]] = {
    'saturation': saturation,
    'contrast': contrast,
    'blocks': blocks,
    'noise': noise,
    'blur': blur,
    'pixelation': pixelation,
    'compression': compression,
}
RANDOM = ('blocks', 'noise')


@TRANSFORMS.register_module()
class PerturbClip(BaseTransform):
    """One perturbation at one level; the draws follow from ``seed`` and the name of the video.

    Args:
        kind: one of :data:`LEVELS`.
        level: 1 (mild) to 5; 0 leaves the clip as it is.
        temporal: whether noise and blocks are drawn for each 'frame' or once for the 'clip'.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(self, kind: str, level: int, temporal: str = 'frame', seed: int = 0) -> None:
        if kind not in KINDS or level not in range(6) or temporal not in ('frame', 'clip'):
            raise ValueError(
                f"kind must be one of {', '.join(KINDS)}, level 0 to 5, temporal 'frame' or 'clip'; "
                f'got {kind!r}, {level!r}, {temporal!r}'
            )
        self.kind, self.level, self.temporal, self.seed = kind, level, temporal, seed

    def transform(self, results: dict) -> dict:
        """Changes ``clip`` (T, H, W, 3) uint8."""
        if not self.level:
            return results
        drawn = {}
        if self.kind in RANDOM:
            drawn = dict(rng=np.random.default_rng([self.seed, *results['video'].encode()]), temporal=self.temporal)
        return dict(results, clip=KINDS[self.kind](results['clip'], LEVELS[self.kind][self.level - 1], **drawn))


@TRANSFORMS.register_module()
class SoftenClip(BaseTransform):
    """Blurs every clip down to one level of sharpness, so that it no longer tells real from forged; see :func:`soften`.

    Args:
        sharpness: variance of the Laplacian, above 0.

    Raises:
        ValueError: it is not.
    """

    def __init__(self, sharpness: float) -> None:
        if sharpness <= 0:
            raise ValueError(f'sharpness must be above 0, got {sharpness}')
        self.sharpness = sharpness

    def transform(self, results: dict) -> dict:
        """Changes ``clip`` (T, H, W, 3) uint8."""
        return dict(results, clip=soften(results['clip'], self.sharpness))
