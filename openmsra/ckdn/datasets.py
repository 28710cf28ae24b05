"""Data sets of restored images with their degraded inputs."""

import re
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset
from PIL import Image, ImageFilter

from openmsra.registry import DATASETS

TRAIN_VERSIONS = {0: (0, 1, *range(8, 12)), 1: tuple(range(9)), 2: tuple(range(10)), 3: (*range(5), *range(11, 17)),
                  4: tuple(range(8, 13)), 5: (*range(4), *range(8, 13))}  # fmt: skip
VAL_VERSIONS = {0: tuple(range(2, 8)), 1: tuple(range(9, 16)), 3: (*range(5, 11), *range(17, 24)), 4: tuple(range(8)),
                5: (*range(4, 8), 13)}  # fmt: skip
NAME = re.compile(r'(A\d{4})_(\d\d)_(\d\d)\.bmp')


def version_ids(split: str) -> set[tuple[int, int]]:
    """(type, number) of the restored versions of a split; disjoint, so that a method cannot be recognised."""
    table = {'train': TRAIN_VERSIONS, 'val': VAL_VERSIONS}[split]
    return {(kind, number) for kind, numbers in table.items() for number in numbers}


@DATASETS.register_module()
class PIPALDataset(BaseDataset):
    """PIPAL in the split of CKDN: scenes and restored versions of training and evaluation are disjoint.

    ``data_root`` holds ``Train_Ref``, ``Train_Label``, ``Train_Dist`` (or ``Distortion_1`` to ``_4``) and
    ``Train_Degraded/ref_A0001_00_00.bmp``, the matched input of every version.

    Args:
        split: 'train' or 'val'.
        val_scenes: scenes of the evaluation; the official list is unpublished, so the last of the sorted ids.

    Raises:
        FileNotFoundError: a folder or an image of the split is missing.
    """

    def __init__(self, data_root: str, split: str, pipeline: list, val_scenes: int = 25, **kwargs) -> None:
        self.split, self.val_scenes = split, val_scenes
        super().__init__(data_root=data_root, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        labels = sorted((root / 'Train_Label').glob('A*.txt'))
        if len(labels) <= self.val_scenes:
            raise FileNotFoundError(f'{root}/Train_Label: {len(labels)} scene files, more than {self.val_scenes} needed.')
        chosen = labels[-self.val_scenes :] if self.split == 'val' else labels[: -self.val_scenes]
        versions = version_ids(self.split)
        rows = [row for file in chosen for row in self._rows(root, file, versions)]
        absent = [row[key] for row in rows for key in ('restored_path', 'degraded_path', 'pristine_path')
                  if not Path(row[key]).is_file()]  # fmt: skip
        if absent:
            raise FileNotFoundError(f'{len(absent)} images are missing, the first: {absent[0]}')
        return rows

    def _rows(self, root: Path, file: Path, versions: set) -> list[dict]:
        rows = []
        for line in file.read_text().split():
            name, elo = line.split(',')
            match = NAME.fullmatch(name)
            if match is None:
                raise ValueError(f'{file}: {name!r} is not a name like A0001_00_00.bmp')
            if (int(match[2]), int(match[3])) in versions:
                folders = [root / 'Train_Dist', *(root / f'Distortion_{i}' for i in range(1, 5))]
                restored = next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)
                rows.append(dict(restored_path=str(restored), degraded_path=str(root / 'Train_Degraded' / f'ref_{name}'),
                                 pristine_path=str(root / 'Train_Ref' / f'{match[1]}.bmp'), scene=match[1],
                                 version=f'{match[2]}_{match[3]}', gt_score=(float(elo) - 900) / 1000))  # fmt: skip
        return rows

    def prepare_data(self, idx: int) -> dict:
        row = self.get_data_info(idx)
        if self.split == 'train':
            scene = self.by_scene[row['scene']]
            other = self.get_data_info(int(np.random.choice(scene)))
            row |= dict(other_path=other['restored_path'], gt_other_score=other['gt_score'])
        else:
            row.pop('pristine_path')
        return self.pipeline(row)

    def full_init(self) -> None:
        super().full_init()
        self.by_scene: dict[str, list[int]] = {}
        for index in range(len(self)):
            self.by_scene.setdefault(self.get_data_info(index)['scene'], []).append(index)


@DATASETS.register_module()
class PhotoPairs(BaseDataset):
    """Photographs of scikit-learn and scikit-image, degraded by noise and restored by filters of several strengths.

    There are no human scores: the label of a version is 1 / (1 + RMSE / 20) against the pristine photograph.

    Args:
        split: 'train' or 'val'; the photographs are disjoint.
        size: side of the square patches in pixels.
    """

    def __init__(self, split: str, pipeline: list, size: int = 64, **kwargs) -> None:
        self.split, self.size = split, size
        super().__init__(pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        from skimage import data
        from sklearn.datasets import load_sample_image

        photos = dict(astronaut=data.astronaut(), chelsea=data.chelsea(), china=load_sample_image('china.jpg'),
                      coffee=data.coffee(), rocket=data.rocket(), flower=load_sample_image('flower.jpg'))  # fmt: skip
        names = sorted(photos)[:4] if self.split == 'train' else sorted(photos)[4:]
        return [row for name in names for k in range(4) for row in self._versions(name, photos[name], k)]

    def _versions(self, name: str, photo: np.ndarray, k: int) -> list[dict]:
        rng = np.random.default_rng([k, *name.encode()])
        top, left = (int(rng.integers(n - self.size)) for n in photo.shape[:2])
        pristine = photo[top : top + self.size, left : left + self.size]
        noisy = np.clip(pristine + rng.normal(0, 15 + 8 * k, pristine.shape), 0, 255).astype(np.uint8)
        degraded = Image.fromarray(noisy)
        restored = [degraded, *(degraded.filter(ImageFilter.GaussianBlur(r)) for r in (0.7, 1.5, 3)),
                    degraded.filter(ImageFilter.MedianFilter(3))]  # fmt: skip
        error = [np.sqrt(np.mean((np.asarray(image, float) - pristine) ** 2)) for image in restored]
        score = [float(1 / (1 + value / 20)) for value in error]
        return [dict(restored=image, degraded=degraded, pristine=Image.fromarray(pristine), other=restored[i - 1],
                     gt_score=score[i], gt_other_score=score[i - 1], scene=f'{name}{k}')
                for i, image in enumerate(restored)]  # fmt: skip
