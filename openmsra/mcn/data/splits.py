"""Official splits of UCF101, HMDB51 and Kinetics as lists of videos; which videos are missing or broken."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from openmsra.common.annotations import read_text
from openmsra.common.video import list_videos, read_frames
from openmsra.errors import MissingFileError, SplitError, VideoError

Rows = list[tuple[str, int]]  # (path relative to the folder of videos, label)
SPLITS = (1, 2, 3)


def ucf101(annotations: Path, split: int) -> tuple[Rows, Rows, list[str]]:
    """Training and test videos of a split, and the classes, from ``ucfTrainTestlist``.

    Test lists have no label: it follows from the folder of the video.

    Raises:
        FileNotFoundError: a file of the split is missing.
        SplitError: a malformed or an unknown class, or a group of one upload (gXX) on both sides.
    """
    lines = _lines(annotations / 'classInd.txt')
    if bad := [line for line in lines if ' ' not in line]:
        raise SplitError(f'{annotations / "classInd.txt"}: the line {bad[0]!r} is not a number and a class.')
    classes = [line.split(' ', 1)[1] for line in lines]
    if len(set(classes)) < len(classes):
        raise SplitError(f'{annotations / "classInd.txt"}: a class stands in it twice.')
    label_of = {name.lower(): number for number, name in enumerate(classes)}
    sides = []
    for file in (f'trainlist{split:02d}.txt', f'testlist{split:02d}.txt'):
        videos = [re.sub(r' \d+$', '', line) for line in _lines(annotations / file)]
        unknown = [video for video in videos if video.partition('/')[0].lower() not in label_of]
        if unknown:
            raise SplitError(f'{annotations / file}: {unknown[0]} is of none of the {len(classes)} classes of classInd.txt.')
        sides.append([(video, label_of[video.partition('/')[0].lower()]) for video in videos])
    groups = [{video.rpartition('_c')[0] for video, _ in side} for side in sides]
    if shared := sorted(groups[0] & groups[1]):
        raise SplitError(f'{annotations}: split {split} has clips of one upload in training and test ({shared[0]}).')
    return *sides, classes


def hmdb51(annotations: Path, split: int) -> tuple[Rows, Rows, list[str]]:
    """Training and test videos of a split, and the classes, from ``testTrainMulti_7030_splits``.

    A line is a name, which may hold blanks and any sign, and behind it 1 (training), 2 (test) or 0 (unused).

    Raises:
        FileNotFoundError: the split has no file.
        SplitError: a line that does not end in 0, 1 or 2.
    """
    ending = f'_test_split{split}.txt'
    files = sorted(annotations.glob(f'[!.]*{ending}'))
    if not files:
        raise MissingFileError(f'{annotations}: no files CLASS{ending} in this folder.')
    classes, sides = [file.name.removesuffix(ending) for file in files], {'1': [], '2': [], '0': []}
    for label, (name, file) in enumerate(zip(classes, files, strict=True)):
        for line in _lines(file):
            video, _, use = line.rpartition(' ')
            if use not in sides or not video:
                raise SplitError(f'{file}: the line {line!r} does not end in 0, 1 or 2.')
            sides[use].append((f'{name}/{video.strip()}', label))
    return sides['1'], sides['2'], classes


def kinetics(table: Path, classes: Sequence[str] | None = None) -> tuple[Rows, list[str]]:
    """Videos and classes of an official table (``label,youtube_id,time_start,time_end,...``).

    Files are named LABEL/ID_START_END.mp4 with six digits, as the usual downloaders do.

    Args:
        classes: in the order of their numbers, those of the training table; by default those of this one, sorted.

    Raises:
        FileNotFoundError: no such table.
        SplitError: a column is missing, or a label is none of the classes.
    """
    if not table.is_file():
        raise MissingFileError(f'{table}: there is no such table.')
    reader = csv.DictReader(io.StringIO(read_text(table), newline=''))
    needed = {'label', 'youtube_id', 'time_start', 'time_end'}
    if lacking := needed - set(reader.fieldnames or ()):
        raise SplitError(f'{table}: no column {", ".join(sorted(lacking))}; test tables without labels cannot be used.')
    rows = list(reader)
    for number, row in enumerate(rows, start=2):
        if not row['label'] or not row['youtube_id'] or not all(str(row[end]).isdigit() for end in ('time_start', 'time_end')):
            raise SplitError(f'{table}, row {number}: not a label, an id and two times in seconds.')
    labels = {row['label'] for row in rows}
    classes = sorted(labels) if classes is None else list(classes)
    if unknown := sorted(labels - set(classes)):
        raise SplitError(f'{table}: {", ".join(unknown[:5])} is none of the {len(classes)} classes.')
    label_of = {name: number for number, name in enumerate(classes)}
    return [
        (
            f'{row["label"]}/{row["youtube_id"]}_{int(row["time_start"]):06d}_{int(row["time_end"]):06d}.mp4',
            label_of[row['label']],
        )
        for row in rows
    ], classes


def locate(rows: Rows, videos: Path) -> tuple[Rows, list[str], int]:
    """Rows with the paths as they are on the disk, missing videos, and how many were found only without regard to case.

    Other endings than the list's are taken too, so that re-encoded copies serve. (UCF101's folder HandstandPushups has files
    and lists that say HandStandPushups.)

    Raises:
        SplitError: several files could be meant.
    """
    on_disk = [str(path.relative_to(videos)) for path in list_videos(videos)]
    exact, folded = defaultdict(list), defaultdict(list)
    for path in on_disk:
        exact[_stem(path)].append(path)
        folded[_stem(path).lower()].append(path)
    found, missing, inexact, present = [], [], 0, set(on_disk)
    for video, label in rows:
        if video in present:
            path = video
        else:
            path = _only(video, exact.get(_stem(video), []), videos)
            if path is None:
                path = _only(video, folded.get(_stem(video).lower(), []), videos)
                inexact += path is not None
        if path is None:
            missing.append(video)
        else:
            found.append((path, label))
    return found, missing, inexact


def _only(video: str, paths: list[str], videos: Path) -> str | None:
    if len(paths) > 1:
        raise SplitError(f'{video} of the list could be {", ".join(sorted(paths))} in {videos}; keep one of them.')
    return paths[0] if paths else None


def broken(paths: Iterable[str], videos: Path, backend: str = 'auto') -> dict[str, str]:
    """Why each of the videos that do not decode at their start, middle or end does not."""
    faults = {}
    for path in paths:
        try:
            read_frames(videos / path, lambda count: [0, count // 2, count - 1] if count else [0], backend)
        except (VideoError, IndexError) as error:
            faults[path] = ' '.join(str(error).split())
    return faults


def refuse_leak(training: Rows, test: Rows, source: Path) -> None:
    """Raise :class:`SplitError` if a test video is in the training list too."""
    if shared := sorted({video for video, _ in training} & {video for video, _ in test}):
        raise SplitError(f'{source}: {len(shared)} test videos are in the training list too, the first is {shared[0]}.')


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise MissingFileError(f'{file}: there is no such file of the official split.')
    return [line.strip() for line in read_text(file).splitlines() if line.strip()]


def _stem(path: str) -> str:
    return path.rpartition('.')[0]
