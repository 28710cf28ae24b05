"""Mixed batches: counts, groups, ranks, continuation, and errors in the place of endless loops."""

import itertools
import time
from unittest import mock

import numpy as np
import pytest
from mmengine.runner.runner import _SlicedDataset

from openmsra.soft_teacher.data.sampler import MultiSourceSampler, _apportion


class Images:
    """A data set of which only sizes matter; its parts are those of a ConcatDataset."""

    def __init__(self, *tall: list[bool]) -> None:
        self.datasets, self.tall = list(tall), [flag for part in tall for flag in part]

    def __len__(self) -> int:
        return len(self.tall)

    def get_data_info(self, index: int) -> dict:
        return dict(width=10, height=20) if self.tall[index] else dict(width=20, height=10)


MIXED = Images([False] * 6 + [True] * 4, [False] * 70 + [True] * 30)
BORDER = 10  # indices below belong to the labelled images


def _sampler(data=MIXED, size=5, ratio=(1, 4), rank=(0, 1), **kwargs) -> MultiSourceSampler:
    with mock.patch('openmsra.soft_teacher.data.sampler.get_dist_info', return_value=rank):
        return MultiSourceSampler(data, size, ratio, seed=kwargs.pop('seed', 0), **kwargs)


def _batches(sampler: MultiSourceSampler, count: int) -> np.ndarray:
    size = sampler.batch_size
    return np.array(list(itertools.islice(iter(sampler), count * size))).reshape(count, size)


def test_fixed_counts_and_one_aspect_a_batch():
    batches = _batches(_sampler(), 300)
    assert ((batches < BORDER).sum(1) == 1).all()
    tall = np.array(MIXED.tall)[batches]
    assert (tall.all(1) | ~tall.any(1)).all()
    assert 0.25 < tall.all(1).mean() < 0.37  # 34 of 110 images are tall


@pytest.mark.parametrize(
    'size, ratio, mean, histogram',
    [
        (5, (1, 4), 1.327, {1: 0.737, 2: 0.205, 3: 0.051, 4: 0.0067}),
        (8, (1, 1), 4.0, {}),
    ],
)
def test_binomial_counts(size, ratio, mean, histogram):
    sampler = _sampler(size=size, ratio=ratio, mode='binomial')
    labelled = np.array([sampler.counts(batch)[0] for batch in range(10000)])
    assert labelled.min() >= 1 and labelled.max() <= size - 1
    assert labelled.mean() == pytest.approx(mean, abs=0.02)
    for count, share in histogram.items():
        assert (labelled == count).mean() == pytest.approx(share, abs=0.012)


def test_every_image_is_seen_once_before_any_is_seen_twice():
    batches = _batches(_sampler(by_aspect=False), 10)
    labelled = batches[batches < BORDER]
    assert sorted(labelled) == list(range(BORDER))


def test_ranks_read_disjoint_parts_and_agree_on_the_group():
    first, second = (_batches(_sampler(rank=(r, 2), by_aspect=False), 12) for r in range(2))
    unlabelled = [set(part[part >= BORDER]) for part in (first, second)]
    assert not unlabelled[0] & unlabelled[1]
    tall = [np.array(MIXED.tall)[_batches(_sampler(rank=(r, 2)), 50)].all(1) for r in range(2)]
    assert (tall[0] == tall[1]).all()


@pytest.mark.parametrize('mode', ['fixed', 'binomial'])
def test_continuation_is_the_same_stream(mode):
    whole, rest = _sampler(mode=mode), _sampler(mode=mode)
    rest.skip(7 * 5)
    np.testing.assert_array_equal(_batches(whole, 20)[7:], _batches(rest, 13))
    rest.skip(1030 * 5)
    np.testing.assert_array_equal(_batches(whole, 1040)[1030:], _batches(rest, 10))
    assert (_batches(_sampler(seed=1), 20) != _batches(_sampler(), 20)).any()


def test_continuation_at_batch_100000_takes_no_time():
    sampler = _sampler(mode='binomial')
    sampler.skip(100_000 * 5)
    start = time.process_time()
    next(iter(sampler))
    assert time.process_time() - start < 1


@pytest.mark.timeout(20)
def test_group_that_one_source_lacks_is_no_endless_loop():
    wide_labelled = Images([False] * 10, [False] * 50 + [True] * 50)
    batches = _batches(_sampler(wide_labelled), 200)
    assert len({index for index in batches.ravel() if index >= BORDER}) == 100, 'tall images must not be left out for ever'


def test_ratio_falls_at_the_end():
    sampler = _sampler(size=10, ratio=(1, 1), ratio_decay=(100, 200))
    assert [sampler.counts(batch)[0] for batch in (0, 99, 150, 199, 500)] == [5, 5, 3, 1, 1]


@pytest.mark.parametrize(
    'weights, total, counts',
    [((1, 9), 2, [1, 1]), ((1, 4), 5, [1, 4]), ((1, 1), 5, [2, 3]), ((1, 2, 7), 4, [1, 1, 2]), ((98, 1, 1), 5, [3, 1, 1])],
)
def test_fixed_counts_are_fair(weights, total, counts):
    weights = np.array(weights) / sum(weights)
    found = _apportion(weights, total)
    assert sorted(found) == sorted(counts) and sum(found) == total and min(found) >= 1


@pytest.mark.parametrize(
    'data, size, ratio, words',
    [
        (MIXED, 1, (1, 4), 'cannot hold an image of each of 2 sources'),
        (MIXED, 5, (1, 0), 'must be positive'),
        (MIXED, 5, (1, 2, 3), 'give one for each'),
        (Images([], [False]), 5, (1, 4), 'part 0 .* has no images'),
        (_SlicedDataset(MIXED, 8), 5, (1, 4), 'num_batch_per_epoch keeps 8 of 110'),
    ],
)
def test_impossible_batches_are_errors(data, size, ratio, words):
    with pytest.raises(ValueError, match=words):
        _sampler(data, size, ratio)
