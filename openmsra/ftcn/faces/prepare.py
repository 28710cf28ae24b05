"""Videos to crops of faces on the disk: what the training reads. A video that is done is not done again."""

import glob
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np
import torch

from openmsra.common.images import images_of
from openmsra.common.provenance import sha256_of
from openmsra.common.video import Frame, ImageFolder, VideoFile, video_header
from openmsra.errors import DataError, ToolError, UserError
from openmsra.ftcn.faces.detectors import Detector, Face, boxes_from_json, face_source, resolve
from openmsra.ftcn.faces.tracking import FaceStream, Sighting, TrackEnd, loose_crop, whole_frame

DONE = 'faces.json'  # a video's folder without it does not exist: folders are renamed when they are complete
TRACK = 'track.npz'
SHORTEST_RUN = 32  # a last run of fewer frames is left out: no clip of the paper's length lies in it
FORMATS = {
    '.png': lambda quality: [],
    '.jpg': lambda quality: [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, FULL_COLOUR],
    '.webp': lambda quality: [cv2.IMWRITE_WEBP_QUALITY, quality],
}
FULL_COLOUR = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
# to say beforehand what disk is needed; measured, see configs/ftcn/README.md
LOOKED_AT, USUAL_CROP = 50, 360**2  # videos; pixels of a crop in FaceForensics++
BYTES_PER_PIXEL = {'.png': 1.6, '.jpg': 0.45, '.webp': 0.15}

detector_of = cache(face_source)  # built once in each process


@dataclass(frozen=True)
class Preparation:
    """Cuts the faces out of one video after another; it can be sent to other processes.

    Args:
        root, out: videos are below the one, ``crops`` are written below the other.
        detector: one of those of :func:`~openmsra.ftcn.faces.detectors.face_source`, with its files; ``boxes`` is the folder
            with ``VIDEO.json``, with or without the suffix of the video before ``.json``.
        backend, max_frames: see :class:`openmsra.common.video.VideoFile`.
        min_face, min_frames, size, suffix, quality, keep: see :func:`prepare_video`.
    """

    root: Path
    out: Path
    detector: str = 'auto'
    yunet: Path | None = None
    boxes: Path | None = None
    backend: str = 'auto'
    max_frames: int | None = 768
    min_face: int = 40
    min_frames: int = 8
    size: int = 224
    suffix: str = '.png'
    quality: int = 95
    keep: tuple[int, int] | None = None

    def __call__(self, video: str) -> dict | str:
        """The result of :func:`prepare_video`, from the disk if it is there; or the reason why the video cannot be read.

        Raises:
            ToolError: what is there was made with other options.
        """
        path, folder = self.root / video, self.out / crops_of(video)
        try:
            if (folder / DONE).is_file():
                return self._done(video, folder)
            frames = ImageFolder(path, limit=self.max_frames) if path.is_dir() else VideoFile(path, self.backend, self.max_frames)
            return prepare_video(
                frames,
                folder,
                self._faces(video),
                self.min_face,
                self.min_frames,
                self.size,
                self.suffix,
                self.quality,
                self.keep,
                self._options(video),
            )
        except ToolError:
            raise
        except (UserError, FileNotFoundError, ValueError) as error:
            return str(error)

    def _options(self, video: str) -> dict:
        """What the crops of a video depend on; of a file with faces or with a detector the start of its SHA-256."""
        options = {key: getattr(self, key) for key in ('max_frames', 'min_face', 'min_frames', 'size', 'suffix')}
        options |= dict(detector=resolve(self.detector), keep=self.keep and list(self.keep))
        options |= dict(quality=self.quality) if self.suffix != '.png' else {}
        file = {'boxes': self._boxes_of, 'yunet': lambda _: self.yunet}.get(self.detector, lambda _: None)(video)
        return options if file is None else dict(options, file=sha256_of(file)[:16] if file.is_file() else 'missing')

    def _done(self, video: str, folder: Path) -> dict:
        result, options = json.loads((folder / DONE).read_text(encoding='utf-8')), self._options(video)
        if result['options'] != options:
            raise ToolError(
                f'{folder} was made with the options {result["options"]}, not {options} (file: start of the SHA-256 of the boxes '
                'or of the detector); choose another --out, or remove it.'
            )
        return result

    def _faces(self, video: str) -> Detector | list[list[Face]] | None:
        if self.detector == 'boxes':
            return boxes_from_json(self._boxes_of(video))
        return detector_of(self.detector, self.min_face, self.yunet)

    def _boxes_of(self, video: str) -> Path:
        """``clip.mp4.json``, or ``clip.json`` where only one video has that stem.

        Raises:
            DataError: two videos could be meant.
        """
        path, file = self.root / video, self.boxes / f'{video}.json'
        if file.is_file():
            return file
        same = sorted(other.name for other in path.parent.glob(f'{glob.escape(path.stem)}.*') if other.suffix != '.json')
        if len(same) > 1:
            raise DataError(f'{video}: {", ".join(same)} have one stem; name their boxes {path.name}.json and so on.')
        return file.with_name(f'{path.stem}.json')


