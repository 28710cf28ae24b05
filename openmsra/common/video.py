"""Videos as RGB frames: decord or PyAV where they are installed, else OpenCV."""

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from openmsra.common import images
from openmsra.common.files import Place, list_files
from openmsra.common.images import images_of, read_rgb
from openmsra.errors import ImageError, MissingFileError, VideoError

SUFFIXES = (
    '.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.3gp', '.ogv', '.ts', '.mts', '.m2ts',
)  # fmt: skip
Frame = tuple[np.ndarray, float]  # (H, W, 3) uint8 RGB and its time in seconds


class VideoFile:
    """A video that can be walked through any number of times, one frame in memory at a time.

    Args:
        path: video file.
        backend: 'decord', 'pyav', 'opencv' or 'auto' (the first of these that is installed). Their colour conversions may
            differ by single grey values.
        limit: at most this many frames from the start.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the backend is not installed.
        VideoError: the file is empty; while walking: it is damaged, has no video stream, or ends before 90 % of the
            frames that its header announces.
    """

    def __init__(self, path: str | Path, backend: str = 'auto', limit: int | None = None) -> None:
        self.path, self.limit, self.decode = Path(path), limit, _decoder(backend)
        if not self.path.is_file():
            raise MissingFileError(f'{path}: there is no such video file.')
        if not self.path.stat().st_size:
            raise VideoError(f'{path}: the file is empty.')

    def __iter__(self) -> Iterator[Frame]:
        count = 0
        for frame in self.decode(self.path, self.limit):
            count += 1
            yield frame
        if not count:
            raise VideoError(f'{self.path}: no frame could be decoded; it is damaged or holds no video stream (audio only?).')
        announced = _announced(self.path)
        if count < 0.9 * min(announced, self.limit or announced):
            raise VideoError(f'{self.path}: only {count} of {announced} frames could be decoded; it is truncated or damaged.')


class ImageFolder:
    """The images of a folder, frame2 before frame10, as a video of ``fps`` frames a second.

    Raises:
        FileNotFoundError: no such folder, or it holds no image.
        VideoError: while walking: an image does not decode.
    """

    def __init__(self, path: str | Path, fps: float = 25.0, limit: int | None = None) -> None:
        self.files = images_of(path)[:limit]
        self.path, self.fps = Path(path), fps
        if not self.files:
            raise MissingFileError(f'{path}: no such folder of images ({", ".join(images.SUFFIXES)}).')

    def __iter__(self) -> Iterator[Frame]:
        for number, file in enumerate(self.files):
            try:
                yield read_rgb(file), number / self.fps
            except ImageError as error:
                raise VideoError(f'a frame of {self.path}: {error}') from None


def list_videos(places: Place | Iterable[Place], recursive: bool = True) -> list[Path]:
    """The video files that are meant; see :func:`openmsra.common.files.list_files`."""
    return list_files(places, SUFFIXES, 'videos', recursive)


def record_camera(source: int | str, seconds: float) -> list[Frame]:
    """Frames of a camera (its index) or a stream (its address), for some seconds or to its end.

    Raises:
        VideoError: the camera does not open or gives no frame.
    """
    camera, frames = cv2.VideoCapture(source), []
    rate = camera.get(cv2.CAP_PROP_FPS) or 25.0
    while len(frames) < seconds * rate and (read := camera.read())[0]:
        frames.append((cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), len(frames) / rate))
    camera.release()
    if not frames:
        raise VideoError(f'camera {source}: it gives no frames; check its index and that no other program uses it.')
    return frames


