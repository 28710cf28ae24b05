"""MTCNN (Zhang et al., Joint Face Detection and Alignment using Multi-task Cascaded CNNs, 2016): boxes and five landmarks.

Three small networks one behind the other: P-Net looks for faces in an image pyramid, R-Net refuses most of what it found, O-Net
refines the rest and places eyes, nose and corners of the mouth. A face that was found is followed by O-Net alone. The weights are
those in the wheel of facenet-pytorch (MIT licence), of which no code is imported.
"""

import importlib.util
import math
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from openmsra.common.boxes import area, intersect
from openmsra.common.provenance import sha256_of
from openmsra.errors import MissingFileError
from openmsra.ftcn.faces.detectors import Face
from openmsra.needs import MTCNN

CELL, STRIDE = 12, 2  # pixels that P-Net sees, and between its positions
SHRINK = 0.709  # from one level of the pyramid to the next
CANDIDATES = 96  # of P-Net, the best; grass and walls give a thousand


class PNet(nn.Module):
    """Images (B, 3, H, W) to the probability of a face at each position (B, H', W') and its box's corrections (B, 4, H', W')."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return self.conv4_1(x).softmax(1)[:, 1], self.conv4_2(x)


class RNet(nn.Module):
    """Faces (B, 3, 24, 24) to probabilities (B,) and corrections of their boxes (B, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1, self.pool1 = nn.Conv2d(3, 28, 3), nn.PReLU(28), nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2, self.pool2 = nn.Conv2d(28, 48, 3), nn.PReLU(48), nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.prelu3(self.conv3(self.pool2(self.prelu2(self.conv2(x)))))
        x = self.prelu4(self.dense4(x.permute(0, 3, 2, 1).flatten(1)))  # the order in which the weights were trained
        return self.dense5_1(x).softmax(1)[:, 1], self.dense5_2(x)


class ONet(nn.Module):
    """Faces (B, 3, 48, 48) to probabilities (B,), corrections of boxes (B, 4), and landmarks (B, 5, 2) in shares of the boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1, self.pool1 = nn.Conv2d(3, 32, 3), nn.PReLU(32), nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2, self.pool2 = nn.Conv2d(32, 64, 3), nn.PReLU(64), nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3, self.pool3 = nn.Conv2d(64, 64, 3), nn.PReLU(64), nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.pool2(self.prelu2(self.conv2(self.pool1(self.prelu1(self.conv1(x))))))
        x = self.prelu4(self.conv4(self.pool3(self.prelu3(self.conv3(x)))))
        x = self.prelu5(self.dense5(x.permute(0, 3, 2, 1).flatten(1)))
        return self.dense6_1(x).softmax(1)[:, 1], self.dense6_2(x), self.dense6_3(x).unflatten(1, (2, 5)).transpose(1, 2)


def weights_folder() -> Path | None:
    """Where the weights lie, if facenet-pytorch is installed; it is not imported, since it wants an old torch."""
    spec = importlib.util.find_spec('facenet_pytorch')
    folder = Path(spec.origin).parent / 'data' if spec is not None and spec.origin else None
    return folder if folder is not None and (folder / 'onet.pt').is_file() else None


class MTCNNDetector:
    """Faces with five landmarks in the order of the template; ``follow`` finds known faces again in the next frame.

    Args:
        min_size: faces down to about this size in pixels; the time of a detection falls with its square.
        every: detections are this many frames apart, see :class:`~openmsra.ftcn.faces.tracking.Following`.
        thresholds: of P-Net, R-Net and O-Net.
        follow_threshold: of O-Net for a face that was there in the frame before.

    Raises:
        MissingFileError: facenet-pytorch, whose wheel holds the weights, is not installed.
    """

    def __init__(
        self,
        min_size: int = 30,
        every: int = 8,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.9),
        follow_threshold: float = 0.7,
    ) -> None:
        folder = weights_folder()
        if folder is None:
            raise MissingFileError(
                'the weights of the face detector MTCNN are not installed: they are in the wheel of facenet-pytorch (2 MB, MIT '
                f'licence), `pip install --no-deps {MTCNN}`; or take --detector haar, which ships with OpenCV.'
            )
        self.networks = {}
        for name, network in (('pnet', PNet()), ('rnet', RNet()), ('onet', ONet())):
            network.load_state_dict(torch.load(folder / f'{name}.pt', weights_only=True))
            network = network.eval().requires_grad_(False)
            self.networks[name] = network.to(memory_format=torch.channels_last)  # as images come; 2 to 3 times faster
        self.min_size, self.every, self.thresholds, self.follow_threshold = min_size, every, thresholds, follow_threshold
        self.name = f'mtcnn every {every} frames (sha256 {sha256_of(folder / "onet.pt")[:16]})'

    def __call__(self, frame: np.ndarray) -> list[Face]:
        boxes = self._proposals(frame)
        if not len(boxes):
            return []
        scores, corrections = self._judge('rnet', frame, boxes, 24)
        kept = scores > self.thresholds[1]
        boxes, scores, corrections = boxes[kept], scores[kept], corrections[kept]
        chosen = suppress(boxes, scores, 0.7)
        return self._faces(frame, squares(corrected(boxes[chosen], corrections[chosen])), self.thresholds[2])

    def follow(self, frame: np.ndarray, faces: list[Face]) -> list[Face]:
        """Those of the faces that are still where they were in the frame before, give or take some pixels."""
        return self._faces(frame, squares(np.stack([face.box for face in faces])), self.follow_threshold) if faces else []

    def _proposals(self, frame: np.ndarray) -> np.ndarray:
        """Squares (N, 4) in which P-Net sees a face."""
        scale, level = CELL / self.min_size, frame
        boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
        while min(frame.shape[:2]) * scale >= CELL:
            size = [math.ceil(length * scale) for length in frame.shape[1::-1]]
            level = cv2.resize(level, size, interpolation=cv2.INTER_AREA)
            probabilities, corrections = (x[0].numpy() for x in self._run('pnet', level[None]))
            rows, columns = np.nonzero(probabilities >= self.thresholds[0])
            corners = np.stack([columns, rows], 1) * STRIDE
            cells, values = np.concatenate([corners, corners + CELL], 1) / scale, probabilities[rows, columns]
            best = np.argsort(-values, kind='stable')[: 2 * CANDIDATES]
            kept = best[suppress(cells[best], values[best], 0.5)]
            scores.append(values[kept])
            boxes.append(corrected(cells[kept], corrections[:, rows, columns].T[kept]))
            scale *= SHRINK
        boxes, scores = np.concatenate(boxes), np.concatenate(scores)
        return squares(boxes[suppress(boxes, scores, 0.7)[:CANDIDATES]])

    def _faces(self, frame: np.ndarray, boxes: np.ndarray, threshold: float) -> list[Face]:
        """What O-Net says of squares (N, 4)."""
        if not len(boxes):
            return []
        scores, corrections, points = self._judge('onet', frame, boxes, 48)
        landmarks = boxes[:, None, :2] + points * (boxes[:, None, 2:] - boxes[:, None, :2])
        boxes = corrected(boxes, corrections)
        kept = np.nonzero(scores > threshold)[0]
        kept = kept[suppress(boxes[kept], scores[kept], 0.7, of_smaller=True)]
        return [Face(boxes[k], landmarks[k], float(scores[k])) for k in kept]

    def _judge(self, name: str, frame: np.ndarray, boxes: np.ndarray, side: int) -> list[np.ndarray]:
        return [x.numpy().astype(float) for x in self._run(name, np.stack([cut_square(frame, box, side) for box in boxes]))]

    @torch.inference_mode()
    def _run(self, name: str, images: np.ndarray) -> tuple[Tensor, ...]:
        """Images (B, H, W, 3), 0..255."""
        return self.networks[name]((torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127.5) / 128)


def cut_square(frame: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """A box of the frame as (side, side, 3), its border repeated where the box reaches over it."""
    x1, y1, x2, y2 = box.round().astype(int)
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    height, width = frame.shape[:2]
    inside = frame[max(y1, 0) : max(y2, 1), max(x1, 0) : max(x2, 1)]
    edges = [max(-y1, 0), max(y2 - height, 0), max(-x1, 0), max(x2 - width, 0)]
    if any(edges):
        inside = cv2.copyMakeBorder(inside, *edges, cv2.BORDER_REPLICATE)
    return cv2.resize(inside, (side, side), interpolation=cv2.INTER_AREA)


def squares(boxes: np.ndarray) -> np.ndarray:
    """Squares (N, 4) with the centres and the longer sides of boxes (N, 4)."""
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True)
    return np.concatenate([centres - sides / 2, centres + sides / 2], 1)


def corrected(boxes: np.ndarray, corrections: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) whose corners move by shares (N, 4) of their sides."""
    return boxes + corrections * np.tile(boxes[:, 2:] - boxes[:, :2], 2)


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float, of_smaller: bool = False) -> list[int]:
    """Which boxes (N, 4) remain, best first, when those go that overlap with a better one.

    Args:
        overlap: largest intersection over union, or with ``of_smaller`` over the smaller area.
    """
    areas, rest, kept = area(boxes), np.argsort(-scores, kind='stable'), []
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(int(best))
        common = area(intersect(boxes[best], boxes[rest]))
        reference = np.minimum(areas[best], areas[rest]) if of_smaller else areas[best] + areas[rest] - common
        rest = rest[common <= overlap * reference]
    return kept
