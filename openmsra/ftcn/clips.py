"""Clips of aligned faces: the windows of a video, the data set of prepared crops, clip-consistent augmentation."""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset
from mmengine.structures import BaseDataElement

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
class FaceClips(BaseDataset):
    """Clips of aligned faces, listed as JSON lines ``{"frames": "dir", "label": 1, "method": "Deepfakes", "split": "train"}``.

    ``frames`` is a folder of PNG or JPEG crops in order of time, relative to ``data_root``; label 1 is fake.

    Args:
        ann_file: the list, relative to ``data_root``.
        split: 'train' draws random windows, half of them real and the fakes balanced over the methods; any other
            split gives ``clips_per_video`` windows at even distances.
        methods: which manipulations take part beside the reals; ``None`` takes all.
        clips_per_video: windows of a video, in an epoch of training or in an evaluation.

    Raises:
        FileNotFoundError: a folder of the list is missing or holds no image.
        ValueError: the split lacks one of the classes in training.
    """

    def __init__(self, ann_file: str, split: str, pipeline: list, methods: list[str] | None = None, clip_len: int = 32,
                 clips_per_video: int = 4, **kwargs) -> None:  # fmt: skip
        self.split, self.methods, self.clip_len, self.clips_per_video = split, methods, clip_len, clips_per_video
        super().__init__(ann_file=ann_file, pipeline=pipeline, test_mode=split != 'train', **kwargs)

    def load_data_list(self) -> list[dict]:
        lines = [json.loads(line) for line in Path(self.ann_file).read_text().splitlines() if line.strip()]
        rows = [row for row in lines if row['split'] == self.split and self._wanted(row)]
        for row in rows:
            row['files'] = self._files(Path(self.data_root) / row['frames'])
        if not self.test_mode and {row['label'] for row in rows} != {0, 1}:
            raise ValueError(f'{self.ann_file}: the training split needs real (0) and fake (1) videos, {len(rows)} found.')
        return [dict(row, clip=k) for row in rows for k in range(self.clips_per_video)]

    def _wanted(self, row: dict) -> bool:
        return row['label'] == 0 or self.methods is None or row['method'] in self.methods

    @staticmethod
    def _files(folder: Path) -> list[str]:
        files = sorted(str(path) for path in folder.glob('*') if path.suffix.lower() in ('.png', '.jpg', '.jpeg'))
        if not files:
            raise FileNotFoundError(f'{folder}: no face crops (PNG or JPEG) for a video of the list.')
        return files

    def full_init(self) -> None:
        super().full_init()
        self.groups: dict[str, list[int]] = {}
        for index in range(len(self)):
            row = self.get_data_info(index)
            self.groups.setdefault(row['method'] if row['label'] else '', []).append(index)

    def prepare_data(self, idx: int) -> dict:
        if not self.test_mode:
            idx = self._balanced_index()
        row = self.get_data_info(idx)
        starts = clip_starts(len(row['files']), self.clip_len, 1)
        start = starts[np.linspace(0, len(starts) - 1, self.clips_per_video).round().astype(int)[row['clip']]]
        if not self.test_mode:
            start = np.random.choice(starts)
        numbers = reflect(start + np.arange(self.clip_len), len(row['files']))
        clip = np.stack([_read_rgb(row['files'][i]) for i in numbers])
        return self.pipeline(dict(clip=clip, video=row['frames'], method=row['method'], gt_label=row['label']))

    def _balanced_index(self) -> int:
        fakes = sorted(set(self.groups) - {''})
        group = '' if np.random.rand() < 0.5 else fakes[np.random.randint(len(fakes))]
        return int(np.random.choice(self.groups[group]))


def _read_rgb(path: str) -> np.ndarray:
    image = cv2.imread(path)
    if image is None:
        raise OSError(f'{path}: not a readable image')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@TRANSFORMS.register_module()
class AugmentClip(BaseTransform):
    """Flip, black erasing, JPEG and brightness, each drawn once for a clip: drawn per frame they would imitate forgery.

    The choices are ours; the official augmentation was never released.

    Args:
        flip, erase, jpeg, light: probability of each.
    """

    def __init__(self, flip: float = 0.5, erase: float = 0.5, jpeg: float = 0.3, light: float = 0.3) -> None:
        self.flip, self.erase, self.jpeg, self.light = flip, erase, jpeg, light

    def transform(self, results: dict) -> dict:
        """Changes ``clip`` (T, H, W, 3) uint8."""
        clip = results['clip'].copy()
        if np.random.rand() < self.flip:
            clip = clip[:, :, ::-1].copy()
        if np.random.rand() < self.light:
            gain, offset = 1 + np.random.uniform(-0.1, 0.1), np.random.uniform(-25, 25)
            clip = np.clip(clip * gain + offset, 0, 255).astype(np.uint8)
        if np.random.rand() < self.jpeg:
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(np.random.randint(60, 101))]
            clip = np.stack([cv2.imdecode(cv2.imencode('.jpg', frame, quality)[1], cv2.IMREAD_COLOR) for frame in clip])
        if np.random.rand() < self.erase:
            height, width = clip.shape[1:3]
            side = np.sqrt(np.random.uniform(0.02, 0.2))
            top, left = (int(np.random.rand() * n * (1 - side)) for n in (height, width))
            clip[:, top : top + int(side * height), left : left + int(side * width)] = 0
        return dict(results, clip=clip)


@TRANSFORMS.register_module()
class PackClip(BaseTransform):
    """``clip`` (T, H, W, 3) to the input (3, T, H, W) and a sample with ``video``, ``method`` and ``gt_label``."""

    def transform(self, results: dict) -> dict:
        sample = BaseDataElement(**{key: results[key] for key in ('video', 'method', 'gt_label')})
        inputs = torch.from_numpy(np.ascontiguousarray(results['clip'].transpose(3, 0, 1, 2)))
        return dict(inputs=inputs, data_samples=sample)
