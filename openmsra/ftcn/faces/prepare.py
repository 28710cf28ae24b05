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

from openmsra.common.provenance import sha256_of
from openmsra.common.video import Frame, ImageFolder, VideoFile
from openmsra.errors import DataError, ToolError, UserError
from openmsra.ftcn.faces.detectors import Detector, Face, boxes_from_json, face_source
from openmsra.ftcn.faces.tracking import Track, cut_tracks, find_tracks, loose_crop, whole_frame

DONE = 'faces.json'  # a video's folder without it does not exist: folders are renamed when they are complete
TRACK = 'track.npz'


detector_of = cache(face_source)  # built once in each process


@dataclass(frozen=True)
class Preparation:
    """Cuts the faces out of one video after another; it can be sent to other processes.

    Args:
        root, out: videos are below the one, ``crops`` are written below the other.
        detector: 'haar', 'yunet', 'boxes' or 'none', with the files of
            :func:`~openmsra.ftcn.faces.detectors.face_source`; ``boxes`` is the folder with ``VIDEO.json``, with or without
            the suffix of the video before ``.json``.
        backend, max_frames: see :class:`openmsra.common.video.VideoFile`.
        min_face, min_frames, size, suffix: see :func:`prepare_video`.
    """

    root: Path
    out: Path
    detector: str = 'haar'
    yunet: Path | None = None
    boxes: Path | None = None
    backend: str = 'auto'
    max_frames: int | None = 768
    min_face: int = 40
    min_frames: int = 8
    size: int = 224
    suffix: str = '.png'

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
                frames, folder, self._faces(video), self.min_face, self.min_frames, self.size, self.suffix, self._options(video)
            )
        except ToolError:
            raise
        except (UserError, FileNotFoundError, ValueError) as error:
            return str(error)

    def _options(self, video: str) -> dict:
        """What the crops of a video depend on; of a file with faces or with a detector the start of its SHA-256."""
        options = {key: getattr(self, key) for key in ('detector', 'max_frames', 'min_face', 'min_frames', 'size', 'suffix')}
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
    options: dict | None = None,
) -> dict:
    """Write the faces of a video below ``folder``, which appears when it is complete.

    Each track becomes a folder ``0``, ``1``, ... with a loose crop for each frame, named by the number of the frame, and
    ``track.npz`` with what :func:`~openmsra.ftcn.faces.align.align_clip` needs, so that a clip is aligned when it is read, with
    one transform. Without a detector the frames are aligned faces: they are resized to ``size`` and have no ``track.npz``.

    Returns:
        ``tracks`` (list of ``track``, ``first``, ``frames``, ``side``: mean shorter side of the box in pixels), ``warnings``
        and ``options``, as ``faces.json`` keeps them.

    Raises:
        VideoError, ValueError: see :func:`openmsra.ftcn.faces.tracking.find_tracks`; nothing is left behind.
    """
    part = folder.with_name(f'.{uuid4().hex}.part')  # the video's own name may be as long as a name can be
    try:
        times, tracks, warnings = find_tracks(frames, detector, min_face, min_frames)
        part.mkdir(parents=True)
        cut = loose_crop if detector is not None else lambda frame, _: whole_frame(frame, size)
        rows = []
        for track, crops, corners in cut_tracks(frames, tracks, cut):
            rows.append(_write_track(part / str(len(rows)), track, crops, corners, times, detector is not None, suffix))
        result = dict(tracks=[dict(track=k, **row) for k, row in enumerate(rows)], warnings=warnings, options=options)
        (part / DONE).write_text(json.dumps(result), encoding='utf-8')
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return result


def _write_track(
    folder: Path, track: Track, crops: list[np.ndarray], corners: np.ndarray, times: np.ndarray, located: bool, suffix: str
) -> dict:
    folder.mkdir()
    numbers = track.start + np.arange(len(crops))
    for number, crop in zip(numbers, crops, strict=True):
        file = folder / f'{number:06d}{suffix}'
        if not cv2.imwrite(str(file), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)):  # faster than Pillow
            raise OSError(f'{file}: cannot be written; check the disk.')
    if located:
        np.savez(
            folder / TRACK, frames=numbers, times=times[numbers], boxes=track.boxes, landmarks=track.landmarks, corners=corners
        )
    side = float((track.boxes[:, 2:] - track.boxes[:, :2]).min(axis=1).mean())
    return dict(first=int(track.start), frames=len(crops), side=round(side, 1))


def clip_lines(row: dict, result: dict) -> list[dict]:
    """The lines of ``clips.jsonl`` for a video: one for each track, or one with ``frames: null`` where there is no face."""
    folder = crops_of(row['video'])
    lines = [
        dict(
            row,
            frames=f'{folder}/{track["track"]}',
            count=track['frames'],
            **{key: track[key] for key in ('track', 'first', 'side')},
        )
        for track in result['tracks']
    ]
    return lines or [dict(row, frames=None)]
