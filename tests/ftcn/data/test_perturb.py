"""The seven perturbations on real frames: what they keep, how strong they are, what is drawn once."""

import cv2
import numpy as np
import pytest
from skimage import data

from openmsra.ftcn import PerturbClip, SoftenClip
from openmsra.ftcn.data.perturb import BLOCK, KINDS, LEVELS, RANDOM, sharpness, soften

ASTRONAUT = data.astronaut()


@pytest.fixture(scope='module')
def clip():
    return np.stack([ASTRONAUT[0:121, 100 + 2 * k : 251 + 2 * k] for k in range(5)])  # odd sides


def perturbed(clip, kind, level, video='a', **options):
    return PerturbClip(kind, level, **options).transform(dict(clip=clip, video=video))['clip']


@pytest.mark.parametrize('kind', KINDS)
def test_damage_grows_with_the_level_and_the_input_stays(clip, kind):
    before = clip.copy()
    out = [perturbed(clip, kind, level) for level in range(6)]
    assert all(other.shape == clip.shape and other.dtype == np.uint8 for other in out)
    errors = [np.square(other.astype(float) - clip).mean() for other in out]
    assert errors[0] == 0 and errors == sorted(errors) and errors[1] > 1 and errors[5] > 1.2 * errors[1]
    np.testing.assert_array_equal(clip, before)
    np.testing.assert_array_equal(out[3], perturbed(clip, kind, 3))


@pytest.mark.parametrize('kind', RANDOM)
def test_draws_of_frames_of_clips_and_of_videos(kind):
    still = np.full((4, 64, 64, 3), 90, np.uint8)
    each, once = (perturbed(still, kind, 5, temporal=temporal) for temporal in ('frame', 'clip'))
    assert not np.array_equal(each[0], each[1]) and (once == once[:1]).all() and not np.array_equal(once, still)
    assert not np.array_equal(once, perturbed(still, kind, 5, video='b', temporal='clip'))


@pytest.mark.parametrize('kind', sorted(set(KINDS) - set(RANDOM) - {'compression'}))
def test_still_clips_stay_still(clip, kind):
    out = perturbed(np.repeat(clip[:1], 4, axis=0), kind, 4)
    assert (out == out[:1]).all()


def test_strengths_are_the_published_ones(clip):
    grey = perturbed(clip, 'saturation', 5)
    assert np.ptp(grey.astype(int), axis=-1).max() <= 1
    np.testing.assert_allclose(perturbed(clip, 'contrast', 2), 0.725 * clip, atol=0.5 + 1e-3)
    np.testing.assert_array_equal(perturbed(clip, 'blur', 1)[2], cv2.GaussianBlur(clip[2], (7, 7), 7 / 6))
    mid = np.full((2, 256, 256, 3), 128, np.uint8)
    noisy = cv2.cvtColor(perturbed(mid, 'noise', 4)[0], cv2.COLOR_RGB2YCrCb)[..., 0]
    assert noisy.std() == pytest.approx(255 * np.sqrt(LEVELS['noise'][3]), rel=0.05)
    black = np.zeros((1, 256, 256, 3), np.uint8)
    share = (perturbed(black, 'blocks', 5) == 128).mean()
    assert 0.5 < share / (80 * BLOCK**2 / 256**2) <= 1  # squares may overlap


def test_bad_options_are_refused():
    for options in (dict(kind='fog', level=1), dict(kind='blur', level=6), dict(kind='noise', level=1, temporal='always')):
        with pytest.raises(ValueError, match='kind must be one of saturation'):
            PerturbClip(**options)


def test_clips_are_softened_to_one_sharpness_and_not_beyond(clip):
    target = sharpness(clip) / 3
    soft = SoftenClip(target).transform(dict(clip=clip))['clip']
    assert 0.9 * target < sharpness(soft) <= target
    np.testing.assert_array_equal(soften(soft, target), soft)
    grey = cv2.cvtColor(clip[0], cv2.COLOR_RGB2GRAY).astype(float)
    padded = np.pad(grey, 1, mode='reflect')
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * grey
    assert sharpness(clip[:1]) == pytest.approx(laplacian.var(), rel=1e-5)
    with pytest.raises(ValueError, match='above 0'):
        SoftenClip(0.0)
