"""What a tab does, in plain Python: files of a visitor in; scores, boxes, classes, neighbours and pictures out.

Each takes an inferencer of its paper, files that :mod:`openmsra.cli.app.uploads` has let through, and a
:class:`~openmsra.cli.app.jobs.Job`. A file that cannot be used costs its own result alone; the reason is among ``faults``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from openmsra.cli.app.jobs import Job
from openmsra.cli.app.uploads import Limits, readable_images, require_video, without_folder
from openmsra.common.images import read_rgb
from openmsra.common.video import Frame, VideoFile, read_frames, video_header
from openmsra.errors import DataError, PairError, UserError

if TYPE_CHECKING:
    from openmsra.ftcn.inferencer import VideoScore

SHOWN = 48  # frames of a video, evenly over its length
FRAME_SIDE, THUMB_SIDE, PICTURE_SIDE = 640, 240, 1280  # pixels of the longer side


@dataclass
class ShownFrame:
    """A frame beside the timeline: its number, its time in seconds and a small picture of it."""

    number: int
    time: float
    picture: Image.Image
    size: tuple[int, int]  # of the frame itself: width, height


@dataclass
class VideoResult:
    """A scored video; ``cut`` says that its end was left out."""

    score: 'VideoScore'
    frames: list[ShownFrame]
    cut: bool


@dataclass
class Pictures:
    """Results of images: a picture and a row of plain values for each that could be used."""

    pictures: list[tuple[Path, str]] = field(default_factory=list)  # file and caption
    rows: list[dict] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)


@dataclass
class Examples:
    """Embedded files that are searched by one of them: unit vectors (n, C), names and pictures in the same order."""

    features: np.ndarray
    names: list[str]
    pictures: list[Path]
    faults: dict[str, str]

    def nearest(self, number: int, count: int) -> list[tuple[int, float]]:
        """(number, cosine similarity) of the nearest other files, nearest first."""
        similarity = self.features @ self.features[number]
        order = np.argsort(-similarity, kind='stable')
        return [(int(other), float(similarity[other])) for other in order if other != number][:count]


def score_video(
    inferencer: Callable, file: Path, detector: Any, job: Job, limits: Limits, stride: int = 8, aggregate: str = 'max'
) -> VideoResult:
    """Score the faces of a video over time.

    Args:
        inferencer: FTCN's.
        detector: of :mod:`openmsra.ftcn.faces.detectors`; ``None`` where the frames are faces already.

    Raises:
        VideoError: by its content it is no video, or it does not decode.
    """
    require_video(file)
    inferencer.detector, inferencer.stride, inferencer.aggregate = detector, stride, aggregate
    frames = _Watched(file, limits.frames, job)
    with _stopping(inferencer.model, job):
        try:
            score = inferencer(frames, file.name)
        except UserError as error:
            raise type(error)(without_folder(error, file)) from None
    job.step(0.95, 'drawing')
    return VideoResult(score, frames.shown(), frames.cut)


class _Watched:
    """The frames of a video, each a step of a job; of some small pictures are kept."""

    def __init__(self, file: Path, limit: int, job: Job) -> None:
        self.file, self.limit, self.job = file, limit, job
        self.every, self.kept, self.count = 1, [], 0

    @property
    def cut(self) -> bool:
        """Whether there may be more than was looked at."""
        return self.count >= self.limit

    def __iter__(self) -> Iterator[Frame]:
        total = min(video_header(str(self.file))[0] or self.limit, self.limit)
        for number, (frame, time) in enumerate(VideoFile(self.file, limit=self.limit)):
            self.job.step(0.95 * number / total, f'frame {number + 1} of {total}')
            self._keep(number, frame, time)
            yield frame, time

    def _keep(self, number: int, frame: np.ndarray, time: float) -> None:
        """Every k-th frame; k doubles when there are too many."""
        self.count = number + 1
        if number % self.every:
            return
        picture = Image.fromarray(frame)
        picture.thumbnail((FRAME_SIDE, FRAME_SIDE))
        self.kept.append(ShownFrame(number, time, picture, frame.shape[1::-1]))
        if len(self.kept) > 2 * SHOWN:
            self.kept, self.every = self.kept[::2], 2 * self.every

    def shown(self) -> list[ShownFrame]:
        """At most ``SHOWN`` of them, evenly."""
        indices = np.unique(np.linspace(0, len(self.kept) - 1, min(SHOWN, len(self.kept))).round().astype(int))
        return [self.kept[index] for index in indices]


@contextmanager
def _stopping(model: Any, job: Job) -> Iterator[None]:
    """Each pass through the network is a step of the job."""
    handle = model.register_forward_pre_hook(lambda *_: job.step())
    try:
        yield
    finally:
        handle.remove()


def score_pairs(
    inferencer: Callable,
    restored: list[Path],
    degraded: list[Path],
    job: Job,
    folder: Path,
    crop: str = 'center',
    maps: bool = True,
) -> Pictures:
    """Score restored images against degraded ones; pictures are maps of quality, best score first.

    One degraded image goes with all restored ones; otherwise they go together by name, and a single one with a single one.

    Args:
        inferencer: CKDN's.
        folder: for the maps.

    Raises:
        PairError: the names do not pair up.
        DataError: no pair could be scored.
    """
    from openmsra.ckdn.data.pairs import images_by_stem, match
    from openmsra.ckdn.data.transforms import load_rgb
    from openmsra.ckdn.report.maps import overlay, quality_map

    if len(degraded) == 1:
        pairs = [(file, degraded[0]) for file in restored]
    else:
        try:
            pairs = list(match(images_by_stem(restored), images_by_stem(degraded), allow_missing=True).values())
        except PairError as error:
            raise PairError(without_folder(error, *restored, *degraded)) from None
    result = Pictures()
    if unpaired := len(restored) - len(pairs):
        result.faults[f'{unpaired} restored image(s)'] = 'no degraded image of this name; left out'
    scored = []
    for number, pair in enumerate(pairs):
        job.step(number / len(pairs), f'pair {number + 1} of {len(pairs)}')
        row = inferencer([pair], crop=crop)[0]
        if 'error' in row:
            result.faults[pair[0].name] = without_folder(Exception(row['error']), *pair)
        else:
            scored.append((row, pair))
    if not scored:
        raise DataError(f'No pair could be scored: {next(iter(result.faults.values()))}')
    scored.sort(key=lambda item: -item[0]['score'])
    for number, (row, pair) in enumerate(scored):
        job.step(0.5 + 0.5 * number / len(scored), f'map {number + 1} of {len(scored)}')
        picture = overlay(load_rgb(pair[0]), quality_map(inferencer.model, *pair)) if maps else load_rgb(pair[0])
        caption = f'{row["score"]:.3f}  {pair[0].name}'
        result.pictures.append((_save(picture, folder, number, PICTURE_SIDE), caption))
        result.rows.append(
            dict(restored=pair[0].name, degraded=pair[1].name, score=round(row['score'], 4), logit=round(row['logit'], 3))
        )
    return result


def detect(inferencer: Callable, files: list[Path], job: Job, folder: Path, limits: Limits, score_thr: float = 0.3) -> Pictures:
    """Boxes of images, those from ``score_thr`` on; pictures are the images with them.

    Args:
        inferencer: Soft Teacher's.
    """
    result = Pictures()
    for number, file, row in _rows(inferencer, files, job, limits, result.faults):
        kept = [index for index, score in enumerate(row['scores']) if score >= score_thr]
        picture = inferencer.draw(file, row, score_thr=score_thr)
        caption = f'{file.name}: {len(kept)} box{"es" * (len(kept) != 1)}'
        result.pictures.append((_save(Image.fromarray(np.ascontiguousarray(picture)), folder, number, PICTURE_SIDE), caption))
        for index in kept:
            box = dict(zip(('x1', 'y1', 'x2', 'y2'), (round(float(value), 1) for value in row['boxes'][index]), strict=True))
            result.rows.append(
                dict(image=file.name, name=row['names'][index], score=round(float(row['scores'][index]), 4), **box)
            )
    return result


def classify(inferencer: Callable, files: list[Path], job: Job, folder: Path, limits: Limits, topk: int = 5) -> Pictures:
    """The most probable classes of images.

    Args:
        inferencer: AutoFormer's.
    """
    result = Pictures()
    for number, file, row in _rows(inferencer, files, job, limits, result.faults, topk=topk):
        caption = f'{row["classes"][0]}  {100 * row["scores"][0]:.0f} %'
        result.pictures.append((_save(Image.fromarray(read_rgb(file)), folder, number, PICTURE_SIDE), caption))
        for rank, (name, score) in enumerate(zip(row['classes'], row['scores'], strict=True), start=1):
            result.rows.append({'image': file.name, 'rank': rank, 'class': name, 'probability': round(score, 4)})
    return result


def embed(inferencer: Callable, files: list[Path], job: Job, folder: Path, limits: Limits) -> Examples:
    """Embed images or videos for a search by example.

    Args:
        inferencer: MaskCo's or MCN's.

    Raises:
        DataError: fewer than two files could be used.
    """
    videos, faults, features, names, pictures = inferencer.key == 'video', {}, [], [], []
    for number, file, row in _rows(inferencer, files, job, limits, faults):
        feature = np.asarray(row['feature'], float)
        features.append(feature / max(np.linalg.norm(feature), 1e-12))
        picture = read_frames(file, lambda count: [count // 2])[0] if videos else read_rgb(file)
        pictures.append(_save(Image.fromarray(picture), folder, number, THUMB_SIDE))
        names.append(file.name)
    if len(names) < 2:
        raise DataError(f'{len(names)} of {len(files)} files could be used; a search needs at least two.')
    return Examples(np.stack(features), names, pictures, faults)


def _rows(
    inferencer: Callable, files: list[Path], job: Job, limits: Limits, faults: dict[str, str], **options
) -> Iterator[tuple[int, Path, dict]]:
    """(number, file, row) of each file that can be used, some at a time so that the job can be stopped between them."""
    if inferencer.key == 'video':
        good = []
        for file in files:
            try:
                require_video(file)
            except UserError as error:
                faults[file.name] = str(error)
            else:
                good.append(file)
    else:
        good, unreadable = readable_images(files, limits)
        faults |= unreadable
    size = min(inferencer.batch_size, 8)
    for start in range(0, len(good), size):
        job.step(start / len(good), f'{start} of {len(good)}')
        chunk = good[start : start + size]
        try:
            rows = inferencer(chunk, batch_size=size, **options)
        except DataError as error:  # none of them could be used
            rows = [dict(error=str(error))] * len(chunk)
        for number, (file, row) in enumerate(zip(chunk, rows, strict=True), start=start):
            if 'error' in row:
                faults[file.name] = without_folder(Exception(row['error']), *chunk)
            else:
                yield number, file, row
    if len(faults) == len(files):
        raise DataError(f'None of the {len(files)} files could be used: {next(iter(faults.values()))}')


def _save(picture: Image.Image, folder: Path, number: int, side: int) -> Path:
    """A picture with no side longer than ``side`` pixels."""
    picture = picture.convert('RGB')
    if min(picture.size) < 64:  # digits and icons would be dots
        scale = -(-128 // min(picture.size))
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    picture.thumbnail((side, side))
    file = folder / f'{number:05d}.jpg'
    picture.save(file, quality=90)
    return file
