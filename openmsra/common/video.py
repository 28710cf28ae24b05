"""Videos as RGB frames: PyAV or decord where they are installed, else OpenCV."""

import importlib.util
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from openmsra.common import images
from openmsra.common.files import Place, list_files
from openmsra.common.images import images_of, read_rgb
from openmsra.errors import ImageError, MissingFileError, VideoError

SUFFIXES = (
    '.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.3gp', '.ogv', '.ts', '.mts', '.m2ts',
    '.vob', '.asf', '.f4v', '.divx', '.3g2', '.mxf', '.m2v', '.h264', '.264', '.hevc', '.265', '.mjpeg', '.y4m',
)  # fmt: skip
Frame = tuple[np.ndarray, float]  # (H, W, 3) uint8 RGB and its time in seconds


class VideoFile:
    """A video that can be walked through any number of times, one frame in memory at a time.

    All backends give the same frames, upright, with times that begin at 0 and increase, also where a container has none; a
    file that one backend cannot open or read to its end is read on by the next. Colours may differ by single grey values.

    Args:
        path: video file.
        backend: 'decord', 'pyav', 'opencv' or 'auto': PyAV where it is installed, else decord, else OpenCV.
        limit: at most this many frames from the start.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the backend is not installed.
        VideoError: the file is empty; while walking: it is damaged, has no video stream, or ends before 90 % of the
            frames and of the duration that its header announces.
    """

    def __init__(self, path: str | Path, backend: str = 'auto', limit: int | None = None) -> None:
        self.path, self.limit, self.backends = Path(path), limit, _backends(backend)
        # decord finds single frames fastest, but walks ahead of a busy reader without bound: a whole film in memory
        self.walking = sorted(self.backends, key=lambda name: name != 'pyav') if backend == 'auto' else self.backends
        if not self.path.is_file():
            raise MissingFileError(f'{path}: there is no such video file.')
        if not self.path.stat().st_size:
            raise VideoError(f'{path}: the file is empty.')

    def __iter__(self) -> Iterator[Frame]:
        with _openable(self.path) as path:
            announced, rate = video_header(path)
            count, time, first, fault = 0, -1 / rate, None, None
            for frame, stamp in self._decoded(path):
                if isinstance(frame, VideoError):
                    fault = fault or frame
                    continue
                first = stamp if first is None else first
                time = stamp - first if stamp - first > time and stamp - first < time + FAR else time + 1 / rate
                count += 1
                yield frame, time
        if not count:
            raise fault or VideoError(
                f'{self.path}: no frame could be decoded; it is damaged or holds no video stream (audio only?).'
            )
        expected = min(announced, self.limit or announced)
        end, duration = time + 1 / rate, announced / rate
        if count < 0.9 * expected and end < 0.9 * duration and not 0.9 < (_start(self.path) + end) / duration < 1.1:
            raise VideoError(f'{self.path}: only {count} of {announced} frames could be decoded; it is truncated or damaged.')

    def _decoded(self, path: str) -> Iterator[tuple[np.ndarray | VideoError, float]]:
        """Frames with the times of the container; a backend that fails says so, and the next goes on behind its last frame."""
        count = 0
        for backend in self.walking:
            try:
                for frame, stamp in DECODERS[backend](path, count, self.limit):
                    count += 1
                    yield frame, stamp
                return
            except DecodingError as error:
                yield VideoError(f'{self.path}: {backend} cannot decode it ({error}).'), 0.0


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


