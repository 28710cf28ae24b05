"""Videos in, scores of faces over time out."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from openmsra.common.provenance import provenance
from openmsra.common.video import Frame
from openmsra.engine.model import init_model
from openmsra.errors import CheckpointError
from openmsra.ftcn.data.clips import clip_starts, reflect
from openmsra.ftcn.faces.align import align_clip
from openmsra.ftcn.faces.detectors import Detector, Face, describe
from openmsra.ftcn.faces.tracking import Crop, FaceStream, Sighting, Track, TrackEnd, loose_crop, whole_frame
from openmsra.ftcn.scoring import scoring
from openmsra.registry import INFERENCERS


@dataclass
class TrackScore:
    """The scores of one face.

    Attributes:
        track: where the face is.
        starts: (K,) first frames of its clips, counted from the track's first frame; negative where a track shorter than a
            clip is mirrored.
        clip_scores: (K,) probabilities of a forgery.
        frame_scores: (N,) for each frame the mean over the clips that contain it.
    """

    track: Track
    starts: np.ndarray
    clip_scores: np.ndarray
    frame_scores: np.ndarray

    @property
    def score(self) -> float:
        """Mean over the clips."""
        return float(self.clip_scores.mean())


@dataclass
class VideoScore:
    """What is known about one video; ``score`` is None where no face could be scored, ``warnings`` say why.

    Attributes:
        times: (N,) seconds of the frames.
        probability: the score as a calibrated probability, where a calibration is at hand.
        provenance: checkpoint, its SHA-256, config, version and settings, see :attr:`FTCNInferencer.provenance`.
    """

    name: str
    times: np.ndarray
    tracks: list[TrackScore]
    score: float | None
    warnings: list[str] = field(default_factory=list)
    provenance: dict[str, object] = field(default_factory=dict)
    probability: float | None = None


@dataclass(frozen=True)
class ClipScore:
    """The score of one clip, known while the video is still read.

    Attributes:
        track: number of the face.
        frame: the clip's first frame in the video; before the face's first one where a short track is mirrored.
        seconds: time of the clip's last frame.
        box: (4,) the face in the clip's last frame.
        score: probability of a forgery.
    """

    track: int
    frame: int
    seconds: float
    box: np.ndarray
    score: float


class _Windows:
    """The clips of one track as its frames come in; at most ``clip_len`` crops are kept."""

    def __init__(self, start: int, clip_len: int, stride: int) -> None:
        self.start, self.clip_len, self.stride = start, clip_len, stride
        self.boxes: list[np.ndarray] = []
        self.landmarks: list[np.ndarray] = []
        self.crops: deque[Crop] = deque(maxlen=clip_len)
        self.starts: list[int] = []
        self.scores: list[float] = []

    def add(self, seen: Sighting) -> Iterator[tuple[int, np.ndarray]]:
        """Start and frames (clip_len,) of the clip that is complete with this frame, counted from the track's first frame."""
        self.boxes.append(seen.box)
        self.landmarks.append(seen.landmarks)
        self.crops.append((seen.image, seen.corner))
        start = len(self.boxes) - self.clip_len
        if start >= 0 and start % self.stride == 0:
            yield start, np.arange(start, len(self.boxes))

    def rest(self) -> Iterator[tuple[int, np.ndarray]]:
        """Clips that are known once the track has ended: the last one, or all of a track shorter than a clip."""
        count = len(self.boxes)
        for start in clip_starts(count, self.clip_len, self.stride).tolist():
            if count < self.clip_len or start == count - self.clip_len and start % self.stride:
                yield start, reflect(start + np.arange(self.clip_len), count)

    def cut(self, numbers: np.ndarray, size: int | None) -> np.ndarray:
        """A clip (clip_len, size, size, 3), aligned unless ``size`` is None."""
        kept = numbers - len(self.boxes) + len(self.crops)
        images, corners = zip(*(self.crops[k] for k in kept), strict=True)
        if size is None:
            return np.stack(images)
        return align_clip(images, np.array(corners), np.stack([self.landmarks[k] for k in numbers]), size)

    def track_score(self) -> TrackScore:
        count = len(self.boxes)
        sums, clips = np.zeros(count), np.zeros(count, int)
        for start, score in zip(self.starts, self.scores, strict=True):
            frames = np.unique(reflect(start + np.arange(self.clip_len), count))
            sums[frames] += score
            clips[frames] += 1
        track = Track(self.start, np.stack(self.boxes), np.stack(self.landmarks))
        means = np.divide(sums, clips, out=np.full(count, np.nan), where=clips > 0)  # a stride above clip_len leaves gaps
        return TrackScore(track, np.array(self.starts), np.array(self.scores), means)