def use_one_thread() -> None:
    """For a process of several, whose threads would be in each other's way."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def require_space(prepare: Preparation, videos: list[str]) -> str:
    """How much disk the crops of the videos will take, in a sentence: from the length of some videos and usual sizes.

    Raises:
        ToolError: less than half of it is free.
    """
    todo = [video for video in videos if not (prepare.out / crops_of(video) / DONE).is_file()]
    paths = [path for video in todo if (path := prepare.root / video).exists()]
    some = paths[:: max(1, len(paths) // LOOKED_AT)]
    if not some:
        return 'all videos are done.'
    counts = [len(images_of(path)) if path.is_dir() else video_header(str(path))[0] for path in some]
    frames = float(np.mean([min(count, prepare.max_frames or count) for count in counts])) * len(paths)
    if prepare.keep is not None:
        frames *= prepare.keep[0] / prepare.keep[1]
    size = prepare.size**2 if prepare.detector == 'none' else USUAL_CROP
    need = frames * size * BYTES_PER_PIXEL[prepare.suffix] / 1e9
    free = shutil.disk_usage(prepare.out).free / 1e9
    said = f'{len(paths)} videos, about {frames:,.0f} crops of {need:.3f} GB with a face in each frame; {free:.3g} GB are free.'
    if need > 2 * free:
        raise ToolError(
            f'{prepare.out}: {said} Free some, choose another --out, --format jpg, fewer frames (--keep) or a --shard.'
        )
    return said


def crops_of(video: str) -> str:
    """Where the faces of a video go, relative to the folder of the crops and their list; clip.mp4 and clip.avi are two videos."""
    return f'crops/{Path(video).as_posix()}'


def prepare_video(
    frames: Iterable[Frame],
    folder: Path,
    detector: Detector | list[list[Face]] | None,
    min_face: int = 40,
    min_frames: int = 8,
    size: int = 224,
    suffix: str = '.png',
    quality: int = 95,
    keep: tuple[int, int] | None = None,
    options: dict | None = None,
) -> dict:
    """Write the faces of a video below ``folder``, which appears when it is complete; the video is walked through once.

    Each track becomes a folder ``0``, ``1``, ... with a loose crop for each frame, named by the number of the frame, and
    ``track.npz`` with what :func:`~openmsra.ftcn.faces.align.align_clip` needs, so that a clip is aligned when it is read, with
    one transform. Without a detector the frames are aligned faces: they are resized to ``size`` and have no ``track.npz``.

    Args:
        suffix, quality: '.png' is lossless; '.jpg' (colours in full resolution) and '.webp' are not, with a quality 1 to 100.
        keep: (n, m) keeps the first n of every m frames of a face; ``None`` keeps all.

    Returns:
        ``tracks`` (list of ``track``, ``first``, ``frames``, ``side``: mean shorter side of the box in pixels, ``suffix`` and
        ``runs``: first frame and length of the runs of consecutive frames), ``warnings`` and ``options``, as ``faces.json``
        keeps them.

    Raises:
        VideoError, ValueError: see :class:`openmsra.ftcn.faces.tracking.FaceStream`; nothing is left behind.
    """
    part = folder.with_name(f'.{uuid4().hex}.part')  # the video's own name may be as long as a name can be
    cut = loose_crop if detector is not None else lambda frame, _: whole_frame(frame, size)
    try:
        part.mkdir(parents=True)
        stream, writers = FaceStream(frames, detector, min_face, min_frames, cut), {}
        for event in stream:
            if isinstance(event, TrackEnd):
                writers[event.track].finish(stream.times, detector is not None)
                continue
            if event.track not in writers:
                writers[event.track] = _TrackWriter(part / str(event.track), event.frame, suffix, quality, keep)
            writers[event.track].add(event)
        rows = [dict(track=k, **writers[k].facts()) for k in sorted(writers)]
        result = dict(tracks=rows, warnings=stream.warnings(), options=options)
        (part / DONE).write_text(json.dumps(result), encoding='utf-8')
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return result


class _TrackWriter:
    """Writes the crops of a track as they come; boxes and landmarks stay in memory until the track has ended."""

    def __init__(self, folder: Path, first: int, suffix: str, quality: int, keep: tuple[int, int] | None) -> None:
        folder.mkdir()
        self.folder, self.first, self.keep, self.suffix = folder, first, keep, suffix
        self.options = FORMATS[suffix](quality)
        self.rows: list[tuple[int, np.ndarray, np.ndarray, tuple[int, int]]] = []
        self.runs: list[list[int]] = []

    def add(self, seen: Sighting) -> None:
        if self.keep is not None and (seen.frame - self.first) % self.keep[1] >= self.keep[0]:
            return
        file = self._file(seen.frame)
        if not cv2.imwrite(str(file), cv2.cvtColor(seen.image, cv2.COLOR_RGB2BGR), self.options):  # faster than Pillow
            raise OSError(f'{file}: cannot be written; check the disk.')
        if self.runs and seen.frame == sum(self.runs[-1]):
            self.runs[-1][1] += 1
        else:
            self.runs.append([seen.frame, 1])
        self.rows.append((seen.frame, seen.box, seen.landmarks, seen.corner))

    def finish(self, times: list[float], located: bool) -> None:
        first, length = self.runs[-1]
        if len(self.runs) > 1 and length < SHORTEST_RUN:
            for number in range(first, first + length):
                self._file(number).unlink()
            del self.runs[-1], self.rows[-length:]
        if located:
            frames, boxes, landmarks, corners = map(np.array, zip(*self.rows, strict=True))
            facts = dict(frames=frames, boxes=boxes, landmarks=landmarks, corners=corners)
            np.savez(self.folder / TRACK, times=np.array(times)[frames], **facts)

    def facts(self) -> dict:
        boxes = np.stack([box for _, box, *_ in self.rows])
        side = round(float((boxes[:, 2:] - boxes[:, :2]).min(axis=1).mean()), 1)
        return dict(first=self.first, frames=len(self.rows), side=side, suffix=self.suffix, runs=self.runs)

    def _file(self, number: int) -> Path:
        return self.folder / file_name(number, self.suffix)


def file_name(number: int, suffix: str) -> str:
    """The crop of a frame."""
    return f'{number:06d}{suffix}'


def clip_lines(row: dict, result: dict) -> list[dict]:
    """The lines of ``clips.jsonl`` for a video: one for each track, or one with ``frames: null`` where there is no face."""
    folder = crops_of(row['video'])
    lines = [
        dict(
            row,
            frames=f'{folder}/{track["track"]}',
            count=track['frames'],
            **{key: track[key] for key in ('track', 'first', 'side', 'suffix', 'runs') if key in track},
        )
        for track in result['tracks']
    ]
    return lines or [dict(row, frames=None)]