def read_frames(
    path: str | Path,
    indices: Sequence[int] | Callable[[int], Sequence[int]],
    backend: str = 'auto',
    short_side: int | None = None,
) -> np.ndarray:
    """The frames with the given numbers, in the given order, repeats allowed: (len(indices), H, W, 3) uint8 RGB.

    Args:
        indices: numbers, or a function that chooses them once the number of frames is known.
        short_side: larger frames are shrunk to this shorter side in pixels as they are decoded, so that no more than a few of
            full size are in memory.

    Raises:
        IndexError: a number is negative or behind the last frame.
        FileNotFoundError, VideoError: see :class:`VideoFile`.
    """
    video = VideoFile(path, backend)
    choose, count = indices if callable(indices) else None, video_header(str(path))[0] if callable(indices) else 0
    with _openable(video.path) as file:
        if video.backends[0] == 'decord' and (frames := _seek_with_decord(file, indices, path, short_side)) is not None:
            return frames
    if choose is not None and not count:
        count = sum(1 for _ in video)
    while True:
        numbers = list(map(int, choose(count) if choose is not None else indices))
        _refuse_negative(path, numbers)
        video.limit, wanted, kept, seen = max(numbers) + 1, set(numbers), {}, 0
        for seen, (frame, _) in enumerate(video, start=1):
            if seen - 1 in wanted:
                kept[seen - 1] = shrunk(frame, short_side)
        if not wanted - kept.keys():
            return np.stack([kept[number] for number in numbers])
        if choose is None or seen >= count:
            raise IndexError(f'{path}: frame {max(numbers)} asked for, but the video ends after {seen} frames')
        count = seen  # the header has announced more


def shrunk(frame: np.ndarray, short_side: int | None) -> np.ndarray:
    """A frame (H, W, 3) whose shorter side is at most ``short_side``."""
    height, width = frame.shape[:2]
    if short_side is None or min(height, width) <= short_side:
        return frame
    size = [round(side * short_side / min(height, width)) for side in (width, height)]
    while min(height, width) >= 2 * short_side and not (height % 2 or width % 2):  # by 2: ten times as fast
        height, width = height // 2, width // 2
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    near = min(height, width) < 2 * short_side
    return cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR if near else cv2.INTER_AREA)


def _seek_with_decord(
    file: str, indices: Sequence[int] | Callable[[int], Sequence[int]], path: str | Path, short_side: int | None
) -> np.ndarray | None:
    """Decord knows where frames are and decodes no more than it must; ``None`` where it cannot, so that others try."""
    import decord

    if not _has_index(file):
        return None
    try:
        video = decord.VideoReader(file, num_threads=1)
        if callable(indices):
            indices = indices(len(video))
        _refuse_negative(path, indices)
        if max(indices) >= len(video):
            raise IndexError(f'{path}: frame {max(indices)} asked for, but the video ends after {len(video)} frames')
        unique, order = np.unique(np.asarray(indices), return_inverse=True)
        at_once, parts = AT_ONCE if short_side else len(unique), []
        for part in np.split(unique, range(at_once, len(unique), at_once)):
            frames = video.get_batch(part).asnumpy()
            if frames.shape[-1] != 3:
                return None  # see _decord
            parts.append(np.stack([shrunk(frame, short_side) for frame in frames]) if short_side else frames)
        frames = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return frames if np.array_equal(order, np.arange(len(frames))) else frames[order]
    except (decord.DECORDError, RuntimeError):
        return None


def write_video(file: str | Path, frames: Iterable[np.ndarray], fps: float) -> int:
    """Write frames (H, W, 3), uint8 RGB, as MP4 (codec mp4v) and return how many they were.

    All frames get the size of the first one: OpenCV's writer drops others without a word.

    Raises:
        OSError: the file cannot be written, or holds fewer frames than were written.
    """
    count, writer, size = 0, None, None
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    for frame in frames:
        count += 1
        if writer is None:
            size = frame.shape[1::-1]
            writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*'mp4v'), fps, size)
            if not writer.isOpened():
                raise OSError(f'{file}: cannot be written as MP4; check the folder.')
        image = frame if frame.shape[1::-1] == size else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if writer is None:
        raise OSError(f'{file}: a video without frames cannot be written.')
    writer.release()
    if (written := video_header(str(file))[0]) != count:
        raise OSError(f'{file}: {written} of {count} frames were written; check the disk.')
    return count


def _refuse_negative(path: str | Path, indices: Sequence[int]) -> None:
    if min(indices) < 0:
        raise IndexError(f'{path}: frame number {min(indices)} is negative')


