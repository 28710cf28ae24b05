"""How well inherited accuracy ranks architectures: rank correlation with their stand-alone accuracy."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def rank_correlation(
    inherited: Sequence[float],
    standalone: Sequence[float],
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Kendall's tau-b and Spearman's rho of two accuracies of the same architectures, with bootstrap intervals.

    Args:
        inherited: ``(n,)`` accuracies with the weights of the supernet.
        standalone: ``(n,)`` accuracies of the same architectures trained alone.
        resamples: bootstrap samples of whole pairs (percentile interval).
        confidence: of the interval, in (0, 1).
        seed: of the bootstrap.

    Returns:
        ``dict(kendall=..., spearman=...)``, each ``dict(value, low, high, p_value)``.

    Raises:
        ValueError: the lengths differ, there are fewer than three pairs, or all values of one side are equal.
    """
    inherited, standalone = np.asarray(inherited, float), np.asarray(standalone, float)
    if inherited.shape != standalone.shape or inherited.ndim != 1 or len(inherited) < 3:
        raise ValueError(
            f'a rank correlation needs at least three pairs, got {inherited.size} inherited and {standalone.size} '
            'stand-alone accuracies.'
        )
    for name, values in dict(inherited=inherited, standalone=standalone).items():
        if np.ptp(values) == 0:
            raise ValueError(f'all {name} accuracies are {values[0]}: they rank nothing.')
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(inherited), size=(resamples, len(inherited)))
    tests = dict(kendall=stats.kendalltau, spearman=stats.spearmanr)
    return {name: _with_interval(test, inherited, standalone, draws, confidence) for name, test in tests.items()}


def _with_interval(test, x: np.ndarray, y: np.ndarray, draws: np.ndarray, confidence: float) -> dict[str, float]:
    result = test(x, y)
    # a resample of one architecture repeated ranks nothing and has no correlation
    values = [test(x[rows], y[rows]).statistic for rows in draws if np.ptp(x[rows]) > 0 and np.ptp(y[rows]) > 0]
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return dict(value=float(result.statistic), low=float(low), high=float(high), p_value=float(result.pvalue))
