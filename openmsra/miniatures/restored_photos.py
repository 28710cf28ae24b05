"""Photographs of installed packages, degraded and restored, labelled by SSIM against the pristine patch.

No human scores exist for these images. The label of a version is its rank by SSIM among the versions of one degraded patch,
so the question is: which restoration of *this* input is best? Photographs and restorers of training and test are disjoint.
"""

from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from PIL import Image

from openmsra.ckdn.data.degrade import LEVELS, degrade
from openmsra.engine.checkpoint.files import write_durably
from openmsra.miniatures.photographs import load_photo
from openmsra.miniatures.restorers import classical_restorers, hallucinated, mixed, train_denoisers
from openmsra.registry import DATASETS

SIZE = 32  # pixels
PHOTOS = {
    'train': ('astronaut', 'chelsea', 'china', 'rocket', 'retina', 'brick', 'grass', 'hubble_deep_field', 'cell',
              'immunohistochemistry', 'moon', 'page'),
    'val': ('coins', 'gravel', 'clock'),
    'test': ('coffee', 'flower', 'camera', 'motorcycle'),
}  # fmt: skip
# identity is the degraded patch itself; an oracle mixes the pristine patch into the result of a restorer, to stand for better
# restorers than can be had here. But for identity, no restorer of the test is among those of the training.
VERSIONS = {
    'train': ('identity', 'gauss_weak', 'median', 'bilateral', 'sharpened', 'hallucinated', 'learned_150', 'oracle_gauss_weak'),
    'val': ('identity', 'gauss_weak', 'median', 'bilateral', 'sharpened', 'hallucinated', 'learned_150', 'oracle_gauss_weak'),
    'test': ('identity', 'gauss_strong', 'non_local_means', 'total_variation', 'wiener', 'richardson_lucy',
             'hallucinated_strong', 'learned_600', 'oracle_total_variation', 'oracle_learned_600'),
}  # fmt: skip
PATCHES = {'train': 24, 'val': 16, 'test': 24}  # of each photograph
STEPS = (150, 600)  # of training of the learned restorers
FLAT = 12  # grey levels; patches of a smaller standard deviation show nothing


@DATASETS.register_module()
class RestoredPhotos(BaseDataset):
    """Versions of small degraded patches; a scene is one degraded patch.

    Args:
        archive: ``.npz`` file with all patches; it is made if it does not exist (a minute, 60 MB).
        split: 'train', 'val' (other photographs, same restorers) or 'test' (other photographs, other restorers).
        reference: what stands in the place of the degraded image: 'degraded' or 'pristine'.
        labelled_patches: how many pristine patches of the split have labels, evenly chosen; ``None``: all. The number
            of items stays the same, so that training takes the same steps.
        extra_pairs: add a degraded and pristine patch of any scene of the split to each item, without labels.
    """

    def __init__(
        self,
        archive: str,
        split: str,
        pipeline: list,
        reference: str = 'degraded',
        labelled_patches: int | None = None,
        extra_pairs: bool = False,
        **kwargs,
    ) -> None:
        if split not in PHOTOS or reference not in ('degraded', 'pristine'):
            raise ValueError(
                f"RestoredPhotos: split must be one of {sorted(PHOTOS)}, reference 'degraded' or 'pristine', "
                f'got {split!r}, {reference!r}'
            )
        self.archive, self.split, self.reference = Path(archive), split, reference
        self.labelled_patches, self.extra_pairs = labelled_patches, extra_pairs
        super().__init__(pipeline=pipeline, serialize_data=False, **kwargs)

    def load_data_list(self) -> list[dict]:
        if not self.archive.is_file():
            write_archive(self.archive)
        with np.load(self.archive) as stored:
            names = ('pristine', 'degraded', 'restored', 'label', 'photo')
            self.pixels = {name: stored[f'{self.split}_{name}'] for name in names}
        scenes, kinds, versions = self.pixels['label'].shape
        labelled = self.labelled_patches or scenes
        if not 0 < labelled <= scenes:
            raise ValueError(f'RestoredPhotos: labelled_patches must lie between 1 and {scenes}, got {labelled}')
        chosen = np.linspace(0, scenes, labelled, endpoint=False).astype(int)
        return [
            dict(
                index=(s, d, v),
                scene=f'{self.pixels["photo"][s]}{s}-{d}',
                version=VERSIONS[self.split][v],
                distortion=sorted(LEVELS)[d],
                gt_score=float(self.pixels['label'][s, d, v]),
            )
            for s in np.resize(chosen, scenes)
            for d in range(kinds)
            for v in range(versions)
        ]

    def prepare_data(self, idx: int) -> dict:
        row = self.get_data_info(idx)
        s, d, v = row.pop('index')
        images = dict(restored=self.pixels['restored'][s, d, v], pristine=self.pixels['pristine'][s])
        images['degraded'] = images['pristine'] if self.reference == 'pristine' else self.pixels['degraded'][s, d]
        if self.split == 'train':
            other = int(np.random.randint(self.pixels['label'].shape[2]))
            images['other'] = self.pixels['restored'][s, d, other]
            row['gt_other_score'] = float(self.pixels['label'][s, d, other])
        if self.extra_pairs:
            s, d = (int(np.random.randint(count)) for count in self.pixels['label'].shape[:2])
            images |= dict(extra_degraded=self.pixels['degraded'][s, d], extra_pristine=self.pixels['pristine'][s])
        return self.pipeline(row | {role: Image.fromarray(pixels) for role, pixels in images.items()})


