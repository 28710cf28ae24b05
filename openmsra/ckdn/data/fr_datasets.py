"""KADID-10k, TID2013, LIVE and CSIQ: scored distortions of pristine images, with synthetic degraded inputs.

These data sets hold distorted, not restored images, and no inputs of a restoration. They serve to train and test on more
human scores; figures on them are not those of the paper.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from openmsra.ckdn.data.pipal import ScoredImages, require_files
from openmsra.common.annotations import read_text, require_inside
from openmsra.errors import AnnotationError, DataError, MissingFileError, UserError
from openmsra.registry import DATASETS

# distorted and pristine image, relative to the folder of the data set, distortion, score in (0, 1), higher is better
Row = tuple[str, str, str, float]
LIVE_COUNTS = {'jp2k': 227, 'jpeg': 233, 'wn': 174, 'gblur': 174, 'fastfading': 174}  # in the order of the score files
CSIQ_FOLDERS = {
    'noise': 'AWGN',
    'blur': 'BLUR',
    'contrast': 'contrast',
    'fnoise': 'fnoise',
    'jpeg': 'JPEG',
    'jpeg 2000': 'jpeg2000',
}


def read_kadid10k(root: Path) -> Iterator[Row]:
    """``dmos.csv`` (dist_img, ref_img, dmos 1 to 5, higher is better) beside ``images/``."""
    for row in _table(root / 'dmos.csv', ('dist_img', 'ref_img', 'dmos')):
        kind = row['dist_img'].split('_')[1]
        yield f'images/{row["dist_img"]}', f'images/{row["ref_img"]}', kind, (float(row['dmos']) - 1) / 4


def read_tid2013(root: Path) -> Iterator[Row]:
    """``mos_with_names.txt`` (MOS 0 to 9, higher is better), ``distorted_images/``, ``reference_images/``."""
    files = {folder: _by_lower_name(root / folder) for folder in ('distorted_images', 'reference_images')}
    for line in _lines(root / 'mos_with_names.txt'):
        score, name = line.split()
        scene, kind, _ = name.split('_')
        pristine = files['reference_images'].get(f'{scene}.bmp'.lower(), f'{scene}.BMP')
        distorted = files['distorted_images'].get(name.lower(), name)
        yield f'distorted_images/{distorted}', f'reference_images/{pristine}', kind, float(score) / 9


def read_live(root: Path) -> Iterator[Row]:
    """Release 2: ``dmos_realigned.mat``, ``refnames_all.mat``, a folder for each distortion, ``refimgs/``; DMOS, lower is better.

    The realigned scores lie between -3 and 112; (115 - DMOS) / 120 is the score. Undistorted copies are left out.
    """
    from scipy.io import loadmat

    labels = loadmat(_existing(root / 'dmos_realigned.mat'))
    names = [str(name.item()) for name in loadmat(_existing(root / 'refnames_all.mat'))['refnames_all'].ravel()]
    dmos, copies = labels['dmos_new'].ravel(), labels['orgs'].ravel()
    images = [(kind, number) for kind, count in LIVE_COUNTS.items() for number in range(1, count + 1)]
    if not len(names) == len(dmos) == len(images):
        raise AnnotationError(f'{root}: {len(images)} images are expected, there are {len(dmos)} scores and {len(names)} names.')
    for (kind, number), name, value, copy in zip(images, names, dmos, copies, strict=True):
        if not copy:
            yield f'{kind}/img{number}.bmp', f'refimgs/{name}', kind, (115 - float(value)) / 120


def read_csiq(root: Path) -> Iterator[Row]:
    """``csiq.DMOS.csv``: the sheet ``all_by_image`` of the published ``csiq.DMOS.xlsx``, saved as CSV (image, dst_type,

    dst_lev, dmos; 0 to 1, lower is better), beside ``dst_imgs/`` and ``src_imgs/``.
    """
    for row in _table(root / 'csiq.DMOS.csv', ('image', 'dst_type', 'dst_lev', 'dmos')):
        folder = CSIQ_FOLDERS.get(row['dst_type'].strip().lower())
        if folder is None:
            raise AnnotationError(f'{root}/csiq.DMOS.csv: unknown dst_type {row["dst_type"]!r}; known: {sorted(CSIQ_FOLDERS)}')
        name = f'{row["image"]}.{folder}.{int(float(row["dst_lev"]))}.png'
        yield f'dst_imgs/{folder}/{name}', f'src_imgs/{row["image"]}.png', folder, 1 - float(row['dmos'])


READERS = {'kadid10k': read_kadid10k, 'tid2013': read_tid2013, 'live': read_live, 'csiq': read_csiq}


@DATASETS.register_module()
class FRLabelDataset(ScoredImages):
    """Distorted images with human scores; the degraded input is made from the pristine image in the pipeline.

    Put :class:`openmsra.ckdn.data.degrade.SyntheticDegraded` behind ``LoadPair``.

    Args:
        data_root: folder as the data set is unpacked.
        source: 'kadid10k', 'tid2013', 'live' or 'csiq'.
        split: 'train' or 'val', by scene.
        val_fraction: share of the scenes, the last of the sorted ids, in 'val'.

    Raises:
        FileNotFoundError: label file or images are missing.
        ValueError: an unknown source, malformed labels, or labels that lead out of ``data_root``.
    """

    def __init__(
        self,
        data_root: str,
        source: str,
        split: str,
        pipeline: list,
        val_fraction: float = 0.2,
        roles: tuple[str, ...] | None = None,
        **kwargs,
    ) -> None:
        if source not in READERS:
            raise ValueError(f'FRLabelDataset: source must be one of {sorted(READERS)}, got {source!r}')
        if not 0 < val_fraction < 1:
            raise ValueError(f'FRLabelDataset: val_fraction must lie between 0 and 1, got {val_fraction}')
        self.source, self.val_fraction = source, val_fraction
        default = ('restored', 'pristine', 'other') if split == 'train' else ('restored', 'pristine')
        super().__init__(split=split, roles=roles or default, data_root=data_root, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        try:
            table = list(READERS[self.source](root))
        except UserError:
            raise
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise AnnotationError(f'{root}: a line of the labels of {self.source} has another form ({error!r}).') from None
        require_inside(root, {name for row in table for name in row[:2]}, f'labels of {self.source}')
        scene_of = {name: Path(name).stem.lower() for name in {pristine for _, pristine, _, _ in table}}
        rows = [
            dict(
                restored_path=os.path.normpath(os.path.join(root, distorted)),
                pristine_path=os.path.normpath(os.path.join(root, pristine)),
                scene=scene_of[pristine],
                distortion=kind,
                gt_score=score,
            )
            for distorted, pristine, kind, score in table
        ]
        scenes = sorted({row['scene'] for row in rows})
        count = max(1, round(self.val_fraction * len(scenes)))
        if count >= len(scenes):
            raise DataError(f'{self.data_root}: {len(scenes)} scenes are too few to hold out {count}.')
        held_out = set(scenes[-count:])
        chosen = [row for row in rows if (row['scene'] in held_out) == (self.split == 'val')]
        require_files(chosen)
        return chosen


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise MissingFileError(f'{file}: there is no such label file; data_root is the folder that holds it.')
    return file


def _lines(file: Path) -> list[str]:
    return [line for line in read_text(_existing(file)).splitlines() if line.strip()]


def _table(file: Path, columns: tuple[str, ...]) -> Iterator[dict]:
    rows = csv.DictReader(_lines(file))
    absent = set(columns) - set(rows.fieldnames or ())
    if absent:
        raise AnnotationError(f'{file}: columns {sorted(absent)} are missing; found: {rows.fieldnames}')
    yield from rows


def _by_lower_name(folder: Path) -> dict[str, str]:
    """Names of files by lower-case name: the archives of TID2013 mix the case."""
    return {path.name.lower(): path.name for path in folder.glob('*')}
