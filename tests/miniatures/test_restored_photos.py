"""The miniature data: restorers, labels and splits; whole archives are made by the mini config."""

import cv2
import numpy as np
import pytest
from skimage import data
from skimage.metrics import structural_similarity

from openmsra.ckdn import PackPair
from openmsra.miniatures import restored_photos as archive
from openmsra.miniatures.restored_photos import RestoredPhotos
from openmsra.miniatures.restorers import classical_restorers, hallucinated, mixed, train_denoisers


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(archive, 'PATCHES', dict(train=2, val=1, test=1))
    patch.setattr(archive, 'STEPS', (1, 2))
    versions = {
        split: tuple(name.replace('_150', '_1').replace('_600', '_2') for name in names)
        for split, names in archive.VERSIONS.items()
    }
    patch.setattr(archive, 'VERSIONS', versions)
    place = tmp_path_factory.mktemp('photos') / 'archive.npz'
    archive.write_archive(place)
    yield place
    patch.undo()


def test_photographs_and_restorers_of_the_test_are_unseen():
    photos = [set(names) for names in archive.PHOTOS.values()]
    assert sum(map(len, photos)) == len(set.union(*photos)) == 19
    assert set(archive.VERSIONS['train']) & set(archive.VERSIONS['test']) == {'identity'}


def test_labels_are_ranks_by_ssim_within_a_degraded_patch(file):
    with np.load(file) as stored:
        assert sorted(path.name for path in file.parent.iterdir()) == ['archive.npz']
        labels, restored, pristine = (stored[f'test_{name}'] for name in ('label', 'restored', 'pristine'))
        assert stored['train_label'].shape == (24, 4, 8)
    assert restored.shape[:3] == labels.shape == (4, 4, 10)
    values = [structural_similarity(version, pristine[2], channel_axis=-1) for version in restored[2, 1]]
    assert list(np.argsort(values)) == list(np.argsort(labels[2, 1]))
    np.testing.assert_allclose(labels.mean(-1), 0.5, atol=1e-6)
    assert labels.min() > 0 and labels.max() < 1


def test_items_hold_what_a_split_may_see(file):
    train = RestoredPhotos(str(file), 'train', [PackPair()])
    assert set(train[0]['inputs']) == {'restored', 'degraded', 'pristine', 'other'}
    test = RestoredPhotos(str(file), 'test', [PackPair()])
    item = test[5]
    assert 'other' not in item['inputs'] and item['data_samples'].version in archive.VERSIONS['test']
    assert not item['inputs']['degraded'].equal(item['inputs']['pristine'])
    full = RestoredPhotos(str(file), 'test', [PackPair()], reference='pristine')[5]['inputs']
    assert full['degraded'].equal(full['pristine']) and full['restored'].equal(item['inputs']['restored'])
    few = RestoredPhotos(str(file), 'train', [PackPair()], labelled_patches=3, extra_pairs=True)
    scenes = {few.get_data_info(index)['scene'].partition('-')[0] for index in range(len(few))}
    assert len(few) == len(train) and len(scenes) == 3
    assert set(few[0]['inputs']) - set(train[0]['inputs']) == {'extra_degraded', 'extra_pristine'}
    with pytest.raises(ValueError, match='between 1 and 24'):
        RestoredPhotos(str(file), 'train', [], labelled_patches=25)
    with pytest.raises(ValueError, match='split must be'):
        RestoredPhotos(str(file), 'tset', [])


def test_restorers_keep_the_shape_and_change_the_patch():
    patch = data.astronaut()[100:148, 200:248]
    noisy = np.clip(patch + np.random.default_rng(0).normal(0, 20, patch.shape), 0, 255).astype(np.uint8)
    for name, restore in classical_restorers().items():
        result = restore(noisy)
        assert (result.shape, result.dtype) == (noisy.shape, np.uint8), name
        assert (name == 'identity') == np.array_equal(result, noisy), name
        if name not in ('identity', 'sharpened', 'richardson_lucy'):
            assert np.abs(result - 1.0 * patch).mean() < np.abs(noisy - 1.0 * patch).mean(), name
    blurred = cv2.GaussianBlur(patch, (0, 0), 1.2)
    for name in ('sharpened', 'richardson_lucy'):
        assert np.abs(classical_restorers()[name](blurred) - 1.0 * patch).mean() < np.abs(blurred - 1.0 * patch).mean(), name
    assert np.array_equal(mixed(patch, noisy, 1.0), patch) and np.array_equal(mixed(patch, noisy, 0.0), noisy)
    texture = data.astronaut()[300:348, 200:248]
    assert np.array_equal(hallucinated(patch, np.zeros_like(texture)), hallucinated(patch, np.zeros_like(texture), 0.0))
    assert not np.array_equal(hallucinated(patch, texture), hallucinated(patch, texture, 0.0))


def test_denoisers_grow_stronger_with_steps():
    photo, rng = data.astronaut(), np.random.default_rng(0)
    patches = np.stack([photo[y : y + 32, x : x + 32] for y, x in rng.integers(0, 400, (40, 2))])
    noisy = np.clip(patches + rng.normal(0, 35, patches.shape), 0, 255).astype(np.uint8)
    kept = train_denoisers(noisy, patches, (1, 40))
    error = {
        steps: np.mean([np.abs(restore(a) - 1.0 * b).mean() for a, b in zip(noisy[:8], patches[:8])])
        for steps, restore in kept.items()
    }
    assert error[40] < 0.9 * error[1]


def test_non_local_means_are_told_which_channel_is_which():
    """OpenCV takes BGR; channels the wrong way round are denoised with the weights of others."""
    patch = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    patch[..., 0] //= 4
    bgr = cv2.fastNlMeansDenoisingColored(cv2.cvtColor(patch, cv2.COLOR_RGB2BGR), None, 12, 12, 5, 11)
    np.testing.assert_array_equal(classical_restorers()['non_local_means'](patch), cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