@INFERENCERS.register_module()
class FTCNInferencer:
    """Finds, follows and aligns the faces of a video and scores clips of them (section 3; the official order of steps).

    A video is walked through once. What is kept of it does not grow with its length, but for the scores, boxes and landmarks
    (about 200 bytes for each frame of a face): a few frames, and the crops of one clip for each face in sight.

    Args:
        config, checkpoint: the network and its weights; there is no inference without weights.
        detector: a callable of :mod:`openmsra.ftcn.faces.detectors`; a list with the faces of each frame; ``None`` takes the
            whole frames as faces that are cropped and aligned already.
        device: where the network runs.
        stride: frames between the starts of neighbouring clips; the last window is always scored. 1 is the official
            setting, larger ones are faster.
        batch_size: clips in a forward pass; on a processor clips that are scored side by side, see :mod:`openmsra.ftcn.scoring`.
        min_face: faces with a shorter side in pixels are left out.
        min_frames: shorter tracks are left out.
        aggregate: score of a video with several faces: 'max' over the tracks, or 'mean' over all clips (official).

    Raises:
        CheckpointError: no checkpoint, or it does not fit the config.
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path,
        detector: Detector | list[list[Face]] | None = None,
        device: str | torch.device = 'cpu',
        stride: int = 8,
        batch_size: int = 4,
        min_face: int = 40,
        min_frames: int = 8,
        aggregate: str = 'max',
    ) -> None:
        if not checkpoint:
            raise CheckpointError('FTCNInferencer: give a checkpoint; random weights judge nothing.')
        if min(stride, batch_size, min_frames) < 1 or aggregate not in ('max', 'mean'):
            raise ValueError(
                "stride, batch_size and min_frames must be at least 1, aggregate 'max' or 'mean'; "
                f'got {stride}, {batch_size}, {min_frames}, {aggregate!r}'
            )
        self.model = init_model(config, checkpoint, device)
        self.clip_len, self.size = self.model.clip_len, self.model.size
        self.detector, self.stride, self.batch_size = detector, stride, batch_size
        self.min_face, self.min_frames, self.aggregate = min_face, min_frames, aggregate
        self.files = provenance(self.model.cfg, checkpoint)

    @property
    def provenance(self) -> dict[str, object]:
        """What the scores depend on: files with their hash, version, detector and settings."""
        settings = dict(stride=self.stride, aggregate=self.aggregate, min_face=self.min_face, min_frames=self.min_frames)
        return dict(self.files, detector=describe(self.detector), **settings)

    def __call__(self, frames: Iterable[Frame], name: str = 'video') -> VideoScore:
        """Score one video.

        Args:
            frames: pairs of an RGB image (H, W, 3) and its time in seconds: a
                :class:`~openmsra.common.video.VideoFile`, an :class:`~openmsra.common.video.ImageFolder`, a list, a generator.
            name: goes into the result.

        Raises:
            ValueError: as many lists of given faces as frames are needed.
            VideoError: the video does not decode.
        """
        *_, result = self.stream(frames, name)
        return result

    def stream(self, frames: Iterable[Frame], name: str = 'video') -> Iterator[ClipScore | VideoScore]:
        """The score of each clip as soon as it is known, and the result for the video at last; see :meth:`__call__`.

        The first clip does not wait for others, so that there is a score after ``clip_len`` frames.
        """
        stream = FaceStream(frames, self.detector, self.min_face, self.min_frames, self._crop)
        tracks: dict[int, _Windows] = {}
        waiting: deque[tuple[int, int, float]] = deque()
        size = None if self.detector is None else self.size
        with scoring(self.model, self.batch_size) as scores:
            for event in scores.reading(stream):
                if isinstance(event, TrackEnd):
                    windows = tracks[event.track]
                    clips = windows.rest()
                else:
                    if event.track not in tracks:
                        tracks[event.track] = _Windows(event.frame, self.clip_len, self.stride)
                    windows = tracks[event.track]
                    clips = windows.add(event)
                for start, numbers in clips:
                    waiting.append((event.track, start, stream.times[windows.start + numbers.max()]))
                    scores.submit(windows.cut(numbers, size))
                    yield from self._known(scores.ready(), waiting, tracks)
                if isinstance(event, TrackEnd):
                    windows.crops.clear()
            yield from self._known(scores.rest(), waiting, tracks)
        yield self._result(stream, [tracks[track].track_score() for track in sorted(tracks)], name)

    def _crop(self, frame: np.ndarray, box: np.ndarray) -> Crop:
        return whole_frame(frame, self.size) if self.detector is None else loose_crop(frame, box)

    def _known(
        self, scores: Iterable[float], waiting: deque[tuple[int, int, float]], tracks: dict[int, _Windows]
    ) -> Iterator[ClipScore]:
        """The scores of the clips that have waited longest, which then wait no longer."""
        for score in scores:
            number, start, seconds = waiting.popleft()
            windows = tracks[number]
            windows.starts.append(start)
            windows.scores.append(score)
            last = min(start + self.clip_len, len(windows.boxes)) - 1
            yield ClipScore(number, windows.start + start, seconds, windows.boxes[last], score)

    def _result(self, stream: FaceStream, scores: list[TrackScore], name: str) -> VideoScore:
        scores, warnings = sorted(scores, key=lambda score: score.track.start), stream.warnings()
        times = np.array(stream.times)
        if uneven(times):
            warnings.append('the frame rate varies: a clip is taken as consecutive frames, whatever their times')
        if any(len(score.track.boxes) < self.clip_len for score in scores):
            warnings.append(f'a face is seen for less than {self.clip_len} frames: its clips are mirrored, less to rely on')
        return VideoScore(name, times, scores, self._aggregated(scores), warnings, self.provenance)

    def _aggregated(self, tracks: list[TrackScore]) -> float | None:
        if not tracks:
            return None
        if self.aggregate == 'max':
            return max(track.score for track in tracks)
        return float(np.concatenate([track.clip_scores for track in tracks]).mean())


def uneven(times: np.ndarray) -> bool:
    """Whether steps between frames differ by more than 10 % from their median."""
    steps = np.diff(times)
    return len(steps) > 0 and bool((np.abs(steps - np.median(steps)) > 0.1 * np.median(steps) + 1e-3).any())
