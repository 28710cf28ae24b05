"""Clips of aligned faces: the windows of a video, the data set of prepared crops, clip-consistent augmentation."""

import os
from pathlib import Path

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement

from openmsra.common.annotations import read_json_lines, require_inside
from openmsra.common.images import SUFFIXES, channels_first, images_of, read_rgb
from openmsra.engine.data.rows import LongList
from openmsra.errors import DataError, ImageError, MissingFileError
from openmsra.ftcn.faces.align import align_clip
from openmsra.ftcn.faces.prepare import FORMATS, TRACK, file_name
from openmsra.registry import DATASETS, TRANSFORMS


def reflect(index: np.ndarray, count: int) -> np.ndarray:
    """Frame numbers of a video with ``count`` frames that is mirrored at both ends without repeating the end frames."""
    period = max(2 * (count - 1), 1)
    folded = np.mod(index, period)
    return np.minimum(folded, period - folded) if count > 1 else np.zeros_like(index)


def clip_starts(count: int, clip_len: int, stride: int) -> np.ndarray:
    """First frames of all windows of a video; the last window is always among them.

    A video shorter than a clip is extended by mirroring ``clip_len - 1`` frames at each end, as the official code
    does, so that starts may be negative: see :func:`reflect`.

    Raises:
        ValueError: the video has no frame.
    """
    if count < 1:
        raise ValueError('a video without frames has no clips')
    first, last = (0, count - clip_len) if count >= clip_len else (1 - clip_len, count - 1)
    starts = np.arange(first, last + 1, stride)
    return starts if starts[-1] == last else np.append(starts, last)