def read_video(path: str | Path, backend: str = 'auto', limit: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """All frames (N, H, W, 3), uint8 RGB, and their times in seconds (N,); a variable frame rate shows as uneven times.

    Arguments and errors are those of :class:`VideoFile`.
    """
    frames, times = zip(*VideoFile(path, backend, limit), strict=True)
    return np.stack(frames), np.array(times)


def read_frames(path: str | Path, indices: Sequence[int] | Callable[[int], Sequence[int]], backend: str = 'auto') -> np.ndarray:
    """The frames with the given numbers, in the given order, repeats allowed: (len(indices), H, W, 3) uint8 RGB.

    Args:
        indices: numbers, or a function that chooses them once the number of frames is known.

    Raises:
        IndexError: a number is negative or behind the last frame.
        FileNotFoundError, VideoError: see :class:`VideoFile`.
    """
    video = VideoFile(path, backend)
    if video.decode is _decord:
        return _seek_with_decord(video.path, indices)
    if callable(indices):
        indices = indices(_announced(video.path))
    _refuse_negative(path, indices)
    video.limit = max(indices) + 1
    kept, wanted, count = {}, set(map(int, indices)), 0
    for number, (frame, _) in enumerate(video):
        count = number + 1
        if number in wanted:
            kept[number] = frame
    if missing := wanted - kept.keys():
        raise IndexError(f'{path}: frame {max(missing)} asked for, but the video ends after {count} frames')
    return np.stack([kept[int(number)] for number in indices])


def _seek_with_decord(path: Path, indices: Sequence[int] | Callable[[int], Sequence[int]]) -> np.ndarray:
    """Decord knows where frames are and decodes no more than it must."""
    import decord

    try:
        video = decord.VideoReader(str(path), num_threads=1)
        if callable(indices):
            indices = indices(len(video))
        _refuse_negative(path, indices)
        if max(indices) >= len(video):
            raise IndexError(f'{path}: frame {max(indices)} asked for, but the video ends after {len(video)} frames')
        unique, places = np.unique(np.asarray(indices), return_inverse=True)
        return video.get_batch(unique).asnumpy()[places]
    except (decord.DECORDError, RuntimeError) as error:
        raise VideoError(f'{path}: decord cannot decode it ({str(error).strip().splitlines()[-1][:200]}).') from None


def _refuse_negative(path: str | Path, indices: Sequence[int]) -> None:
    if min(indices) < 0:
        raise IndexError(f'{path}: frame number {min(indices)} is negative')


def _decoder(backend: str) -> Callable[[Path, int | None], Iterator[Frame]]:
    installed = {name: importlib.util.find_spec(MODULES[name]) is not None for name in MODULES}
    if backend == 'auto':
        backend = next(name for name, present in installed.items() if present)
    if backend not in installed:
        raise ValueError(f'backend must be auto, {" or ".join(installed)}, got {backend!r}')
    if not installed[backend]:
        raise ImportError(f"video backend {backend!r} is not installed: `pip install {MODULES[backend]}`, or take 'opencv'.")
    return DECODERS[backend]


def _decord(path: Path, limit: int | None) -> Iterator[Frame]:
    import decord

    try:
        video = decord.VideoReader(str(path), num_threads=1)
        for index in range(len(video) if limit is None else min(limit, len(video))):
            yield video[index].asnumpy(), float(video.get_frame_timestamp(index)[0])
    except (decord.DECORDError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1][:200]
        what = 'it holds no video stream (audio only?)' if 'video stream' in reason else 'it is damaged or no video'
        raise VideoError(f'{path}: decord cannot decode it, {what}: {reason}') from None


def _pyav(path: Path, limit: int | None) -> Iterator[Frame]:
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                return
            for number, frame in enumerate(container.decode(video=0)):
                if number == limit:
                    return
                yield frame.to_ndarray(format='rgb24'), float(frame.time)
    except av.FFmpegError as error:
        raise VideoError(f'{path}: PyAV cannot decode it ({error}).') from None


def _opencv(path: Path, limit: int | None) -> Iterator[Frame]:
    video, count = cv2.VideoCapture(str(path)), 0
    try:
        while (limit is None or count < limit) and (read := video.read())[0]:
            count += 1
            yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), video.get(cv2.CAP_PROP_POS_MSEC) / 1000
    finally:
        video.release()


def _announced(path: Path) -> int:
    """Frames according to the header; estimated from the duration where the container does not count them."""
    video = cv2.VideoCapture(str(path))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    video.release()
    return max(count, 0)


MODULES = {'decord': 'decord', 'pyav': 'av', 'opencv': 'cv2'}
DECODERS = {'decord': _decord, 'pyav': _pyav, 'opencv': _opencv}
