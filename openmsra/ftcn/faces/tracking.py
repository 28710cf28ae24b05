"""Faces through a video that is walked through once: what is seen of a face is handed on as soon as it is known."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from openmsra.common.boxes import iou
from openmsra.common.video import Frame
from openmsra.errors import DataError
from openmsra.ftcn.faces.align import loose_box
from openmsra.ftcn.faces.detectors import Detector, Face

Crop = tuple[np.ndarray, tuple[int, int]]  # an image (h, w, 3) and the x, y of its top left corner in the frame
OVERLAP = 0.5  # least intersection over union of a face with its last box
SEED_SCORE = 0.8  # least score of the detection that starts a track
GAP = 2  # frames without detection that a track bridges


@dataclass(frozen=True)
class Track:
    """One face in consecutive frames: ``start`` is the first frame; ``boxes`` (N, 4), ``landmarks`` (N, 5, 2)."""

    start: int
    boxes: np.ndarray
    landmarks: np.ndarray


@dataclass(frozen=True)
class Sighting:
    """A face in a frame: number of the track, number of the frame, ``box`` (4,), ``landmarks`` (5, 2), crop and its corner."""

    track: int
    frame: int
    box: np.ndarray
    landmarks: np.ndarray
    image: np.ndarray
    corner: tuple[int, int]


@dataclass(frozen=True)
class TrackEnd:
    """Nothing more comes of this track."""

    track: int


class FaceStream:
    """Detects and follows the faces of a video; iterating it, once, gives sightings and ends of tracks as they come.

    A face belongs to the track with whose last box it overlaps most. Unlike in the official code, which wants a face in all
    frames, a track may start at any frame; up to ``GAP`` frames without detection are interpolated, behind more the track ends.
    At most ``GAP + 1`` frames and ``min_frames`` crops of each face are kept, however long the video is.

    Args:
        frames: pairs of an RGB image (H, W, 3) and its time in seconds.
        detector: a detector, the faces of each frame, or ``None``: each frame is one face.
        min_face: detections with a shorter side in pixels are left out.
        min_frames: shorter tracks are left out; the others are numbered in the order in which they reach it.
        cut: makes the crop, from a frame and a box (4,).

    Attributes:
        times: seconds of the frames that were seen.

    Raises:
        DataError: while iterating, at the end of the video: faces are not given for each frame.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        detector: Detector | list[list[Face]] | None,
        min_face: int,
        min_frames: int,
        cut: Callable[[np.ndarray, np.ndarray], Crop],
    ) -> None:
        self.frames, self.given, self.min_face, self.min_frames, self.cut = frames, detector, min_face, min_frames, cut
        self.detect = Following(detector) if hasattr(detector, 'follow') else detector
        self.times: list[float] = []
        self._tracks: list[_LiveTrack] = []
        self._recent: deque[np.ndarray] = deque(maxlen=GAP + 1)
        self._small = self._short = self._released = 0

    def __iter__(self) -> Iterator[Sighting | TrackEnd]:
        for number, (frame, time) in enumerate(self.frames):
            self.times.append(time)
            self._recent.append(frame)
            yield from self._end([track for track in self._tracks if number - track.last > GAP + 1])
            for track in self._match(self._large(self._faces(frame, number)), number):
                yield from self._release(track)
        yield from self._end(list(self._tracks))
        if isinstance(self.given, list) and len(self.given) != len(self.times):
            raise DataError(f'faces are given for {len(self.given)} frames, the video has {len(self.times)}')

    def warnings(self) -> list[str]:
        """In words, what has been left out and whether nothing remains; complete when the stream has ended."""
        warnings = []
        if self._small:
            warnings.append(f'{self._small} face(s) smaller than {self.min_face} pixels are left out')
        if self._short:
            warnings.append(f'{self._short} face(s) seen for less than {self.min_frames} frames are left out')
        if not self._released:
            warnings.append('no face found' if not warnings else 'no other face found')
        return warnings

    def _faces(self, frame: np.ndarray, number: int) -> list[Face]:
        if self.given is None:
            return [Face(np.array([0, 0, frame.shape[1], frame.shape[0]], float), np.zeros((5, 2)), 1.0)]
        if isinstance(self.given, list):
            return self.given[number] if number < len(self.given) else []
        return self.detect(frame)

    def _large(self, faces: list[Face]) -> list[Face]:
        large = [face for face in faces if self.given is None or min(face.box[2:] - face.box[:2]) >= self.min_face]
        self._small += len(faces) - len(large)
        return large

    def _match(self, faces: list[Face], number: int) -> list['_LiveTrack']:
        """The tracks that go on or start in a frame, with what is now known of them pending."""
        pairs = sorted(
            ((iou(track.face.box, face.box), t, f) for t, track in enumerate(self._tracks) for f, face in enumerate(faces)),
            reverse=True,
        )
        tracks: set[int] = set()
        used: set[int] = set()
        for value, t, f in pairs:
            if value >= OVERLAP and t not in tracks and f not in used:
                self._go_on(self._tracks[t], faces[f], number)
                tracks.add(t)
                used.add(f)
        seeds = [face for f, face in enumerate(faces) if f not in used and face.score >= SEED_SCORE]
        seen = [self._tracks[t] for t in sorted(tracks)]
        for face in seeds:
            track = _LiveTrack(face, number)
            self._look(track, number, face.box, face.landmarks)
            self._tracks.append(track)
            seen.append(track)
        return seen

    def _go_on(self, track: '_LiveTrack', face: Face, number: int) -> None:
        known = np.stack([np.concatenate([f.box, f.landmarks.ravel()]) for f in (track.face, face)])
        for frame in range(track.last + 1, number + 1):
            row = np.array([np.interp(frame, (track.last, number), column) for column in known.T])
            self._look(track, frame, row[:4], row[4:].reshape(5, 2))
        track.face, track.last = face, number

    def _look(self, track: '_LiveTrack', frame: int, box: np.ndarray, landmarks: np.ndarray) -> None:
        image = self._recent[frame - len(self.times)]
        track.pending.append((frame, box, landmarks, *self.cut(image, box)))

    def _release(self, track: '_LiveTrack') -> Iterator[Sighting]:
        if track.number is None:
            if len(track.pending) < self.min_frames:
                return
            track.number, self._released = self._released, self._released + 1
        for seen in track.pending:
            yield Sighting(track.number, *seen)
        track.pending.clear()

    def _end(self, tracks: list['_LiveTrack']) -> Iterator[TrackEnd]:
        for track in tracks:
            self._tracks.remove(track)
            if track.number is None:
                self._short += 1
            else:
                yield TrackEnd(track.number)


