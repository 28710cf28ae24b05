"""Clips of listed videos, several of each, for pre-training and for features."""

import hashlib
import logging
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement

from openmsra.common.annotations import read_text, require_inside
from openmsra.common.images import channels_first
from openmsra.common.video import read_frames, video_header
from openmsra.engine.data.rows import LongList
from openmsra.errors import AnnotationError, MissingFileError
from openmsra.registry import DATASETS

SAMPLING = ('random', 'uniform')
ROLES = (None, 'gallery', 'query')


def clip_indices(count: int, clips: int, clip_len: int, interval: int, sampling: str) -> np.ndarray:
    """Frame numbers (clips, clip_len) in a video of ``count`` frames; one that is shorter than a clip is looped.

    'random' draws starts independently of each other (global numpy state), 'uniform' puts them at even distances.

    Raises:
        ValueError: no frame.
    """
    if count < 1:
        raise ValueError('a video without frames has no clips')
    room = max(count - ((clip_len - 1) * interval + 1), 0)
    starts = np.random.randint(room + 1, size=clips) if sampling == 'random' else np.linspace(0, room, clips).round().astype(int)
    return (starts[:, None] + interval * np.arange(clip_len)) % count


class ClipDataset(LongList):
    """Several clips of each video, each through the pipeline on its own, so that views are independent.

    The transforms are mmaction2's and ours: they read and change ``imgs``, a list of T frames (H, W, 3).

    Args:
        clips: C clips of each video.
        clip_len: T frames of a clip.
        interval: frames from one frame of a clip to the next.
        sampling: 'random' or 'uniform', see :func:`clip_indices`.
        role: 'gallery' or 'query' in retrieval and probes, ``None`` in training.

    Raises:
        ValueError: an option outside its values.
    """

    def __init__(
        self,
        pipeline: list,
        clips: int = 4,
        clip_len: int = 16,
        interval: int = 2,
        sampling: str = 'random',
        role: str | None = None,
        **kwargs,
    ) -> None:
        if sampling not in SAMPLING or role not in ROLES or min(clips, clip_len, interval) < 1:
            raise ValueError(
                f'{type(self).__name__}: sampling={sampling!r} {SAMPLING}, role={role!r} {ROLES}, clips={clips}, '
                f'clip_len={clip_len}, interval={interval}: out of range.'
            )
        self.clips, self.clip_len, self.interval, self.sampling, self.role = clips, clip_len, interval, sampling, role
        super().__init__(pipeline=pipeline, **kwargs)

    @abstractmethod
    def frames(self, row: dict, choose: Callable[[int], np.ndarray]) -> np.ndarray:
        """Frames (K, H, W, 3) uint8 RGB of the video of ``row`` with the numbers (K,) that ``choose(count)`` gives."""

    def prepare_data(self, idx: int) -> dict:
        """``inputs`` (C, 3, T, H, W) uint8 and a sample with ``video``, ``video_id``, ``gt_label`` and ``role``."""
        row = self.get_data_info(idx)
        frames = self.frames(row, lambda count: self._chosen(row, count).ravel())
        clips = [self._through_pipeline(row, clip) for clip in frames.reshape(self.clips, self.clip_len, *frames.shape[1:])]
        sample = BaseDataElement(video=row['video'], video_id=video_id(row['video']), gt_label=row['label'], role=self.role)
        return dict(inputs=torch.stack(clips), data_samples=sample)

    def _chosen(self, row: dict, count: int) -> np.ndarray:
        span = (self.clip_len - 1) * self.interval + 1
        if count < span and not getattr(self, '_looped', False):
            self._looped = True
            print_log(
                f'{row["video"]}: {count} frames, a clip spans {span}: looped, as other videos so short.',
                'current',
                logging.WARNING,
            )
        return clip_indices(count, self.clips, self.clip_len, self.interval, self.sampling)

    def _through_pipeline(self, row: dict, clip: np.ndarray) -> torch.Tensor:
        shape = clip.shape[1:3]
        results = dict(
            imgs=list(clip),
            img_shape=shape,
            original_shape=shape,
            modality='RGB',
            num_clips=1,
            clip_len=self.clip_len,
            filename=row['video'],
        )
        images = np.stack(self.pipeline(results)['imgs'])
        return torch.from_numpy(channels_first(images))


