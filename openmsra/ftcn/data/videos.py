"""Videos of aligned faces in a table, read window by window; real ones can be given once more to be forged."""

import csv
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dataset import BaseDataset, DefaultSampler

from openmsra.common.annotations import read_text, require_inside
from openmsra.common.video import read_frames, video_header
from openmsra.errors import AnnotationError, DataError, MissingFileError, SplitError
from openmsra.ftcn.data.clips import clip_starts
from openmsra.ftcn.data.forge import ForgeFace
from openmsra.registry import DATA_SAMPLERS, DATASETS

COLUMNS = ('path', 'label', 'method', 'identity', 'split')
FORGED = 'made here'  # the method of forgeries that the pipeline makes


@DATASETS.register_module()
class FaceVideos(BaseDataset):
    """Videos of aligned, square faces, listed in a CSV table with the columns of :data:`COLUMNS`; further ones are not read.

    ``path`` is relative to ``data_root``; ``label`` is 0 for real, 1 for forged; ``identity`` is the person, who is in one part
    only; ``split`` is 'train', 'val' or 'test'.

    Args:
        ann_file: the table, relative to ``data_root``.
        split: the part that is read.
        methods: which listed manipulations take part beside the reals; ``None`` takes all.
        forge: every window of a real video is given a second time, right behind itself, as a forgery of the method 'made here' by
            the pipeline's :class:`openmsra.ftcn.data.forge.ForgeFace`; see :class:`PairedSampler`.
        held_out: identities of the training part that are taken out of it; they are the part 'val', beside those listed as such.
        clip_len: frames of a window.
        clips_per_video: windows of a video, at even distances (fewer where it has fewer).
        size: side in pixels to which the frames are scaled.

    Raises:
        FileNotFoundError: the table or a video of it is missing.
        AnnotationError: a column is missing or a label is neither 0 nor 1.
        SplitError: the part is empty or, in training, lacks a class; ``held_out`` names a person who is not in the training part.
        DataError: a video is shorter than a window; ``forge`` without a ``ForgeFace`` in the pipeline; while reading: frames that
            are not square.
    """

    def __init__(
        self,
        ann_file: str,
        split: str,
        pipeline: list,
        methods: list[str] | None = None,
        forge: bool = False,
        held_out: tuple[str, ...] = (),
        clip_len: int = 32,
        clips_per_video: int = 4,
        size: int = 112,
        **kwargs,
    ) -> None:
        self.split, self.methods, self.forge, self.held_out = split, methods, forge, set(held_out)
        self.clip_len, self.clips_per_video, self.size = clip_len, clips_per_video, size
        super().__init__(ann_file=ann_file, pipeline=pipeline, test_mode=split != 'train', **kwargs)
        if forge and not any(isinstance(step, ForgeFace) for step in self.pipeline.transforms):
            raise DataError('forge=True labels real videos as forgeries, and the pipeline has no ForgeFace that makes them so.')

    def load_data_list(self) -> list[dict]:
        listed = self._read_table()
        if unknown := self.held_out - {row['person'] for row in listed if row['split'] == 'train'}:
            raise SplitError(f'{self.ann_file}: held out, but not in the training part: {", ".join(sorted(unknown))}.')
        videos = [self._with_length(row) for row in listed if self._part(row) == self.split and self._wanted(row)]
        rows = []
        for row in videos:
            for start in self._starts(row['frames']):
                rows.append(dict(row, start=start))
                if self.forge and not row['gt_label']:
                    made = dict(video=f'{row["video"]}#forged', gt_label=1, method=FORGED, forge=True)
                    rows.append(rows[-1] | made)
        if not rows or not self.test_mode and {row['gt_label'] for row in rows} != {0, 1}:
            needs = 'videos' if self.test_mode else 'real (0) and forged (1) videos, or forge=True'
            raise SplitError(f'{self.ann_file}: the part {self.split!r} needs {needs}, {len(videos)} found.')
        return rows

    def _read_table(self) -> list[dict]:
        table = csv.DictReader(read_text(self.ann_file).splitlines())
        if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
            raise AnnotationError(
                f'{self.ann_file}: no column {", ".join(missing)}; the first line must name {",".join(COLUMNS)}.'
            )
        rows = []
        for row in table:
            if None in (row[name] for name in COLUMNS):
                raise AnnotationError(f'{self.ann_file}, line {table.line_num}: fewer entries than columns.')
            if row['label'] not in ('0', '1'):
                raise AnnotationError(f'{self.ann_file}, line {table.line_num}: label must be 0 or 1, it is {row["label"]!r}.')
            facts = dict(video=row['path'], method=row['method'], person=row['identity'], split=row['split'])
            rows.append(dict(facts, path=row['path'], gt_label=int(row['label']), forge=False))
        require_inside(self.data_root, (row['path'] for row in rows), self.ann_file)
        return rows

    def _part(self, row: dict) -> str:
        return 'val' if row['split'] == 'train' and row['person'] in self.held_out else row['split']

    def _wanted(self, row: dict) -> bool:
        return row['gt_label'] == 0 or self.methods is None or row['method'] in self.methods

    def _with_length(self, row: dict) -> dict:
        path = Path(self.data_root, row['path'])
        if not path.is_file():
            raise MissingFileError(f'{path}: there is no such video; {self.ann_file} lists it.')
        frames = video_header(str(path))[0]
        if frames < self.clip_len:
            raise DataError(f'{path}: {frames} frames are fewer than a window of {self.clip_len}.')
        return dict(row, path=str(path), frames=frames)

    def _starts(self, frames: int) -> list[int]:
        starts = clip_starts(frames, self.clip_len, 1)
        return sorted(set(starts[np.linspace(0, len(starts) - 1, self.clips_per_video).round().astype(int)].tolist()))

    def prepare_data(self, idx: int) -> dict:
        row = self.get_data_info(idx)
        numbers = row['start'] + np.arange(self.clip_len)
        facts = {key: row[key] for key in ('video', 'method', 'person', 'gt_label', 'forge')}
        return self.pipeline(dict(facts, clip=self._read(row['path'], numbers), frames=numbers))

    def pairs(self) -> list[list[int]]:
        """Positions that belong together: a window and the forgery of it, or a window alone."""
        groups: list[list[int]] = []
        for index in range(len(self)):
            if self.get_data_info(index)['forge']:
                groups[-1].append(index)
            else:
                groups.append([index])
        return groups

    def _read(self, path: str, numbers: np.ndarray) -> np.ndarray:
        """The frames (T, size, size, 3) uint8 RGB with these numbers."""
        clip = read_frames(path, numbers)
        if clip.shape[1] != clip.shape[2]:
            raise DataError(f'{path}: frames of {clip.shape[2]} x {clip.shape[1]} pixels; aligned faces are square.')
        if clip.shape[1] == self.size:
            return clip
        return np.stack([cv2.resize(frame, (self.size, self.size), interpolation=cv2.INTER_AREA) for frame in clip])


@DATA_SAMPLERS.register_module()
class PairedSampler(DefaultSampler):
    """Shuffles the windows of :class:`FaceVideos`, each with its forgery behind it.

    In a batch, of an even size, they differ by the forgery and the augmentation alone, so that person, light and movement of the
    head average out of the gradient.
    """

    def __iter__(self) -> Iterator[int]:
        """Indices of this rank; whole pairs go to one rank."""
        pairs = self.dataset.pairs()
        order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(self.seed + self.epoch)).tolist()
        mine = [index for k in order[self.rank :: self.world_size] for index in pairs[k]]
        return islice(cycle(mine), len(self))