def _backends(backend: str) -> list[str]:
    """The backend that is asked for, and behind it those that read on where it fails."""
    installed = [name for name in MODULES if importlib.util.find_spec(MODULES[name]) is not None]
    if backend not in ('auto', *MODULES):
        raise ValueError(f'backend must be auto, {" or ".join(MODULES)}, got {backend!r}')
    if backend not in ('auto', *installed):
        raise ImportError(f"video backend {backend!r} is not installed: `pip install {MODULES[backend]}`, or take 'opencv'.")
    return sorted(installed, key=lambda name: name != backend)


class DecodingError(Exception):
    """A backend cannot open a file or read on in it."""


def _decord(path: str, skip: int, limit: int | None) -> Iterator[Frame]:
    import decord

    try:
        if not _has_index(path):
            raise DecodingError('it has no index of its frames, without which decord gives other ones than it says')
        video = decord.VideoReader(path, num_threads=1)
        for index in range(skip, len(video) if limit is None else min(limit, len(video))):
            frame = video[index].asnumpy()
            if frame.shape[-1] != 3:  # of frames narrower than 64 pixels decord takes the padding of the lines for channels
                raise DecodingError(f'its frames of {frame.shape[1]} pixels a line are too narrow')
            yield frame, float(video.get_frame_timestamp(index)[0])
    except (decord.DECORDError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1][-200:]
        what = 'it holds no video stream (audio only?): ' if 'video stream' in reason else ''
        raise DecodingError(what + reason) from None


def _pyav(path: str, skip: int, limit: int | None) -> Iterator[Frame]:
    import av

    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise DecodingError('it holds no video stream (audio only?)')
            for frame in islice(container.decode(video=0), skip, limit):
                pixels = np.rot90(frame.to_ndarray(format='rgb24'), round(frame.rotation / 90))
                yield np.ascontiguousarray(pixels), NEVER if frame.time is None else float(frame.time)
    except av.FFmpegError as error:
        raise DecodingError(str(error)) from None


def _opencv(path: str, skip: int, limit: int | None) -> Iterator[Frame]:
    video, count = cv2.VideoCapture(path), 0
    try:
        while (limit is None or count < limit) and (read := video.read())[0]:
            count += 1
            if count > skip:
                yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), video.get(cv2.CAP_PROP_POS_MSEC) / 1000
    finally:
        video.release()


def video_header(path: str) -> tuple[int, float]:
    """Announced number of frames, estimated from the duration where a container does not count them, 0 where it has neither;

    and frames a second.
    """
    video = cv2.VideoCapture(path)
    count, rate = video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)
    video.release()
    return int(max(count, 0)), rate if 0 < rate < 1000 else 25.0


def _start(path: Path) -> float:
    """Seconds on the file's own clock at which its first frame is shown."""
    with _openable(path) as file:
        video = cv2.VideoCapture(file)
        video.read()
        frames, rate = video.get(getattr(cv2, 'CAP_PROP_PTS', -1)), video.get(cv2.CAP_PROP_FPS)  # older ones do not tell
        video.release()
    return frames / rate if rate > 0 else 0.0


def _has_index(path: str) -> bool:
    """Whether a container tells where its frames are: MP4 and QuickTime, Matroska and WebM, AVI; streams (.ts, .mpg) do not."""
    with open(path, 'rb') as stream:
        start = stream.read(12)
    return start[4:8] in MP4_BOXES or start.startswith(b'\x1a\x45\xdf\xa3') or (start[:4], start[8:]) == (b'RIFF', b'AVI ')


@contextmanager
def _openable(path: Path) -> Iterator[str]:
    """A name that every library opens: where the file's own is not UTF-8, a link to it."""
    try:
        str(path).encode()
        yield str(path)
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder, 'video').with_suffix(path.suffix)
            link.symlink_to(path.absolute())
            yield str(link)


AT_ONCE = 4  # frames of full size in memory
NEVER = float('-inf')  # time of a frame without time stamp
MP4_BOXES = (b'ftyp', b'moov', b'mdat', b'free', b'skip', b'wide', b'pnot')  # with which such a file may begin
FAR = 1e6  # seconds; a time stamp that leaps further is none
MODULES = {'decord': 'decord', 'pyav': 'av', 'opencv': 'cv2'}
DECODERS = {'decord': _decord, 'pyav': _pyav, 'opencv': _opencv}
