"""PIPAL in the split of CKDN, and what all data sets of scored images share."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from openmsra.common.annotations import read_text
from openmsra.common.files import existing_files
from openmsra.engine.data.rows import LongList
from openmsra.errors import AnnotationError, DataError, MissingFileError
from openmsra.registry import DATASETS

TRAIN_VERSIONS = {
    0: (0, 1, *range(8, 12)),
    1: tuple(range(9)),
    2: tuple(range(10)),
    3: (*range(5), *range(11, 17)),
    4: tuple(range(8, 13)),
    5: (*range(4), *range(8, 13)),
}
VAL_VERSIONS = {
    0: tuple(range(2, 8)),
    1: tuple(range(9, 16)),
    3: (*range(5, 11), *range(17, 24)),
    4: tuple(range(8)),
    5: (*range(4, 8), 13),
}
COUNTS = {0: 12, 1: 16, 2: 10, 3: 24, 4: 13, 5: 14, 6: 27}  # versions of each type
TYPES = {
    0: 'traditional SR',
    1: 'PSNR-oriented SR',
    2: 'SR with kernel mismatch',
    3: 'GAN-based SR',
    4: 'denoising',
    5: 'SR and denoising',
    6: 'traditional distortions',
}
SCORE = re.compile(r'-?\d+(\.\d+)?')
NAME = re.compile(r'(A\d{4})_(\d\d)_(\d\d)\.bmp')
ROLES = {'train': ('restored', 'degraded', 'pristine', 'other'), 'val': ('restored', 'degraded')}


def version_ids(split: str, types: tuple[int, ...] = tuple(COUNTS), split_by: str = 'scene+version') -> set[tuple[int, int]]:
    """(type, number) of the versions of a split.

    Args:
        split: 'train' or 'val'.
        types: which types to keep.
        split_by: 'scene+version' is the paper's: versions of training and evaluation are disjoint, so that a method
            cannot be recognised, and type 6, which has no degraded input, is in neither. 'scene' takes all versions.
    """
    if split_by == 'scene':
        return {(kind, number) for kind, count in COUNTS.items() if kind in types for number in range(count)}
    table = {'train': TRAIN_VERSIONS, 'val': VAL_VERSIONS}[split]
    return {(kind, number) for kind, numbers in table.items() if kind in types for number in numbers}


def require_files(rows: list[dict]) -> None:
    """Raise unless every image of the rows exists and has one score; the message counts the others and names the first."""
    paths = [path for row in rows for key, path in row.items() if key.endswith('_path')]
    if len(existing_files('.', paths)) < len(paths):
        absent = [path for path in paths if not Path(path).is_file()]
        raise MissingFileError(f'{len(absent)} images are missing, the first: {absent[0]}')
    restored = Counter(row['restored_path'] for row in rows)
    if twice := [path for path, count in restored.items() if count > 1]:
        raise AnnotationError(f'{len(twice)} images have more than one score in the label files, the first: {twice[0]}')


class ScoredImages(LongList):
    """Rows with ``{role}_path``, ``scene`` and ``gt_score``, the common part of the data sets.

    Args:
        split: 'train' or 'val'.
        roles: which images are loaded; default: for training all, with another restored version of the scene, drawn anew
            in each epoch, for 'val' the restored and the degraded one.
    """

    def __init__(self, split: str, roles: tuple[str, ...] | None = None, **kwargs) -> None:
        if split not in ROLES:
            raise ValueError(f"split must be 'train' or 'val', got {split!r}")
        self.split, self.roles = split, tuple(roles or ROLES[split])
        if 'restored' not in self.roles or set(self.roles) - set(ROLES['train']):
            raise ValueError(f"roles must be of {ROLES['train']} with 'restored' among them, got {self.roles}")
        super().__init__(**kwargs)

    def prepare_data(self, idx: int) -> dict:
        row = self.get_data_info(idx)
        if 'other' in self.roles:
            other = self.get_data_info(int(np.random.choice(self.by_scene[row['scene']])))
            row |= dict(other_path=other['restored_path'], gt_other_score=other['gt_score'])
        return self.pipeline(
            {key: value for key, value in row.items() if not key.endswith('_path') or key.removesuffix('_path') in self.roles}
        )

    def full_init(self) -> None:
        super().full_init()
        self.by_scene = self.positions(lambda row: row['scene'])


@DATASETS.register_module()
class PIPALDataset(ScoredImages):
    """PIPAL in the split of CKDN: scenes and restored versions of training and evaluation are disjoint.

    ``data_root`` holds ``Train_Ref``, ``Train_Label``, ``Train_Dist`` (or ``Distortion_1`` to ``_4``) and, for matched
    degraded images, ``Train_Degraded/ref_A0001_00_00.bmp``, the input of every version. Scores are (Elo - 900) / 1000.

    Args:
        split: 'train' or 'val'.
        val_scenes: scenes of the evaluation: their ids, or how many of the last of the sorted ids (the official list is
            unpublished). They are printed.
        reserved_scenes: scenes that are left out before ``val_scenes`` are taken, ids or how many of the last: a test on
            them is not used for the selection of a checkpoint.
        types: types of distortion to keep, 0 to 6.
        split_by: 'scene+version' (paper) or 'scene', see :func:`version_ids`.
        degraded: 'matched'; 'pristine' gives the pristine image in its place; 'synthetic' loads none:
            put :class:`openmsra.ckdn.data.degrade.SyntheticDegraded` into the pipeline, and 'pristine' into ``roles``.
        roles: see :class:`ScoredImages`.

    Raises:
        FileNotFoundError: a folder or an image of the split is missing.
        ValueError: a malformed label line or an unknown option.
    """

    def __init__(
        self,
        data_root: str,
        split: str,
        pipeline: list,
        val_scenes: int | list[str] = 25,
        reserved_scenes: int | list[str] = 0,
        types: tuple[int, ...] = tuple(COUNTS),
        split_by: str = 'scene+version',
        degraded: str = 'matched',
        roles: tuple[str, ...] | None = None,
        **kwargs,
    ) -> None:
        for name, value, valid in (
            ('split_by', split_by, ('scene+version', 'scene')),
            ('degraded', degraded, ('matched', 'synthetic', 'pristine')),
        ):
            if value not in valid:
                raise ValueError(f'PIPALDataset: {name} must be one of {valid}, got {value!r}')
        self.val_scenes, self.reserved_scenes = val_scenes, reserved_scenes
        self.types, self.split_by, self.degraded = tuple(types), split_by, degraded
        super().__init__(split=split, roles=roles, data_root=data_root, pipeline=pipeline, **kwargs)
        if degraded == 'synthetic' and 'pristine' not in self.roles:
            raise ValueError("PIPALDataset: synthetic degraded images are made from the pristine ones; add 'pristine' to roles.")

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        labels = {file.stem: file for file in sorted((root / 'Train_Label').glob('A*.txt'))}
        reserved = _chosen(root, list(labels), self.reserved_scenes)
        held_out = _chosen(root, [scene for scene in labels if scene not in reserved], self.val_scenes)
        scenes = held_out if self.split == 'val' else set(labels) - held_out - reserved
        versions = version_ids(self.split, self.types, self.split_by)
        rows = [row for scene in sorted(scenes) for row in self._rows(root, labels[scene], versions)]
        if not rows:
            raise DataError(f'PIPALDataset: no versions of types {self.types} in the {self.split} split ({self.split_by}).')
        require_files(rows)
        if self.split == 'val':
            print_log(f'PIPALDataset: evaluation on {len(scenes)} scenes: {", ".join(sorted(scenes))}', 'current')
        return rows

    def _rows(self, root: Path, file: Path, versions: set) -> list[dict]:
        rows = []
        for line in read_text(file).split():
            name, _, elo = line.partition(',')
            match = NAME.fullmatch(name)
            if match is None or not SCORE.fullmatch(elo):
                raise AnnotationError(f'{file}: {line!r} is not a line like A0001_00_00.bmp,1520.0648')
            if (int(match[2]), int(match[3])) in versions:
                paths = self._paths(root, name, root / 'Train_Ref' / f'{match[1]}.bmp')
                rows.append(
                    dict(
                        paths,
                        scene=match[1],
                        version=f'{match[2]}_{match[3]}',
                        distortion=TYPES[int(match[2])],
                        gt_score=(float(elo) - 900) / 1000,
                    )
                )
        return rows

    def _paths(self, root: Path, name: str, pristine: Path) -> dict[str, str]:
        folders = [root / 'Train_Dist', *(root / f'Distortion_{i}' for i in range(1, 5))]
        restored = next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)
        paths = dict(restored_path=str(restored), pristine_path=str(pristine))
        if self.degraded != 'synthetic':
            matched = root / 'Train_Degraded' / f'ref_{name}'
            paths['degraded_path'] = str(matched if self.degraded == 'matched' else pristine)
        return paths


def _chosen(root: Path, scenes: list[str], wanted: int | list[str]) -> set[str]:
    """The wanted ones of the sorted scene ids; a number takes the last."""
    if isinstance(wanted, int):
        if len(scenes) <= wanted:
            raise MissingFileError(f'{root}/Train_Label: {len(scenes)} scene files, more than {wanted} needed.')
        return set(scenes[len(scenes) - wanted :])
    unknown = set(wanted) - set(scenes)
    if unknown:
        raise MissingFileError(f'{root}/Train_Label: no file for the scenes {sorted(unknown)}.')
    return set(wanted)
