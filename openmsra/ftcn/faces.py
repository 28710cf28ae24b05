"""Faces of a video: detectors, tracks. A detector is any callable that maps a frame (H, W, 3) RGB to a list of faces."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from openmsra.ftcn.align import landmarks_of_box


@dataclass(frozen=True)
class Face:
    """One detection: ``box`` (4,) as x1, y1, x2, y2, ``landmarks`` (5, 2) in the order of the template, ``score`` 0..1."""

    box: np.ndarray
    landmarks: np.ndarray
    score: float


Detector = Callable[[np.ndarray], list[Face]]


@dataclass(frozen=True)
class Track:
    """One face in consecutive frames: ``start`` is the first frame; ``boxes`` (N, 4), ``landmarks`` (N, 5, 2)."""

    start: int
    boxes: np.ndarray
    landmarks: np.ndarray


class HaarDetector:
    """The frontal-face cascade that ships with OpenCV; it gives no landmarks, these follow from the box.

    Args:
        min_size: smallest face in pixels.
    """

    def __init__(self, min_size: int = 30) -> None:
        self.cascade = cv2.CascadeClassifier(cv2.data.haarcascades + 'haarcascade_frontalface_default.xml')
        self.min_size = min_size

    def __call__(self, frame: np.ndarray) -> list[Face]:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        found = self.cascade.detectMultiScale(grey, 1.1, 5, minSize=(self.min_size, self.min_size))
        boxes = [np.array([x, y, x + w, y + h], float) for x, y, w, h in found]
        return [Face(box, landmarks_of_box(box), 1.0) for box in boxes]


class YuNetDetector:
    """OpenCV's YuNet from an ONNX file of yours; nothing is downloaded. Its landmarks have the order of the template.

    Raises:
        FileNotFoundError: no such model file.
    """

    def __init__(self, model: str | Path, min_size: int = 30, threshold: float = 0.5) -> None:
        if not Path(model).is_file():
            raise FileNotFoundError(f'{model}: no such YuNet model; take face_detection_yunet_*.onnx of the OpenCV model zoo.')
        self.network, self.min_size = cv2.FaceDetectorYN.create(str(model), '', (320, 320), threshold), min_size

    def __call__(self, frame: np.ndarray) -> list[Face]:
        self.network.setInputSize(frame.shape[1::-1])
        _, rows = self.network.detect(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        faces = [Face(np.concatenate([row[:2], row[:2] + row[2:4]]), row[4:14].reshape(5, 2), float(row[14]))
                 for row in ([] if rows is None else rows.astype(float))]  # fmt: skip
        return [face for face in faces if min(face.box[2:] - face.box[:2]) >= self.min_size]


def boxes_from_json(path: str | Path) -> list[list[Face]]:
    """Given faces: a JSON list with one list per frame of ``{"box": [x1, y1, x2, y2], "landmarks": [[x, y] * 5], "score": 1}``.

    ``landmarks`` and ``score`` may be left out.

    Raises:
        ValueError: the file has another form.
    """
    frames = json.loads(Path(path).read_text(encoding='utf-8'))
    try:
        return [[_given(row) for row in rows] for rows in frames]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path}: not a list with one list of faces per frame ({error!r}).') from None


def _given(row: dict) -> Face:
    box = np.array(row['box'], float).reshape(4)
    landmarks = np.array(row['landmarks'], float).reshape(5, 2) if 'landmarks' in row else landmarks_of_box(box)
    return Face(box, landmarks, float(row.get('score', 1)))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (4,)."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.clip(sides, 0, None)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / union if union > 0 else 0.0


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
    alive: list[dict[int, Face]] = []
    done: list[dict[int, Face]] = []
    for number, faces in enumerate(detections):
        done += [track for track in alive if number - max(track) > gap + 1]
        alive = [track for track in alive if number - max(track) <= gap + 1]
        pairs = sorted(((iou(track[max(track)].box, face.box), t, f) for t, track in enumerate(alive)
                        for f, face in enumerate(faces)), reverse=True)  # fmt: skip
        taken: set[int] = set()
        used: set[int] = set()
        for value, t, f in pairs:
            if value >= overlap and t not in taken and f not in used:
                alive[t][number] = faces[f]
                taken.add(t)
                used.add(f)
        free = [face for f, face in enumerate(faces) if f not in used and face.score >= seed_score]
        alive += [{number: face} for face in free]
    return sorted((_interpolated(track) for track in done + alive), key=lambda track: track.start)


def _interpolated(track: dict[int, Face]) -> Track:
    known = sorted(track)
    values = np.stack([np.concatenate([track[k].box, track[k].landmarks.ravel()]) for k in known])
    numbers = np.arange(known[0], known[-1] + 1)
    rows = np.stack([np.interp(numbers, known, column) for column in values.T], axis=1)
    return Track(known[0], rows[:, :4], rows[:, 4:].reshape(-1, 5, 2))
