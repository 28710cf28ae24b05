"""Scenes made from photographs whose restored versions look alike and differ in truth, with labels of formulas; no human looked.

A version is the smooth part of the degraded patch plus detail: cos(a) of the pristine patch's, sin(a) of another photograph's,
of equal energy. All are equally sharp and clean; how much of the detail is true, a says. The versions peek at the pristine patch:
they stand for restorers that guess well or badly, and are none.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dataset import BaseDataset
from PIL import Image

from openmsra.ckdn.data import quality
from openmsra.common.images import list_images, read_rgb
from openmsra.engine.checkpoint.files import write_durably
from openmsra.errors import DataError, MissingFileError
from openmsra.registry import DATASETS

SMOOTH = 1.5  # pixels: below this deviation is detail
FLATTEST = 20.0  # grey levels: patches of a smaller standard deviation show nothing
ELO = 120.0  # a standard deviation of ranks in Elo points; the mean is 1500


def noisy(patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of 10 to 35 grey levels."""
    return patch + rng.normal(0, rng.uniform(10, 35), patch.shape)


def blurred(patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur of 0.8 to 1.6 pixels, noise of 4 grey levels."""
    return cv2.GaussianBlur(patch, (0, 0), rng.uniform(0.8, 1.6)) + rng.normal(0, 4, patch.shape)


def halved(patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half the resolution, back by bicubic interpolation, noise of 2 grey levels."""
    height, width = patch.shape[:2]
    small = cv2.resize(patch, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 2, patch.shape)


DEGRADATIONS: dict[str, Callable] = {'noise': noisy, 'blur': blurred, 'half': halved}


def equal_look(degraded: np.ndarray, pristine: np.ndarray, other: np.ndarray, angle: float) -> np.ndarray:
    """A version (H, W, 3) of a patch, float: smooth(D) + cos(a) detail(P) + sin(a) detail(P'), P' scaled to the energy of P.

    Args:
        degraded, pristine, other: patches (H, W, 3); ``other`` is of another photograph.
        angle: a in [0, pi / 2]; 0 gives the true detail.
    """
    smooth, true, false = (np.asarray(patch, np.float64) for patch in (degraded, pristine, other))
    true, false = (patch - cv2.GaussianBlur(patch, (0, 0), SMOOTH) for patch in (true, false))
    false = false * np.sqrt((true**2).sum() / max((false**2).sum(), 1e-9))
    return cv2.GaussianBlur(smooth, (0, 0), SMOOTH) + np.cos(angle) * true + np.sin(angle) * false


def labels_of(versions: np.ndarray, pristine: np.ndarray) -> np.ndarray:
    """Scores (S, V) of versions (S, V, H, W, 3): the mean of the ranks in the scene by SSIM, GMSD, FSIM and VIF.

    Ranks are standardised in the scene, z, and stand for Elo points of 1500 + 120 z; a score is (Elo - 900) / 1000.
    """
    from scipy.stats import rankdata

    scenes, count = versions.shape[:2]
    restored = _grey(versions.reshape(-1, *versions.shape[2:]))
    reference = _grey(pristine).repeat_interleave(count, 0)
    measures = []
    for measure, sign in ((quality.ssim, 1), (quality.gmsd, -1), (quality.fsim, 1), (quality.vif, 1)):
        values = [measure(a, b) for a, b in zip(restored.split(192), reference.split(192), strict=True)]
        measures.append(rankdata(sign * torch.cat(values).numpy().reshape(scenes, count), axis=1))
    ranks = np.mean(measures, axis=0)
    spread = ranks.std(1, keepdims=True)
    standard = (ranks - ranks.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1)
    return (((1500 - 900) + ELO * standard) / 1000).astype(np.float32)


def _grey(patches: np.ndarray) -> torch.Tensor:
    return quality.grey(torch.from_numpy(patches).movedim(-1, 1).float())


def make_scenes(photographs: Sequence[Path], per_photograph: int, size: int, versions: int, seed: int) -> dict[str, np.ndarray]:
    """Scenes of photographs, all uint8: ``pristine``, ``degraded`` (S, H, W, 3), ``restored`` (S, V, H, W, 3), ``label`` (S, V).

    Also ``photograph`` and ``degradation`` (S,), names. Every scene has one degradation; the detail that is not true comes from
    the next photograph of the list.

    Raises:
        DataError: a photograph without a patch that shows something, or fewer than two photographs.
    """
    if len(photographs) < 2:
        raise DataError(f'{len(photographs)} photographs: detail of another one is needed, so at least two.')
    rng = np.random.default_rng(seed)
    patches = [_patches(path, per_photograph, size, rng) for path in photographs]
    scenes: dict[str, list] = {name: [] for name in ('pristine', 'degraded', 'restored', 'photograph', 'degradation')}
    for number, (path, own) in enumerate(zip(photographs, patches, strict=True)):
        for index, pristine in enumerate(own):
            kind = str(rng.choice(list(DEGRADATIONS)))
            degraded = _bytes(DEGRADATIONS[kind](pristine.astype(np.float64), rng))
            other = patches[(number + 1) % len(patches)][index]
            restored = [equal_look(degraded, pristine, other, angle) for angle in rng.uniform(0, np.pi / 2, versions)]
            row = dict(pristine=pristine, degraded=degraded, restored=_bytes(np.stack(restored)))
            for name, value in (row | dict(photograph=path.stem, degradation=kind)).items():
                scenes[name].append(value)
    arrays = {name: np.stack(values) for name, values in scenes.items()}
    return arrays | dict(label=labels_of(arrays['restored'], arrays['pristine']))


def _patches(path: Path, count: int, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    image, kept = read_rgb(path), []
    for _ in range(50 * count):
        top, left = (int(rng.integers(max(1, side - size + 1))) for side in image.shape[:2])
        patch = image[top : top + size, left : left + size]
        if patch.shape[:2] == (size, size) and patch.std() >= FLATTEST:
            kept.append(patch)
        if len(kept) == count:
            return kept
    raise DataError(f'{path}: no {count} patches of {size} pixels that show something; leave it out.')


def _bytes(pixels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def write_scenes(
    folder: Path, file: Path, per_photograph: dict[str, int], size: int = 48, versions: int = 6, seed: int = 0
) -> None:
    """Scenes of the sub-folders that ``per_photograph`` names, into one ``.npz``, written at once."""
    arrays = {}
    for number, (part, count) in enumerate(per_photograph.items()):
        scenes = make_scenes(list_images(folder / part), count, size, versions, seed + number)
        arrays |= {f'{part}_{name}': value for name, value in scenes.items()}
    write_durably(file, lambda stream: np.savez(stream, **arrays))


@DATASETS.register_module()
class PhotoVersions(BaseDataset):
    """Versions of scenes from a file that ``tools/dataset_converters/ckdn_versions.py`` writes; an item is one version.

    Args:
        ann_file: the ``.npz`` file.
        split: the part of the file, 'train', 'val' or 'test'.
        labelled: share of the scenes that have labels, evenly chosen; the number of items stays the same.
        extra_pairs: add a degraded and a pristine patch of any scene to each item, without labels.

    Raises:
        MissingFileError: there is no such file.
        DataError: it lacks the part.
    """

    def __init__(
        self, ann_file: str, split: str, pipeline: list, labelled: float = 1.0, extra_pairs: bool = False, **kwargs
    ) -> None:
        if not 0 < labelled <= 1:
            raise DataError(f'PhotoVersions: labelled={labelled} must lie in (0, 1].')
        self.split, self.labelled, self.extra_pairs = split, labelled, extra_pairs
        super().__init__(ann_file=ann_file, pipeline=pipeline, serialize_data=False, **kwargs)

    def load_data_list(self) -> list[dict]:
        if not Path(self.ann_file).is_file():
            raise MissingFileError(
                f'{self.ann_file}: there is no such file of scenes. Make it from photographs:\n'
                f'    python tools/dataset_converters/ckdn_versions.py FOLDER --out {self.ann_file}'
            )
        with np.load(self.ann_file) as stored:
            parts = sorted(name.removesuffix('_label') for name in stored.files if name.endswith('_label'))
            if self.split not in parts:
                raise DataError(f'{self.ann_file}: no part {self.split!r}; it has {", ".join(parts)}.')
            names = ('pristine', 'degraded', 'restored', 'label', 'photograph', 'degradation')
            self.scenes = {name: stored[f'{self.split}_{name}'] for name in names}
        count, versions = self.scenes['label'].shape
        chosen = np.linspace(0, count, max(1, round(self.labelled * count)), endpoint=False).astype(int)
        return [
            dict(
                index=(int(s), v),
                scene=f'{self.scenes["photograph"][s]}-{s}',
                version=str(v),
                distortion=str(self.scenes['degradation'][s]),
                gt_score=float(self.scenes['label'][s, v]),
            )
            for s in np.resize(chosen, count)
            for v in range(versions)
        ]

    def prepare_data(self, idx: int) -> dict:
        row = self.get_data_info(idx)
        s, v = row.pop('index')
        images = dict(restored=self.scenes['restored'][s, v])
        images |= {role: self.scenes[role][s] for role in ('degraded', 'pristine')}
        if self.split == 'train':
            other = int(np.random.randint(self.scenes['label'].shape[1]))
            images['other'] = self.scenes['restored'][s, other]
            row['gt_other_score'] = float(self.scenes['label'][s, other])
        if self.extra_pairs:
            s = int(np.random.randint(len(self.scenes['label'])))
            images |= dict(extra_degraded=self.scenes['degraded'][s], extra_pristine=self.scenes['pristine'][s])
        return self.pipeline(row | {role: Image.fromarray(pixels) for role, pixels in images.items()})
