"""Forgeries of a clip with itself: what each change does, what is drawn once and what for each frame."""

import cv2
import numpy as np
import pytest
from skimage import data

from openmsra.ftcn.data.forge import CHANGES, ForgeFace, Recipe, coded, draw_recipe, ellipses, forge, resampled, warped

STILL = np.repeat(data.astronaut()[None, :112, 150:262], 6, axis=0)  # photographs of scikit-image, not of the data set


def neutral(frames: int = 6, **changes) -> Recipe:
    each = np.ones(frames)
    values = dict(centres=np.full((frames, 2), 0.5), radii=np.full((frames, 2), 0.3), edge=0.2, opacity=1.0)
    values |= dict(shifts=np.zeros((frames, 2)), angles=0 * each, scales=each, gains=np.ones((frames, 3)))
    values |= dict(offsets=np.zeros((frames, 3)), factors=each, qualities=np.zeros(frames, int))
    return Recipe(**(values | changes))


def test_neutral_recipe_changes_nothing():
    np.testing.assert_array_equal(forge(STILL, neutral()), STILL)


def test_ellipse_is_the_formula():
    """Distance in radii from the centre, a line of the width of the edge around 1."""
    centres, radii = np.array([[0.4, 0.6], [0.5, 0.5]]), np.array([[0.2, 0.3], [0.1, 0.4]])
    weights = ellipses(20, 10, centres, radii, 0.25)
    assert weights.shape == (2, 20, 10, 1)
    for t, row, column in [(0, 12, 4), (0, 16, 5), (0, 17, 3), (1, 0, 0), (1, 9, 5), (1, 13, 5)]:
        x, y = (column + 0.5) / 10, (row + 0.5) / 20
        distance = np.hypot((x - centres[t, 0]) / radii[t, 0], (y - centres[t, 1]) / radii[t, 1])
        assert weights[t, row, column, 0] == pytest.approx(min(max((1 - distance) / 0.25 + 0.5, 0), 1), abs=1e-6)


def test_shift_of_whole_pixels_moves_the_pixels():
    shifts = np.tile([3 / 112, -2 / 112], (6, 1))
    moved = warped(STILL, shifts, np.zeros(6), np.ones(6))
    np.testing.assert_array_equal(moved[:, :-2, 3:], STILL[:, 2:, :-3])


def test_each_change_is_where_the_ellipse_is_and_nowhere_else():
    recipes = dict(
        gains=np.full((6, 3), 1.1),
        offsets=np.full((6, 3), -9.0),
        shifts=np.full((6, 2), 0.02),
        factors=np.full(6, 3.0),
        qualities=np.full(6, 10),
    )
    outside = ellipses(112, 112, np.full((6, 2), 0.5), np.full((6, 2), 0.3), 0.2)[..., 0] == 0
    for name, values in recipes.items():
        out = forge(STILL, neutral(**{name: values}))
        np.testing.assert_array_equal(out[outside], STILL[outside], name)
        assert np.abs(out[~outside].astype(int) - STILL[~outside]).mean() > 1, name
    half = forge(STILL, neutral(offsets=np.full((6, 3), 20.0), opacity=0.5))
    centre = STILL[:, 56, 56].astype(int)
    np.testing.assert_allclose(half[:, 56, 56], np.minimum(centre + 10, (centre + 255) / 2), atol=1)


def test_resampling_and_coding_are_frame_by_frame():
    factors, qualities = np.array([1, 2, 1, 4, 1, 1.0]), np.array([0, 20, 0, 0, 0, 0])
    coarse, squeezed = resampled(STILL, factors), coded(STILL, qualities)
    half = cv2.resize(cv2.resize(STILL[1], (56, 56), interpolation=cv2.INTER_AREA), (112, 112))
    np.testing.assert_array_equal(coarse[1], half)
    assert [bool((a == b).all()) for a, b in zip(coarse, STILL, strict=True)] == [True, False, True, False, True, True]
    assert [bool((a == b).all()) for a, b in zip(squeezed, STILL, strict=True)] == [True, False, True, True, True, True]


@pytest.mark.parametrize('change', CHANGES)
def test_without_jitter_all_frames_are_alike_and_with_it_none(change):
    rng = np.random.default_rng(0)
    once, each = (forge(STILL, draw_recipe(6, rng, jitter, (change,))) for jitter in (0.0, 2.0))
    assert (once == once[:1]).all() and not np.array_equal(once, STILL)
    assert all(not np.array_equal(a, b) for a, b in zip(each[1:], each[:-1], strict=True))


def test_recipes_stay_in_range_and_changes_left_out_are_neutral():
    rng = np.random.default_rng(0)
    for _ in range(200):
        recipe = draw_recipe(8, rng, 4.0, ('jpeg',))
        assert recipe.qualities.min() >= 1 and recipe.qualities.max() <= 100 and recipe.radii.min() > 0
        assert (recipe.factors == 1).all() and (recipe.shifts == 0).all() and (recipe.gains == 1).all()
        assert draw_recipe(8, rng, 4.0, ('resample',)).factors.min() >= 1


def test_seed_and_video_and_window_fix_the_forgery():
    def made(seed, video='a', first=0):
        results = dict(clip=STILL, video=video, frames=first + np.arange(6), forge=True)
        return ForgeFace(seed=seed).transform(results)['clip']

    np.testing.assert_array_equal(made(1), made(1))
    assert all(not np.array_equal(made(1), other) for other in (made(2), made(1, 'b'), made(1, first=3)))
    np.random.seed(0)
    first = made(None)
    assert not np.array_equal(first, made(None))
    np.random.seed(0)
    np.testing.assert_array_equal(first, made(None))


def test_real_clips_pass_and_the_input_stays():
    results = dict(clip=STILL, video='a', frames=np.arange(6), forge=False)
    assert ForgeFace().transform(results) is results
    before = STILL.copy()
    ForgeFace().transform(dict(results, forge=True))
    np.testing.assert_array_equal(STILL, before)


@pytest.mark.parametrize('options', [dict(jitter=(1, 0)), dict(jitter=(-1, 1)), dict(changes=()), dict(changes=('swap',))])
def test_options_out_of_range_are_named(options):
    with pytest.raises(ValueError, match='|'.join(options)):
        ForgeFace(**options)


def test_recipe_of_another_length_is_refused():
    with pytest.raises(ValueError, match='5 frames and a clip of 6'):
        forge(STILL, neutral(5))
