"""Videos as RGB frames: decord where it is installed, else OpenCV."""

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

BACKENDS = ('auto', 'decord', 'opencv')
SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')


class VideoError(ValueError):
    """A video that cannot be decoded; the message names the file and the reason."""


def read_video(path: str | Path, backend: str = 'auto', limit: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """All frames of a video in order.

    Args:
        path: video file.
        backend: 'decord', 'opencv' or 'auto' (decord where installed). The two may differ by single grey values.
        limit: at most this many frames from the start.

    Returns:
        frames (N, H, W, 3), uint8 RGB, and the time of each in seconds (N,); times of a variable frame rate are uneven.

    Raises:
        FileNotFoundError: there is no such file.
        VideoError: the file is empty, damaged, without video stream, or shorter than its header says by over 10 %.
    """
    reader = _reader(path, backend)
    frames, times = [], []
    for frame, time in reader(Path(path), limit):
        frames.append(frame)
        times.append(time)
    if not frames:
        raise VideoError(f'{path}: no frame could be decoded; the file is damaged or holds no video stream (audio only?).')
    return np.stack(frames), np.array(times)


def read_frames(path: str | Path, indices: Sequence[int], backend: str = 'auto') -> np.ndarray:
    """The frames with the given numbers, in the given order, repeats allowed: (len(indices), H, W, 3) uint8 RGB.

    Raises:
        IndexError: a number is negative or behind the last frame.
        FileNotFoundError, VideoError: see :func:`read_video`.
    """
    if min(indices) < 0:
        raise IndexError(f'{path}: frame number {min(indices)} is negative')
    frames, _ = read_video(path, backend, limit=max(indices) + 1)
    if max(indices) >= len(frames):
        raise IndexError(f'{path}: frame {max(indices)} asked for, but the video ends after {len(frames)} frames')
    return frames[np.asarray(indices)]


def _reader(path: str | Path, backend: str):
    if backend not in BACKENDS:
        raise ValueError(f'backend must be one of {", ".join(BACKENDS)}, got {backend!r}')
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path}: there is no such video file.')
    if not Path(path).stat().st_size:
        raise VideoError(f'{path}: the file is empty.')
    installed = importlib.util.find_spec('decord') is not None
    if backend == 'decord' and not installed:
        raise ImportError("backend 'decord' is not installed: `pip install decord`, or take 'opencv'.")
    return _decord if installed and backend != 'opencv' else _opencv


def _decord(path: Path, limit: int | None) -> Iterator[tuple[np.ndarray, float]]:
    import decord

    try:
        video = decord.VideoReader(str(path), num_threads=1)
        count = len(video) if limit is None else min(limit, len(video))
        for index in range(count):
            yield video[index].asnumpy(), float(video.get_frame_timestamp(index)[0])
    except (decord.DECORDError, RuntimeError) as error:
        raise VideoError(f'{path}: decord cannot decode it ({str(error).strip().splitlines()[-1][:200]}).') from None


def _opencv(path: Path, limit: int | None) -> Iterator[tuple[np.ndarray, float]]:
    video = cv2.VideoCapture(str(path))
    announced = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    read = 0
    try:
        while limit is None or read < limit:
            success, frame = video.read()
            if not success:
                break
            read += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), video.get(cv2.CAP_PROP_POS_MSEC) / 1000
    finally:
        video.release()
    if read and read < 0.9 * min(announced, limit or announced):
        raise VideoError(f'{path}: only {read} of {announced} frames could be decoded; the file is truncated or damaged.')
