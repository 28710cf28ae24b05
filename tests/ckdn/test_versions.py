"""Scenes made from photographs, their labels, and the formulas behind them."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr

from openmsra.ckdn import PhotoVersions
from openmsra.ckdn.data import quality, versions
from openmsra.ckdn.data.transforms import PackPair
from openmsra.errors import DataError, MissingFileError


def _smooth_noise(rng, size, count=1):
    import cv2

    images = rng.normal(0, 1, (count, size, size, 3))
    images = np.stack([cv2.GaussianBlur(image, (0, 0), 1.0) for image in images])
    return np.clip(127 + 60 * images / images.std(), 0, 255)


@pytest.fixture(scope='module')
def pairs():
    """Twelve grey patches and noisy copies, (12, 48, 48) each."""
    rng = np.random.default_rng(0)
    pristine = torch.from_numpy(_smooth_noise(rng, 48, 12)[..., 0])
    noise = torch.from_numpy(rng.normal(0, 1, pristine.shape) * np.linspace(2, 40, 12)[:, None, None])
    return pristine + noise, pristine


def test_ssim_is_that_of_scikit_image(pairs):
    from skimage.metrics import structural_similarity

    expected = [
        structural_similarity(a.numpy(), b.numpy(), data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        for a, b in zip(*pairs, strict=True)
    ]
    assert quality.ssim(*pairs).numpy() == pytest.approx(expected, abs=1e-6)


def test_gmsd_is_that_of_a_loop(pairs):
    first, second = (x[3].numpy() for x in pairs)
    halves = [x.reshape(24, 2, 24, 2).mean((1, 3)) for x in (first, second)]
    maps = []
    for image in halves:
        padded, values = np.pad(image, 1), np.zeros((24, 24))
        for i in range(24):
            for j in range(24):
                window = padded[i : i + 3, j : j + 3]
                across, down = window[:, 0].sum() - window[:, 2].sum(), window[0].sum() - window[2].sum()
                values[i, j] = np.hypot(across / 3, down / 3)
        maps.append(values)
    similarity = (2 * maps[0] * maps[1] + 170) / (maps[0] ** 2 + maps[1] ** 2 + 170)
    assert float(quality.gmsd(*pairs)[3]) == pytest.approx(similarity.std(), abs=1e-9)


@pytest.mark.parametrize(('measure', 'sign', 'best'), [(quality.fsim, 1, 1.0), (quality.vif, 1, 1.0), (quality.gmsd, -1, 0.0)])
def test_measures_fall_with_noise(pairs, measure, sign, best):
    values = sign * measure(*pairs)
    assert spearmanr(values, -np.arange(12)).statistic > 0.95
    assert measure(pairs[1], pairs[1]).numpy() == pytest.approx([best] * 12, abs=1e-6)


def test_fsim_is_that_of_another_implementation(pairs):
    """Values of pyiqa 0.1.16 for these patches."""
    expected = [
        0.999146,
        0.994373,
        0.987060,
        0.980081,
        0.974687,
        0.957644,
        0.951184,
        0.942706,
        0.930169,
        0.928026,
        0.911605,
        0.898406,
    ]
    assert quality.fsim(*pairs).numpy() == pytest.approx(expected, abs=1e-5)


def test_versions_have_equal_energy_of_detail():
    rng = np.random.default_rng(1)
    degraded, pristine, other = _smooth_noise(rng, 48, 3)
    smooth = versions.equal_look(degraded, np.full_like(pristine, 9.0), other, 0.0)  # no detail at all
    details = [versions.equal_look(degraded, pristine, 3 * other, angle) - smooth for angle in (0.0, np.pi / 2)]
    assert (details[0] ** 2).sum() == pytest.approx((details[1] ** 2).sum())
    half = versions.equal_look(degraded, pristine, other, np.pi / 4) - smooth
    assert half == pytest.approx((details[0] + details[1]) / 2**0.5)


@pytest.fixture(scope='module')
def archive(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp('photographs'), np.random.default_rng(2)
    for part in ('train', 'test'):
        (root / part).mkdir()
        for number in range(3):
            Image.fromarray(_smooth_noise(rng, 80)[0].astype(np.uint8)).save(root / part / f'{number}.png')
    versions.write_scenes(root, root / 'scenes.npz', dict(train=4, test=1), versions=5)
    return root / 'scenes.npz'


def test_label_ranks_the_versions_of_a_scene(archive):
    with np.load(archive) as stored:
        labels, restored, pristine = (stored[f'train_{name}'] for name in ('label', 'restored', 'pristine'))
        assert len(set(map(tuple, labels.round(4).tolist()))) > 1, 'the number of a version says nothing'
    assert labels.shape == (12, 5) and labels.mean(1) == pytest.approx([0.6] * 12) and labels.std(1) == pytest.approx([0.12] * 12)
    error = ((restored.astype(float) - pristine[:, None]) ** 2).mean((2, 3, 4))
    assert np.mean([spearmanr(-e, label).statistic for e, label in zip(error, labels, strict=True)]) > 0.7


def test_items_are_versions_of_a_scene(archive):
    dataset = PhotoVersions(str(archive), 'train', [PackPair()])
    item = dataset[7]
    with np.load(archive) as stored:
        assert (item['inputs']['restored'].permute(1, 2, 0).numpy() == stored['train_restored'][1, 2]).all()
        assert (item['inputs']['degraded'].permute(1, 2, 0).numpy() == stored['train_degraded'][1]).all()
        assert item['data_samples'].gt_score == pytest.approx(stored['train_label'][1, 2])
    assert len(dataset) == 60 and item['data_samples'].version == '2' and set(item['inputs']) >= {'pristine', 'other'}


def test_few_labels_keep_the_number_of_items(archive):
    dataset = PhotoVersions(str(archive), 'train', [PackPair()], labelled=0.25, extra_pairs=True)
    scenes = {dataset.get_data_info(i)['scene'] for i in range(len(dataset))}
    assert len(dataset) == 60 and len(scenes) == 3
    assert {'extra_degraded', 'extra_pristine'} <= set(dataset[0]['inputs'])


def test_faults_are_named(archive, tmp_path):
    with pytest.raises(MissingFileError, match='ckdn_versions.py'):
        PhotoVersions(str(tmp_path / 'none.npz'), 'train', [])
    with pytest.raises(DataError, match="no part 'val'; it has test, train"):
        PhotoVersions(str(archive), 'val', [])
    (tmp_path / 'train').mkdir()
    for number in range(2):
        Image.new('RGB', (60, 60), 'grey').save(tmp_path / f'train/{number}.png')
    with pytest.raises(DataError, match='show something'):
        versions.write_scenes(tmp_path, tmp_path / 'x.npz', dict(train=1))


def test_stem_without_stride_keeps_the_size():
    from openmsra.ckdn import CKDN

    model = CKDN(depth=18, base_channels=8, head_dim=8, stem_stride=1, stem_pool=False, imagenet_weights=None)
    assert model.embed_restored(torch.zeros(1, 3, 48, 48)).shape == (1, 8, 48, 48)
    official = CKDN(depth=18, base_channels=8, head_dim=8, imagenet_weights=None)
    assert official.embed_restored(torch.zeros(1, 3, 48, 48)).shape == (1, 8, 12, 12)