@dataclass(eq=False)
class _LiveTrack:
    """A track that may go on: its last face and that one's frame, what is not handed on yet, its number if it is long enough."""

    face: Face
    last: int
    pending: list[tuple] = field(default_factory=list)
    number: int | None = None


class Following:
    """A detector that looks through every ``every``-th frame of one video and follows the faces between them.

    It also looks when a face was lost, which a cut of the scene does to all of them, and every ``IDLE`` frames while there is
    none. A face that appears while others are followed is seen at most ``every - 1`` frames late.
    """

    IDLE = 4

    def __init__(self, detector: Detector) -> None:
        self.detector, self.faces, self.wait = detector, [], 0

    def __call__(self, frame: np.ndarray) -> list[Face]:
        faces = self.detector.follow(frame, self.faces)
        faces = [face for face in faces if max(iou(face.box, last.box) for last in self.faces) >= OVERLAP]
        if self.wait <= 0 or len(faces) < len(self.faces):
            others = self.detector(frame)
            faces += [face for face in others if all(iou(face.box, known.box) < 0.3 for known in faces)]
            self.wait = self.detector.every if faces else min(self.IDLE, self.detector.every)
        self.faces, self.wait = faces, self.wait - 1
        return faces


def loose_crop(frame: np.ndarray, box: np.ndarray) -> Crop:
    """The surroundings of a face, which the alignment of a clip needs."""
    x1, y1, x2, y2 = loose_box(box, frame.shape[:2])
    return frame[y1:y2, x1:x2].copy(), (x1, y1)


def whole_frame(frame: np.ndarray, size: int) -> Crop:
    """A frame that is an aligned face already, resized."""
    return cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA), (0, 0)
