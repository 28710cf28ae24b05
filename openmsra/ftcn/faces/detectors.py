"""Faces in a frame: a detector is any callable that maps a frame (H, W, 3) RGB to a list of faces.

One that has a method ``follow(frame, faces)`` and a number ``every`` looks through whole frames that many frames apart and
follows the faces between them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from openmsra.common.annotations import read_text
from openmsra.common.provenance import sha256_of
from openmsra.errors import AnnotationError, MissingFileError
from openmsra.ftcn.faces.align import landmarks_of_box


@dataclass(frozen=True)
class Face:
    """One detection: ``box`` (4,) as x1, y1, x2, y2, ``landmarks`` (5, 2) in the order of the template, ``score`` 0..1."""

    box: np.ndarray
    landmarks: np.ndarray
    score: float


Detector = Callable[[np.ndarray], list[Face]]


class HaarDetector:
    """The frontal-face cascade that ships with OpenCV; it gives no landmarks, these follow from the box.

    Args:
        min_size: smallest face in pixels.
    """

    name = 'haar'

    def __init__(self, min_size: int = 30) -> None:
        self.cascade = cv2.CascadeClassifier(cv2.data.haarcascades + 'haarcascade_frontalface_default.xml')
        self.min_size = min_size

    def __call__(self, frame: np.ndarray) -> list[Face]:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        detections = self.cascade.detectMultiScale(grey, 1.1, 5, minSize=(self.min_size, self.min_size))
        boxes = [np.array([x, y, x + w, y + h], float) for x, y, w, h in detections]
        return [Face(box, landmarks_of_box(box), 1.0) for box in boxes]


class YuNetDetector:
    """OpenCV's YuNet from an ONNX file of yours; nothing is downloaded. Its landmarks have the order of the template.

    Raises:
        FileNotFoundError: no such model file.
    """

    def __init__(self, model: str | Path, min_size: int = 30, threshold: float = 0.5) -> None:
        if not Path(model).is_file():
            raise MissingFileError(f'{model}: no such YuNet model; take face_detection_yunet_*.onnx of the OpenCV model zoo.')
        self.name = f'yunet {Path(model).name} (sha256 {sha256_of(model)})'
        self.network, self.min_size = cv2.FaceDetectorYN.create(str(model), '', (320, 320), threshold), min_size

    def __call__(self, frame: np.ndarray) -> list[Face]:
        self.network.setInputSize(frame.shape[1::-1])
        _, rows = self.network.detect(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        faces = [
            Face(np.concatenate([row[:2], row[:2] + row[2:4]]), row[4:14].reshape(5, 2), float(row[14]))
            for row in ([] if rows is None else rows.astype(float))
        ]
        return [face for face in faces if min(face.box[2:] - face.box[:2]) >= self.min_size]


def boxes_from_json(path: str | Path) -> list[list[Face]]:
    """Given faces: a JSON list with one list per frame of ``{"box": [x1, y1, x2, y2], "landmarks": [[x, y] * 5], "score": 1}``.

    ``landmarks`` and ``score`` may be left out.

    Raises:
        MissingFileError, AnnotationError: there is no such file, or it has another form.
    """
    text = read_text(path)
    try:
        return [[_parse_face(row) for row in rows] for rows in json.loads(text)]
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f'{path}: not a list with one list of faces per frame ({error!r}).') from None


def _parse_face(row: dict) -> Face:
    box = np.array(row['box'], float).reshape(4)
    landmarks = np.array(row['landmarks'], float).reshape(5, 2) if 'landmarks' in row else landmarks_of_box(box)
    return Face(box, landmarks, float(row.get('score', 1)))


def describe(source: Detector | list[list[Face]] | None) -> str:
    """A source of faces in words, for the files of scores."""
    if source is None:
        return 'none'
    return 'boxes' if isinstance(source, list) else getattr(source, 'name', type(source).__name__)


def resolve(kind: str) -> str:
    """The detector that 'auto' stands for: 'mtcnn' where its weights are installed, else 'haar'; other kinds as they are."""
    from openmsra.ftcn.faces.mtcnn import weights_folder

    return kind if kind != 'auto' else 'haar' if weights_folder() is None else 'mtcnn'


def face_source(kind: str, min_face: int, yunet: Path | None = None, boxes: Path | None = None) -> Detector | list | None:
    """The source of faces that a tool's options name: 'auto', 'mtcnn', 'haar', 'yunet', 'boxes' (given ones), 'none' (aligned).

    Raises:
        MissingFileError: the files of a detector are missing.
    """
    from openmsra.ftcn.faces.mtcnn import MTCNNDetector

    smallest = max(min_face // 2, 20)  # smaller ones than min_face are counted and reported
    return {
        'mtcnn': lambda: MTCNNDetector(max(min_face, 20)),
        'haar': lambda: HaarDetector(smallest),
        'yunet': lambda: YuNetDetector(yunet, smallest),
        'boxes': lambda: boxes_from_json(boxes),
        'none': lambda: None,
    }[resolve(kind)]()
