"""Correlations against SciPy, undefined groups, the PIPAL split."""

import numpy as np
import pytest
from scipy import stats

from openmsra.ckdn import IQACorrelation
from openmsra.ckdn.datasets import version_ids


def test_groups_are_averaged_and_undefined_ones_counted():
    rng = np.random.default_rng(0)
    rows = [(scene, float(s), float(t)) for scene in 'ab' for s, t in rng.integers(0, 6, (9, 2))]
    rows += [('constant', 0.5, t / 9) for t in range(5)]
    result = IQACorrelation().compute_metrics(rows)
    expected = [stats.spearmanr(*np.array([row[1:] for row in rows if row[0] == scene]).T)[0] for scene in 'ab']
    assert result['SRCC'] == pytest.approx(np.mean(expected))
    assert (result['groups'], result['skipped_groups']) == (2, 1)
    assert result == pytest.approx(IQACorrelation().compute_metrics(rows[::-1]))


def test_split_of_the_versions():
    train, val = version_ids('train'), version_ids('val')
    assert (len(train), len(val)) == (50, 39)
    assert not train & val
    assert 6 not in {kind for kind, _ in train | val}
