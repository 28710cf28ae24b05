"""Samples that cannot kill a run: seeded one by one, and replaced, counted and listed where they cannot be read."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from torch.utils.data import Dataset, get_worker_info

from openmsra.engine import rng
from openmsra.errors import BrokenDataError

TRIES = 20  # samples in a row that may be broken before it is the data set that is broken
PATH_KEYS = ('img_path', 'video_path', 'filename', 'path', 'frame_dir', 'frames', 'video', 'restored_path', 'img_id')


class SampleKey(NamedTuple):
    """An index and what its random numbers are seeded with: (seed, epoch, place in the order of the sampler)."""

    index: int
    place: tuple[int, int, int]


class Samples(Dataset):
    """A data set behind one guard: a sample that raises is replaced by another and written to a journal.

    Samples asked for with a :class:`SampleKey` are guarded and seeded; a plain index, and every other attribute, goes to the data
    set itself. Which one replaces it is a function of the key; in a ``ConcatDataset`` it
    comes from the same part.

    Args:
        dataset: the data set.
        journal: file that gets a JSON line with ``path`` and ``reason`` for each failure; ``None`` writes none.
    """

    def __init__(self, dataset: Dataset, journal: str | Path | None = None) -> None:
        self.dataset, self.journal = dataset, journal

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == 'dataset':  # not there yet while unpickling
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ('dataset', 'journal'):
            super().__setattr__(name, value)
        else:
            setattr(self.dataset, name, value)  # a hook that switches the pipeline, say

    def __getitem__(self, key: SampleKey | int) -> Any:
        return self.__getitems__([key])[0] if isinstance(key, SampleKey) else self.dataset[key]

    def __getitems__(self, keys: list[SampleKey]) -> list:
        if get_worker_info() is not None:
            return [self._guarded(key) for key in keys]
        with rng.isolated():  # the training's own random numbers must not depend on the number of workers
            return [self._guarded(key) for key in keys]

    def _guarded(self, key: SampleKey) -> Any:
        index = key.index
        for attempt in range(TRIES):
            rng.seed_sample(*key.place, index)
            try:
                return self.dataset[index]
            except Exception as error:  # noqa: BLE001 - decoders and transforms fail in every way on a broken file
                self._report(index, error)
                last, index = error, self._substitute(key, attempt)
        path = describe(self.dataset, key.index)
        raise BrokenDataError(
            f'{path} and {TRIES - 1} samples in its place cannot be read ({_reason(last)}). '
            'Is the folder right, and does the pipeline fit the data?'
        ) from last

    def _substitute(self, key: SampleKey, attempt: int) -> int:
        """A function of the key, not the next index: broken files often lie side by side."""
        first, end = 0, len(self.dataset)
        for stop in getattr(self.dataset, 'cumulative_sizes', ()):
            if key.index < stop:
                end = stop
                break
            first = stop
        return first + rng.number_below(end - first, *key.place, key.index, attempt)

    def _report(self, index: int, error: Exception) -> None:
        if self.journal is not None:
            named = getattr(error, 'filename', None)  # a data set may have read another sample than it was asked for
            path = named if isinstance(named, str) else describe(self.dataset, index)
            row = dict(path=path, reason=_reason(error))
            with open(self.journal, 'ab') as stream:  # one write of one line: workers do not mix theirs
                stream.write(json.dumps(row).encode() + b'\n')


def failure(dataset: Dataset, index: int) -> str | None:
    """Why a sample cannot be read, or nothing."""
    rng.seed_sample(0, 0, index, index)
    try:
        dataset[index]
    except Exception as error:  # noqa: BLE001 - see Samples
        return _reason(error)
    return None


def describe(dataset: Dataset, index: int) -> str:
    """The file of a sample, or its number where the data set does not tell."""
    unknown = f'sample {index} of {type(dataset).__name__}'
    try:
        row = dataset.get_data_info(int(index))
    except Exception:  # noqa: BLE001 - the row itself may be what is broken
        return unknown
    path = next((row[key] for key in PATH_KEYS if isinstance(row.get(key), str)), None)
    return path or unknown


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f'{type(error).__name__}: {lines[0][:300] if lines else "no message"}'


class BrokenSamplesJournal:
    """The journal of one process, read as it grows: broken samples by path, with the reason and how often they were met."""

    def __init__(self, path: str | Path) -> None:
        self.path, self.read_to = Path(path), 0
        self.rows: dict[str, dict] = {}
        self.times: Counter[str] = Counter()

    def update(self) -> list[dict]:
        """Rows of samples that had not been reported before."""
        if not self.path.is_file() or os.path.getsize(self.path) == self.read_to:
            return []
        with self.path.open('rb') as stream:
            stream.seek(self.read_to)
            content = stream.read()
        content = content[: content.rfind(b'\n') + 1]
        self.read_to += len(content)
        new = []
        for row in map(json.loads, content.splitlines()):
            self.times[row['path']] += 1
            if row['path'] not in self.rows:
                self.rows[row['path']] = row
                new.append(row)
        return new