def video_id(video: str) -> int:
    """A number that follows from the relative path alone, so that it survives changes of the list."""
    return int.from_bytes(hashlib.blake2b(video.encode(), digest_size=7).digest(), 'big')


@DATASETS.register_module()
class VideoClips(ClipDataset):
    """Videos of a list in mmaction2's format, ``relative/path.avi 7`` one a line; pre-training accepts lines without a label.

    Args:
        ann_file: the list; see ``tools/dataset_converters/``.
        data_root: folder that its paths are relative to.
        backend, short_side: decoder, and the size to which frames are shrunk as they come; see
            :func:`openmsra.common.video.read_frames`.
        piece: cut recordings of minutes into pieces of so many frames, each of them a video of its own; their lengths are read
            from the headers at the start. A rest of less than half a piece is left out.
        in_memory: keep the frames of every video, shrunk, once it has been decoded: for sets of some thousand seconds. Every
            data worker has its own.

    Raises:
        FileNotFoundError: no such list.
        AnnotationError: a list that is empty, no text, leads out of ``data_root``, or gives a video two labels.
        ValueError: ``piece`` is shorter than a clip.
    """

    def __init__(
        self,
        ann_file: str,
        data_root: str,
        pipeline: list,
        backend: str = 'auto',
        short_side: int | None = None,
        piece: int | None = None,
        in_memory: bool = False,
        **kwargs,
    ) -> None:
        self.backend, self.short_side, self.piece = backend, short_side, piece
        self._kept: dict[str, np.ndarray] | None = {} if in_memory else None
        span = (kwargs.get('clip_len', 16) - 1) * kwargs.get('interval', 2) + 1
        if piece is not None and piece < span:
            raise ValueError(f'VideoClips: piece={piece} frames, but a clip spans {span}.')
        super().__init__(ann_file=ann_file, data_root=data_root, pipeline=pipeline, **kwargs)

    def _join_prefix(self) -> None:
        """The list is named as it is, not relative to ``data_root``."""

    def load_data_list(self) -> list[dict]:
        if not Path(self.ann_file).is_file():
            raise MissingFileError(f'{self.ann_file}: there is no such list; tools/dataset_converters/ writes it.')
        rows = read_list(self.ann_file)
        if not rows:
            raise AnnotationError(f'{self.ann_file}: the list is empty.')
        require_inside(self.data_root, (video for video, _ in rows), self.ann_file)
        labels = dict(rows)
        for video, label in rows if len(labels) < len(rows) else ():
            if labels[video] != label:
                raise AnnotationError(f'{self.ann_file}: {video} stands in it with the labels {label} and {labels[video]}.')
        rows = [dict(video=video, label=label) for video, label in rows]
        return rows if self.piece is None else [part for row in rows for part in self._pieces(row)]

    def _pieces(self, row: dict) -> list[dict]:
        """A row for each piece of a recording; one that does not open stays whole, and is reported when it is read."""
        count, _ = video_header(str(Path(self.data_root) / row['video']))
        starts = range(0, max(count - self.piece // 2, 1), self.piece)
        return [dict(row, file=row['video'], first=start, video=f'{row["video"]}#{start}') for start in starts]

    def frames(self, row: dict, choose: Callable[[int], np.ndarray]) -> np.ndarray:
        file, first = row.get('file', row['video']), row.get('first', 0)

        def within(count: int) -> np.ndarray:
            return first + choose(count - first if self.piece is None else min(self.piece, count - first))

        path = Path(self.data_root) / file
        if self._kept is None:
            return read_frames(path, within, self.backend, self.short_side)
        if file not in self._kept:
            self._kept[file] = read_frames(path, np.arange, self.backend, self.short_side)
        return self._kept[file][within(len(self._kept[file]))]


def read_list(path: str | Path) -> list[tuple[str, int]]:
    """(relative path, label) of each line, split from the right, since names may hold blanks; -1 where there is no label.

    Raises:
        AnnotationError: a label is negative.
    """
    rows = []
    for number, line in enumerate(map(str.strip, read_text(path).splitlines()), start=1):
        name, _, label = line.rpartition(' ')
        if name and label.isdecimal():
            rows.append((name.rstrip(), int(label)))
        elif name and label.lstrip('-').isdecimal():
            raise AnnotationError(f'{path}, line {number}: negative label {label}.')
        elif line:
            rows.append((line, -1))
    return rows