def write_archive(file: Path) -> None:
    """Make the patches of all splits and write them at once, so that a broken run leaves no half file."""
    print_log(f'RestoredPhotos: making {file}', 'current')
    patches = {split: _patches(split) for split in PHOTOS}
    pristine = patches['train'][0]
    denoisers = train_denoisers(*_pairs(pristine), STEPS)
    restorers = classical_restorers() | {f'learned_{steps}': restorer for steps, restorer in denoisers.items()}
    arrays = {}
    for split, (pristine, photos) in patches.items():
        degraded = _degraded(pristine, split)
        restored = _restored(degraded, pristine, restorers, VERSIONS[split])
        arrays |= {
            f'{split}_pristine': pristine,
            f'{split}_degraded': degraded,
            f'{split}_restored': restored,
            f'{split}_label': _labels(restored, pristine),
            f'{split}_photo': photos,
        }
    write_durably(file, lambda stream: np.savez(stream, **arrays))


def _patches(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Patches (N, SIZE, SIZE, 3) and the photograph of each; none of them flat."""
    patches, names = [], []
    for name in PHOTOS[split]:
        photo, rng = load_photo(name), np.random.default_rng([*name.encode()])
        while names.count(name) < PATCHES[split]:
            top, left = (int(rng.integers(side - SIZE)) for side in photo.shape[:2])
            patch = photo[top : top + SIZE, left : left + SIZE]
            if patch.std() >= FLAT:
                patches.append(patch)
                names.append(name)
    return np.stack(patches), np.array(names)


def _degraded(pristine: np.ndarray, split: str) -> np.ndarray:
    """(N, kinds, SIZE, SIZE, 3): each kind of degradation once, at a random severity."""
    rng = np.random.default_rng([*split.encode()])
    return np.stack(
        [
            [np.asarray(degrade(Image.fromarray(patch), kind, int(rng.integers(1, 6)), rng)) for kind in sorted(LEVELS)]
            for patch in pristine
        ]
    )


def _pairs(pristine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    degraded = _degraded(pristine, 'denoisers')
    return degraded.reshape(-1, *pristine.shape[1:]), np.repeat(pristine, degraded.shape[1], axis=0)


def _restored(degraded: np.ndarray, pristine: np.ndarray, restorers: dict, versions: tuple[str, ...]) -> np.ndarray:
    """(N, kinds, versions, SIZE, SIZE, 3); hallucinated texture comes from the next patch."""
    rng = np.random.default_rng(len(pristine))

    def restore(version: str, s: int, d: int) -> np.ndarray:
        if version.startswith('hallucinated'):
            strength = 1.0 if version.endswith('strong') else 0.6
            return hallucinated(degraded[s, d], pristine[(s + 1) % len(pristine)], strength)
        result = restorers[version.removeprefix('oracle_')](degraded[s, d])
        return mixed(pristine[s], result, rng.uniform(0.3, 0.8)) if version.startswith('oracle_') else result

    return np.stack(
        [[[restore(version, s, d) for version in versions] for d in range(degraded.shape[1])] for s in range(len(degraded))]
    )


def _labels(restored: np.ndarray, pristine: np.ndarray) -> np.ndarray:
    """Ranks by SSIM among the versions of one degraded patch, as (rank + 1/2) / versions; ties get mean ranks."""
    from scipy.stats import rankdata
    from skimage.metrics import structural_similarity

    values = np.array(
        [
            [[structural_similarity(version, patch, channel_axis=-1) for version in versions] for versions in kinds]
            for kinds, patch in zip(restored, pristine, strict=True)
        ]
    )
    return ((rankdata(values, axis=-1) - 0.5) / values.shape[-1]).astype(np.float32)
