"""Faces through a video: tracks, and the crops along them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from openmsra.common.boxes import iou
from openmsra.common.video import Frame
from openmsra.errors import DataError
from openmsra.ftcn.faces.align import loose_box
from openmsra.ftcn.faces.detectors import Detector, Face

Crop = tuple[np.ndarray, tuple[int, int]]  # an image (h, w, 3) and the x, y of its top left corner in the frame


@dataclass(frozen=True)
class Track:
    """One face in consecutive frames: ``start`` is the first frame; ``boxes`` (N, 4), ``landmarks`` (N, 5, 2)."""

    start: int
    boxes: np.ndarray
    landmarks: np.ndarray


def find_tracks(
    frames: Iterable[Frame], detector: Detector | list[list[Face]] | None, min_face: int, min_frames: int
) -> tuple[np.ndarray, list[Track], list[str]]:
    """Detect and follow the faces of a video.

    Args:
        frames: pairs of an RGB image (H, W, 3) and its time in seconds.
        detector: a detector, the faces of each frame, or ``None``: each frame is one face.
        min_face: detections with a shorter side in pixels are left out.
        min_frames: shorter tracks are left out.

    Returns:
        times (N,) of the frames; the tracks; in words, what has been left out and whether nothing remains.

    Raises:
        ValueError: faces are not given for each frame.
    """
    times, detections, small = [], [], 0
    for number, (frame, time) in enumerate(frames):
        times.append(time)
        faces = _faces(frame, number, detector)
        large = [face for face in faces if detector is None or min(face.box[2:] - face.box[:2]) >= min_face]
        small += len(faces) - len(large)
        detections.append(large)
    if isinstance(detector, list) and len(detector) != len(times):
        raise DataError(f'faces are given for {len(detector)} frames, the video has {len(times)}')
    tracks, warnings = track_faces(detections), []
    kept = [track for track in tracks if len(track.boxes) >= min_frames]
    if small:
        warnings.append(f'{small} face(s) smaller than {min_face} pixels are left out')
    if len(kept) < len(tracks):
        warnings.append(f'{len(tracks) - len(kept)} face(s) seen for less than {min_frames} frames are left out')
    if not kept:
        warnings.append('no face found' if not warnings else 'no other face found')
    return np.array(times), kept, warnings


def _faces(frame: np.ndarray, number: int, detector: Detector | list[list[Face]] | None) -> list[Face]:
    if detector is None:
        return [Face(np.array([0, 0, frame.shape[1], frame.shape[0]], float), np.zeros((5, 2)), 1.0)]
    if isinstance(detector, list):
        return detector[number] if number < len(detector) else []
    return detector(frame)


def loose_crop(frame: np.ndarray, box: np.ndarray) -> Crop:
    """The surroundings of a face, which the alignment of a clip needs."""
    x1, y1, x2, y2 = loose_box(box, frame.shape[:2])
    return frame[y1:y2, x1:x2].copy(), (x1, y1)


def whole_frame(frame: np.ndarray, size: int) -> Crop:
    """A frame that is an aligned face already, resized."""
    return cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA), (0, 0)


def cut_tracks(
    frames: Iterable[Frame],
    tracks: list[Track],
    cut: Callable[[np.ndarray, np.ndarray], Crop],
) -> Iterator[tuple[Track, list[np.ndarray], np.ndarray]]:
    """Each track with its crops and their corners (N, 2), as soon as it has ended: only living tracks are in memory.

    ``cut`` takes a frame and a box (4,).
    """
    crops: dict[int, tuple[list, list]] = {id(track): ([], []) for track in tracks}
    for number, (frame, _) in enumerate(frames):
        for track in tracks:
            if not track.start <= number < track.start + len(track.boxes):
                continue
            images, corners = crops[id(track)]
            image, corner = cut(frame, track.boxes[number - track.start])
            images.append(image)
            corners.append(corner)
            if len(images) == len(track.boxes):
                yield track, images, np.array(corners)
                del crops[id(track)]


def track_faces(detections: list[list[Face]], overlap: float = 0.5, seed_score: float = 0.8, gap: int = 2) -> list[Track]:
    """Follow faces through a video by greatest overlap with their last box.

    Unlike the official code, which wants a face in all frames, a track may start at any frame. It bridges up to ``gap``
    frames without detection by linear interpolation and ends behind them.

    Args:
        detections: faces of each frame.
        overlap: least intersection over union with the last box.
        seed_score: least score of the detection that starts a track.

    Returns:
        tracks in order of their first frame.
    """
    active: list[dict[int, Face]] = []
    done: list[dict[int, Face]] = []
    for number, faces in enumerate(detections):
        done += [track for track in active if number - max(track) > gap + 1]
        active = [track for track in active if number - max(track) <= gap + 1]
        pairs = sorted(
            ((iou(track[max(track)].box, face.box), t, f) for t, track in enumerate(active) for f, face in enumerate(faces)),
            reverse=True,
        )
        taken: set[int] = set()
        used: set[int] = set()
        for value, t, f in pairs:
            if value >= overlap and t not in taken and f not in used:
                active[t][number] = faces[f]
                taken.add(t)
                used.add(f)
        free = [face for f, face in enumerate(faces) if f not in used and face.score >= seed_score]
        active += [{number: face} for face in free]
    return sorted((_interpolated(track) for track in done + active), key=lambda track: track.start)


def _interpolated(track: dict[int, Face]) -> Track:
    known = sorted(track)
    values = np.stack([np.concatenate([track[k].box, track[k].landmarks.ravel()]) for k in known])
    numbers = np.arange(known[0], known[-1] + 1)
    rows = np.stack([np.interp(numbers, known, column) for column in values.T], axis=1)
    return Track(known[0], rows[:, :4], rows[:, 4:].reshape(-1, 5, 2))
