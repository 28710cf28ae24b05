"""Videos in, scores of faces over time out."""

from collections.abc import Iterable
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
from openmsra.ftcn.faces.tracking import Crop, Track, cut_tracks, find_tracks, loose_crop, whole_frame
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


@INFERENCERS.register_module()
class FTCNInferencer:
    """Finds, follows and aligns the faces of a video and scores clips of them (section 3; the official order of steps).

    Args:
        config, checkpoint: the network and its weights; there is no inference without weights.
        detector: a callable of :mod:`openmsra.ftcn.faces.detectors`; a list with the faces of each frame; ``None`` takes the
            whole frames as faces that are cropped and aligned already.
        device: where the network runs.
        stride: frames between the starts of neighbouring clips; the last window is always scored. 1 is the official
            setting, larger ones are faster.
        batch_size: clips in a forward pass.
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
            frames: pairs of an RGB image (H, W, 3) and its time in seconds, that can be walked through twice:
                :class:`~openmsra.common.video.VideoFile`, :class:`~openmsra.common.video.ImageFolder` or a list.
            name: goes into the result.

        Raises:
            ValueError: as many lists of given faces as frames are needed.
            VideoError: the video does not decode.
        """
        times, tracks, warnings = find_tracks(frames, self.detector, self.min_face, self.min_frames)
        if uneven(times):
            warnings.append('the frame rate varies: a clip is taken as consecutive frames, whatever their times')
        scored = [self._score(track, crops, corners) for track, crops, corners in cut_tracks(frames, tracks, self._crop)]
        if any(len(score.track.boxes) < self.clip_len for score in scored):
            warnings.append(f'a face is seen for less than {self.clip_len} frames: its clips are mirrored, less to rely on')
        return VideoScore(name, times, scored, self._aggregated(scored), warnings, self.provenance)

    def _crop(self, frame: np.ndarray, box: np.ndarray) -> Crop:
        return whole_frame(frame, self.size) if self.detector is None else loose_crop(frame, box)

    @torch.inference_mode()
    def _score(self, track: Track, crops: list[np.ndarray], corners: np.ndarray) -> TrackScore:
        starts, scores = clip_starts(len(crops), self.clip_len, self.stride), []
        numbers = reflect(starts[:, None] + np.arange(self.clip_len), len(crops))
        for batch in np.array_split(numbers, range(self.batch_size, len(numbers), self.batch_size)):
            clips = np.stack([self._clip(track, crops, corners, clip) for clip in batch])
            inputs = torch.from_numpy(clips.transpose(0, 4, 1, 2, 3).copy())
            samples = self.model.test_step(dict(inputs=inputs))
            scores += [sample.pred_score for sample in samples]
        scores = np.array(scores)
        contains = np.stack([np.isin(np.arange(len(crops)), clip) for clip in numbers])
        return TrackScore(track, starts, scores, scores @ contains / contains.sum(0))

    def _clip(self, track: Track, crops: list[np.ndarray], corners: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        chosen = [crops[k] for k in numbers]
        if self.detector is None:
            return np.stack(chosen)
        return align_clip(chosen, corners[numbers], track.landmarks[numbers], self.size)

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
