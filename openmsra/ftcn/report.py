"""A scored video as JSON, CSV, timeline plot and annotated video."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from openmsra.common.outputs import printable
from openmsra.common.video import Frame, write_video
from openmsra.ftcn.inferencer import VideoScore

CUSTODY = ('checkpoint', 'sha256', 'config', 'version', 'detector', 'stride')  # in each line of the CSV


def as_dict(result: VideoScore, threshold: float) -> dict:
    """Everything but the landmarks, in plain containers; ``fake`` is None where there is no score."""
    tracks = [
        dict(
            first_frame=face.track.start,
            frames=len(face.track.boxes),
            score=face.score,
            clips=[
                dict(start=int(start) + face.track.start, score=float(score))
                for start, score in zip(face.starts, face.clip_scores, strict=True)
            ],
            boxes=face.track.boxes.round(1).tolist(),
        )
        for face in result.tracks
    ]
    fake = None if result.score is None else bool(result.score >= threshold)
    return dict(
        video=result.name,
        score=result.score,
        **({} if result.probability is None else dict(probability=result.probability)),
        fake=fake,
        threshold=threshold,
        frames=len(result.times),
        warnings=result.warnings,
        **result.provenance,
        tracks=tracks,
    )


def write_json(result: VideoScore, file: Path, threshold: float) -> None:
    """See :func:`as_dict`."""
    file.write_text(json.dumps(as_dict(result, threshold), indent=1) + '\n', encoding='utf-8')


def write_csv(result: VideoScore, file: Path) -> None:
    """One line for each frame of each track: frame, seconds, track, score, box, and what the score was made with."""
    custody = [result.provenance.get(name, '') for name in CUSTODY]
    with file.open('w', newline='', encoding='utf-8') as stream:
        writer = csv.writer(stream)
        writer.writerow(['frame', 'seconds', 'track', 'score', 'x1', 'y1', 'x2', 'y2', *CUSTODY])
        for number, face in enumerate(result.tracks):
            for k, (score, box) in enumerate(zip(face.frame_scores, face.track.boxes, strict=True)):
                frame = face.track.start + k
                writer.writerow([frame, f'{result.times[frame]:.4f}', number, f'{score:.6f}', *box.round(1), *custody])


def draw_timeline(result: VideoScore, file: Path, threshold: float) -> None:
    """Scores of the tracks over time as PNG; frames without a face are shaded."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout='constrained')
    axis = figure.subplots()
    seen = np.zeros(len(result.times), bool)
    for number, face in enumerate(result.tracks):
        frames = face.track.start + np.arange(len(face.frame_scores))
        seen[frames] = True
        axis.plot(result.times[frames], face.frame_scores, label=f'face {number}: {face.score:.3f}')
    axis.fill_between(result.times, 0, 1, where=~seen, step='mid', color='0.88', label='no face' if not seen.all() else None)
    axis.axhline(threshold, color='0.4', linestyle='--', linewidth=1)
    verdict = 'no score' if result.score is None else f'score {result.score:.3f}'
    axis.set(xlabel='seconds', ylabel='probability of a forgery', ylim=(-0.02, 1.02))
    axis.set_title(f'{printable(Path(result.name).name)}: {verdict}', parse_math=False)
    axis.margins(x=0)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc='center left', bbox_to_anchor=(1.0, 0.5), fontsize=8)
    figure.savefig(file, dpi=120)


def write_annotated(result: VideoScore, frames: Iterable[Frame], file: Path, threshold: float) -> None:
    """The video with a box and a score for each face, red from the threshold on, as MP4.

    Raises:
        OSError: the file cannot be written, or holds fewer frames than were scored.
    """
    steps = np.diff(result.times)
    rate = float(1 / np.median(steps)) if len(steps) and np.median(steps) > 0 else 25.0
    images = (annotated(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), result, k, threshold) for k, (frame, _) in enumerate(frames))
    written = write_video(file, (cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in images), rate)
    if written != len(result.times):
        raise OSError(f'{file}: {written} of {len(result.times)} frames were written; check the video.')


def annotated(image: np.ndarray, result: VideoScore, number: int, threshold: float, zoom: int = 1) -> np.ndarray:
    """A BGR frame (H, W, 3), enlarged ``zoom`` times, with the faces of frame ``number`` and their scores."""
    image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC) if zoom > 1 else image.copy()
    for face in result.tracks:
        k = number - face.track.start
        if 0 <= k < len(face.frame_scores):
            _draw(image, zoom * face.track.boxes[k], face.frame_scores[k], threshold)
    return image


def _draw(image: np.ndarray, box: np.ndarray, score: float, threshold: float) -> None:
    x1, y1, x2, y2 = map(int, box.round())
    colour = (40, 40, 220) if score >= threshold else (60, 170, 60)
    thick = max(1, image.shape[0] // 240)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, thick)
    cv2.putText(
        image,
        f'{score:.2f}',
        (x1 + 2 * thick, max(y1 - 3 * thick, 14 * thick)),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.5 * thick,
        colour,
        thick,
        cv2.LINE_AA,
    )