@DATASETS.register_module()
class FaceClips(LongList):
    """Clips of faces, listed by ``tools/dataset_converters/ftcn_faces.py`` as JSON lines, one for each face of a video.

    A line is ``{"frames": "dir", "video": "name", "label": 1, "method": "Deepfakes", "split": "train"}``; ``frames`` is a
    folder of PNG or JPEG crops in order of time, relative to ``data_root``; label 1 is fake. With a ``track.npz`` beside
    them the crops are loose and a clip is aligned when it is read, with one transform; without it they are aligned already.
    ``frames: null`` stands for a video without a face: ``metainfo['faceless']`` holds these for the metric. Lines of the tool
    state which crops there are: ``suffix`` and ``runs``, lists of first frame and length. Folders of other lines are listed
    once, when the data set is built; none is listed when a clip is read. A clip lies within one run.

    Args:
        ann_file: the list, relative to ``data_root``.
        split: 'train' draws random windows, half of them real and the fakes balanced over the methods; any other
            split gives ``clips_per_video`` windows at even distances, or all at ``clip_stride``.
        methods: which manipulations take part beside the reals; ``None`` takes all.
        clips_per_video: windows of a video, in an epoch of training or in an evaluation.
        clip_stride: in an evaluation all windows at this distance, and the last one, in place of ``clips_per_video``.
        faces: 'largest' takes the face of a video with the largest box, 'all' takes all. ``None`` is 'largest' in training,
            since the other faces of a forged video may be real, else 'all'.
        size: side of the aligned crops in pixels.
        jitter: landmarks are moved by up to this many pixels before the alignment, all frames of a clip alike.

    Raises:
        FileNotFoundError: a folder of the list is missing or holds no image.
        ValueError: the split is empty, or lacks one of the classes in training.
    """

    def __init__(
        self,
        ann_file: str,
        split: str,
        pipeline: list,
        methods: list[str] | None = None,
        clip_len: int = 32,
        clips_per_video: int = 4,
        clip_stride: int | None = None,
        faces: str | None = None,
        size: int = 224,
        jitter: float = 0.0,
        **kwargs,
    ) -> None:
        if faces not in (None, 'largest', 'all'):
            raise ValueError(f"faces must be 'largest' or 'all', got {faces!r}")
        self.split, self.methods, self.clip_len, self.clips_per_video = split, methods, clip_len, clips_per_video
        self.faces, self.size, self.jitter = faces or ('largest' if split == 'train' else 'all'), size, jitter
        self.clip_stride = clip_stride
        super().__init__(ann_file=ann_file, pipeline=pipeline, test_mode=split != 'train', **kwargs)

    def load_data_list(self) -> list[dict]:
        lines = read_json_lines(self.ann_file, dict(frames=str | None, label=int, method=str, split=str))
        rows = [
            dict(row, video=row.get('video', row['frames'])) for row in lines if row['split'] == self.split and self._wanted(row)
        ]
        self._metainfo['faceless'] = [(row['video'], row['method'], row['label']) for row in rows if row['frames'] is None]
        rows = [row for row in rows if row['frames'] is not None]
        if self.faces == 'largest':
            largest = {row['video']: row for row in sorted(rows, key=lambda row: row.get('side', 0))}
            rows = [row for row in rows if largest[row['video']] is row]
        require_inside(self.data_root, (row['frames'] for row in rows), self.ann_file)
        rows = [self._with_files(row) for row in rows]
        if not rows or not self.test_mode and {row['label'] for row in rows} != {0, 1}:
            needs = 'real (0) and fake (1) videos' if not self.test_mode else 'videos with a face'
            raise DataError(f'{self.ann_file}: the split {self.split!r} needs {needs}, {len(rows)} found.')
        return [dict(row, start=start) for row in rows for start in self._starts(row)]

    def _starts(self, row: dict) -> list[int]:
        """Where the clips of a face start among its crops."""
        if self.clip_stride and self.test_mode:
            return self._windows(row, self.clip_stride).tolist()
        starts = self._windows(row, 1)
        return starts[np.linspace(0, len(starts) - 1, self.clips_per_video).round().astype(int)].tolist()

    def _windows(self, row: dict, stride: int) -> np.ndarray:
        """All starts of windows at a distance, see :func:`clip_starts`, in the runs that are long enough, or in the longest."""
        runs = self._usable_runs(row)
        return np.concatenate([offset + clip_starts(length, self.clip_len, stride) for offset, length in runs])

    def _usable_runs(self, row: dict) -> list[tuple[int, int]]:
        """Place among the crops and length of each run that holds a clip, or of the longest run."""
        lengths = [length for _, length in row['runs']]
        runs = list(zip((np.cumsum(lengths) - lengths).tolist(), lengths, strict=True))
        return [run for run in runs if run[1] >= self.clip_len] or [max(runs, key=lambda run: run[1])]

    def _clip(self, row: dict, start: int) -> np.ndarray:
        """Which of the crops are in the clip from ``start`` on."""
        numbers = start + np.arange(self.clip_len)
        if start >= 0 and any(offset <= start and start + self.clip_len <= offset + n for offset, n in self._usable_runs(row)):
            return numbers
        ((offset, length),) = self._usable_runs(row)
        return offset + reflect(numbers - offset, length)

    def _wanted(self, row: dict) -> bool:
        return row['label'] == 0 or self.methods is None or row['method'] in self.methods

    def _with_files(self, row: dict) -> dict:
        """A row that says which crops there are; a folder is listed only where the list does not say it."""
        folder = Path(self.data_root, row['frames'])
        if isinstance(row.get('runs'), list) and row['runs'] and row.get('suffix') in SUFFIXES and folder.is_dir():
            return row
        if not (files := images_of(folder)):
            raise MissingFileError(f'{folder}: no face crops (PNG, JPEG, ...) for a video of the list.')
        return dict(row, names=[file.name for file in files], runs=[[row.get('first', 0), len(files)]])

    def full_init(self) -> None:
        super().full_init()
        self.groups = self.positions(lambda row: row['method'] if row['label'] else '')

    def prepare_data(self, idx: int) -> dict:
        row = self.get_data_info(idx if self.test_mode else self._balanced_index())
        start = row['start'] if self.test_mode else int(np.random.choice(self._windows(row, 1)))
        crops = self._clip(row, start)
        frames = np.concatenate([first + np.arange(length) for first, length in row['runs']])
        facts = dict(video=row['video'], method=row['method'], gt_label=row['label'], track=row.get('track', 0))
        if 'source' in row:
            facts['person'] = row['source']
        names = [row['names'][k] if 'names' in row else file_name(frames[k], row['suffix']) for k in crops]
        files = [os.path.join(self.data_root, row['frames'], name) for name in names]
        return self.pipeline(dict(facts, clip=self._read(row, files, crops), frames=frames[crops]))

    def _read(self, row: dict, files: list[str], numbers: np.ndarray) -> np.ndarray:
        """An aligned clip (T, size, size, 3) of the crops with these numbers."""
        try:
            crops = [read_rgb(file) for file in files]
        except ImageError as error:
            raise ImageError(f'{error} The list states it: run tools/dataset_converters/ftcn_faces.py again.') from None
        track = Path(self.data_root) / row['frames'] / TRACK
        if not track.is_file():
            return np.stack(crops)
        with np.load(track) as facts:
            corners, landmarks = facts['corners'][numbers], facts['landmarks'][numbers]
        moved = landmarks + np.random.uniform(-self.jitter, self.jitter, (5, 2)) if self.jitter else landmarks
        return align_clip(crops, corners, moved, self.size)

    def _balanced_index(self) -> int:
        fakes = sorted(set(self.groups) - {''})
        group = '' if np.random.rand() < 0.5 else fakes[np.random.randint(len(fakes))]
        return int(np.random.choice(self.groups[group]))


def jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    """An RGB frame (H, W, 3) behind JPEG."""
    return _coded(frame, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _coded(frame: np.ndarray, options: list[int]) -> np.ndarray:
    """An RGB frame behind JPEG; OpenCV's order of the channels decides which of them are compressed most."""
    file = cv2.imencode('.jpg', cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), options)[1]
    return cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@TRANSFORMS.register_module()
class AugmentClip(BaseTransform):
    """Flip, brightness, lower resolution, JPEG and black erasing, each drawn once for a clip.

    Drawn for each frame they would imitate forgery. The choices are ours; the official augmentation was never released.

    Args:
        flip, light, scale, jpeg, erase: probability of each.
    """

    def __init__(self, flip: float = 0.5, erase: float = 0.5, jpeg: float = 0.3, light: float = 0.3, scale: float = 0.3) -> None:
        self.flip, self.erase, self.jpeg, self.light, self.scale = flip, erase, jpeg, light, scale

    def transform(self, results: dict) -> dict:
        """Changes ``clip`` (T, H, W, 3) uint8."""
        clip = results['clip'].copy()
        height, width = clip.shape[1:3]
        if np.random.rand() < self.flip:
            clip = clip[:, :, ::-1].copy()
        if np.random.rand() < self.light:
            gain, offset = 1 + np.random.uniform(-0.1, 0.1), np.random.uniform(-25, 25)
            clip = np.clip(np.arange(256) * gain + offset, 0, 255).astype(np.uint8)[clip]  # a table of all values
        if np.random.rand() < self.scale:
            share = np.random.uniform(64 / 224, 1)
            small = max(1, round(share * width)), max(1, round(share * height))
            lower = [cv2.resize(frame, small, interpolation=cv2.INTER_AREA) for frame in clip]
            clip = np.stack([cv2.resize(frame, (width, height)) for frame in lower])
        if np.random.rand() < self.jpeg:
            quality = int(np.random.randint(60, 101))
            clip = np.stack([jpeg(frame, quality) for frame in clip])
        if np.random.rand() < self.erase:
            side = np.sqrt(np.random.uniform(0.02, 0.2))
            top, left = (int(np.random.rand() * n * (1 - side)) for n in (height, width))
            clip[:, top : top + int(side * height), left : left + int(side * width)] = 0
        return dict(results, clip=clip)


@TRANSFORMS.register_module()
class StoreAsJPEG(BaseTransform):
    """Every frame behind JPEG as tools/ftcn_faces.py stores crops: shows what the format costs without a second copy on disk.

    Args:
        quality: 1 to 100.

    Raises:
        ValueError: it is not.
    """

    def __init__(self, quality: int = 95) -> None:
        if not 1 <= quality <= 100:
            raise ValueError(f'quality must be from 1 to 100, got {quality}')
        self.quality = quality

    def transform(self, results: dict) -> dict:
        """Changes ``clip`` (T, H, W, 3) uint8."""
        options = FORMATS['.jpg'](self.quality)
        return dict(results, clip=np.stack([_coded(frame, options) for frame in results['clip']]))


@TRANSFORMS.register_module()
class PackClip(BaseTransform):
    """``clip`` (T, H, W, 3) to the input (3, T, H, W) and a sample with ``video``, ``track``, ``method`` and ``gt_label``.

    ``person`` and ``frames``, the numbers (T,) of the frames in the video, are in the sample where they are known.
    """

    def transform(self, results: dict) -> dict:
        keys = ('video', 'method', 'gt_label', 'person', 'frames')
        sample = BaseDataElement(**{key: results[key] for key in keys if key in results}, track=results.get('track', 0))
        inputs = torch.from_numpy(channels_first(results['clip']))
        return dict(inputs=inputs, data_samples=sample)
