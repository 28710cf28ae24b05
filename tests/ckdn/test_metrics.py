"""Correlations against SciPy, undefined groups, fits, and predictors that never look at an image."""

import numpy as np
import pytest
from scipy import stats

from openmsra.ckdn import IQACorrelation
from openmsra.ckdn.metrics import correlations, fit_scores, version_oracle


def rows_of(triples: list[tuple[str, float, float]]) -> list[dict]:
    return [dict(scene=scene, score=score, target=target) for scene, score, target in triples]


def test_groups_are_averaged_and_undefined_ones_counted():
    rng = np.random.default_rng(0)
    triples = [(scene, float(s), float(t)) for scene in 'ab' for s, t in rng.integers(0, 6, (9, 2))]
    triples += [('constant', 0.5, t / 9) for t in range(5)]
    result = IQACorrelation().compute_metrics(rows_of(triples))
    groups = [np.array([row[1:] for row in triples if row[0] == scene]).T for scene in 'ab']
    assert result['SRCC'] == pytest.approx(np.mean([stats.spearmanr(*group)[0] for group in groups]))
    assert result['PLCC'] == pytest.approx(np.mean([stats.pearsonr(*group)[0] for group in groups]))
    assert result['KRCC'] == pytest.approx(np.mean([stats.kendalltau(*group)[0] for group in groups]))
    assert (result['groups'], result['skipped_groups']) == (2, 1)
    assert result == pytest.approx(IQACorrelation().compute_metrics(rows_of(triples[::-1])))
    overall = IQACorrelation(group_by=None).compute_metrics(rows_of(triples))
    assert overall['SRCC'] == pytest.approx(stats.spearmanr(*np.array([row[1:] for row in triples]).T)[0])


def test_intervals_are_over_scenes():
    rng, triples = np.random.default_rng(0), []
    for scene in range(12):
        targets = rng.uniform(size=9)
        triples += [(str(scene), float(t + rng.normal(0, 0.3)), float(t)) for t in targets]
    result = IQACorrelation(bootstrap=4000).compute_metrics(rows_of(triples))
    for name, index in (('SRCC', stats.spearmanr), ('PLCC', stats.pearsonr)):
        values = [index(*np.array([row[1:] for row in triples if row[0] == str(scene)]).T)[0] for scene in range(12)]
        error = np.std(values) / np.sqrt(12)  # normal approximation of the bootstrap
        assert result[f'{name}_low'] == pytest.approx(np.mean(values) - 1.96 * error, abs=0.25 * error)
        assert result[f'{name}_high'] == pytest.approx(np.mean(values) + 1.96 * error, abs=0.25 * error)
    assert 'SRCC_low' not in IQACorrelation(group_by=None).compute_metrics(rows_of(triples))


def test_three_images_with_ties_and_constant_predictors():
    scores, targets = np.array([0.2, 0.2, 0.7]), np.array([0.1, 0.4, 0.9])
    result = correlations(scores, targets)
    assert result['SRCC'] == pytest.approx(stats.spearmanr(scores, targets)[0])
    assert result['pairwise_acc'] == pytest.approx(2 / 3)
    assert correlations(np.full(3, 0.5), targets) is None and correlations(scores[:2], targets[:2]) is None
    figures = IQACorrelation().compute_metrics(rows_of([('a', 0.5, t) for t in (0.1, 0.2, 0.3)]))
    assert np.isnan(figures['SRCC']) and figures['skipped_groups'] == 1
    with pytest.raises(FloatingPointError, match='diverged'):
        correlations(np.array([0.1, np.nan, 0.2]), targets)


@pytest.mark.parametrize('fit', ['logistic4', 'logistic5', 'poly3'])
def test_a_fit_undoes_a_monotone_curve(fit):
    scores = np.random.default_rng(0).uniform(-3, 3, 60)
    targets = 0.2 + 0.6 / (1 + np.exp(-1.5 * scores))
    raw, fitted = correlations(scores, targets), correlations(scores, targets, fit)
    assert fitted['PLCC'] > raw['PLCC'] and fitted['PLCC'] > (0.99 if fit == 'poly3' else 0.9999)
    assert fitted['SRCC'] == raw['SRCC']
    np.testing.assert_allclose(fit_scores(scores, targets, fit), targets, atol=0.05 if fit == 'poly3' else 2e-3)
    down = correlations(scores, 1 - targets, fit)
    assert down['PLCC'] > 0.99 and down['SRCC'] == pytest.approx(-raw['SRCC'])
    assert correlations(scores[:5], targets[:5], fit) is None
    with pytest.raises(ValueError, match='fit'):
        IQACorrelation(fit='logistic')


def test_the_version_oracle_knows_the_mean_of_the_other_scenes():
    labels = dict(a=(0.1, 0.5, 0.9), b=(0.3, 0.6, 0.8), c=(0.2, 0.1, 0.7))
    rows = [
        dict(scene=scene, version=str(i), target=value, score=0.1 * i)
        for scene, values in labels.items()
        for i, value in enumerate(values)
    ]
    assert version_oracle(rows)[:3] == pytest.approx([0.25, 0.35, 0.75])
    result = IQACorrelation().compute_metrics(rows)
    expected = [
        stats.spearmanr([np.mean([labels[other][i] for other in labels if other != scene]) for i in range(3)], values)[0]
        for scene, values in labels.items()
    ]
    assert result['version_oracle_SRCC'] == pytest.approx(np.mean(expected))
    assert result['constant_RMSE'] == pytest.approx(np.std([row['target'] for row in rows]))
    assert np.isnan(version_oracle(rows[:3])).all()
    assert 'version_oracle_SRCC' not in IQACorrelation().compute_metrics(rows[:3])
