"""How well scores rank restored images: correlations per scene or overall, with intervals over scenes."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from openmsra.registry import METRICS

NAMES = ('SRCC', 'PLCC', 'KRCC', 'RMSE', 'pairwise_acc')


def _logistic4(x: np.ndarray, low: float, high: float, middle: float, slope: float) -> np.ndarray:
    return low + (high - low) / (1 + np.exp(np.clip(-(x - middle) * slope, -50, 50)))


def _logistic5(x: np.ndarray, a: float, b: float, c: float, d: float, e: float) -> np.ndarray:
    return a * (0.5 - 1 / (1 + np.exp(np.clip(b * (x - c), -50, 50)))) + d * x + e


def fit_scores(scores: np.ndarray, targets: np.ndarray, fit: str) -> np.ndarray:
    """Scores (n,) mapped to the scale of the targets (n,) by least squares.

    'logistic4' and 'logistic5' are the functions of the VQEG reports, 'poly3' is a cubic, 'none' leaves the scores.

    Raises:
        RuntimeError: the fit does not converge.
    """
    if fit == 'none':
        return scores
    if fit == 'poly3':
        return np.polyval(np.polyfit(scores, targets, 3), scores)
    from scipy.optimize import curve_fit

    spread, sign = scores.std(), np.sign(np.corrcoef(scores, targets)[0, 1]) or 1.0
    if fit == 'logistic4':
        start = (targets.min(), targets.max(), scores.mean(), sign / spread)
        return _logistic4(scores, *curve_fit(_logistic4, scores, targets, start, maxfev=20_000)[0])
    start = (np.ptp(targets), sign / spread, scores.mean(), 0.0, targets.mean())
    return _logistic5(scores, *curve_fit(_logistic5, scores, targets, start, maxfev=20_000)[0])


def correlations(scores: np.ndarray, targets: np.ndarray, fit: str = 'none') -> dict[str, float] | None:
    """All figures of one group (n,); ``None`` where they are undefined: n < 3, one side constant, no fit.

    Raises:
        FloatingPointError: scores that are not finite.
    """
    from scipy import stats

    if not np.isfinite(scores).all():
        raise FloatingPointError('scores are not finite: the training has diverged; lower the learning rate.')
    if len(scores) < (3 if fit == 'none' else 7) or np.ptp(scores) == 0 or np.ptp(targets) == 0:
        return None
    try:
        fitted = fit_scores(scores, targets, fit)
    except RuntimeError:
        return None
    i, j = np.triu_indices(len(scores), 1)
    truth = np.sign(targets[i] - targets[j])
    agree = np.sign(scores[i] - scores[j])[truth != 0] == truth[truth != 0]
    values = (
        stats.spearmanr(scores, targets).statistic,
        stats.pearsonr(fitted, targets).statistic,
        stats.kendalltau(scores, targets).statistic,
        np.sqrt(np.mean((fitted - targets) ** 2)),
        agree.mean(),
    )
    return dict(zip(NAMES, map(float, values), strict=True))


def version_oracle(rows: list[dict]) -> list[float]:
    """Score each version of a scene by the mean score of that version in all other scenes, without any image.

    Args:
        rows: ``scene``, ``version``, ``target``.

    Returns:
        one value for each row; not a number for a version that no other scene has.
    """
    by_version: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in rows:
        by_version[row['version']].append((row['scene'], row['target']))
    scores = []
    for row in rows:
        others = [target for scene, target in by_version[row['version']] if scene != row['scene']]
        scores.append(float(np.mean(others)) if others else float('nan'))
    return scores


@METRICS.register_module()
class IQACorrelation(BaseMetric):
    """SRCC, PLCC, KRCC (tau-b), RMSE and pairwise accuracy; undefined groups are skipped and counted.

    Data sets with version ids (PIPAL) also get the rows of two predictors that never look at an image: the version oracle
    (the mean score of the version in the other scenes) and the constant, whose correlations are undefined.

    Args:
        group_by: 'scene' averages the figures of the scenes, as the paper does; ``None`` takes all images at once.
        fit: map scores to targets within each group before PLCC and RMSE: 'none' (raw, as the official code),
            'logistic4', 'logistic5' or 'poly3'. Groups of less than 7 images cannot be fitted and are skipped.
        bootstrap: resamplings of the scenes for the 95 % intervals of SRCC and PLCC (``group_by='scene'``).
    """

    default_prefix = 'iqa'

    def __init__(
        self,
        group_by: str | None = 'scene',
        fit: str = 'none',
        bootstrap: int = 1000,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        if group_by not in ('scene', None):
            raise ValueError(f"group_by must be 'scene' or None, got {group_by!r}")
        if fit not in ('none', 'logistic4', 'logistic5', 'poly3'):
            raise ValueError(f"fit must be 'none', 'logistic4', 'logistic5' or 'poly3', got {fit!r}")
        self.group_by, self.fit, self.bootstrap = group_by, fit, bootstrap

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            row = {key: sample[key] for key in ('scene', 'version', 'distortion') if sample.get(key) is not None}
            self.results.append(dict(row, score=sample['pred_score'], target=sample['gt_score']))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        scores = [row['score'] for row in results]
        figures = self._figures(results, scores)
        figures['SRCC_PLCC_sum'] = figures['SRCC'] + figures['PLCC']  # the official code selects by it
        if all('version' in row for row in results):
            figures |= self._baselines(results)
        kind = 'means over scenes' if self.group_by else 'over all images at once'
        print_log(
            f'IQACorrelation: {kind}, {figures["groups"]} groups, {figures["skipped_groups"]} skipped; '
            f'PLCC and RMSE {"raw" if self.fit == "none" else f"after a {self.fit} fit"}',
            'current',
        )
        self._print_types(results)
        return figures

    def _figures(self, results: list[dict], scores: Sequence[float]) -> dict[str, float]:
        groups = defaultdict(list)
        for row, score in zip(results, scores, strict=True):
            groups[row.get('scene') if self.group_by else 'all'].append((score, row['target']))
        rows = [correlations(*np.array(sorted(group)).T, self.fit) for _, group in sorted(groups.items())]
        valid = [row for row in rows if row is not None]
        figures = {name: float(np.mean([row[name] for row in valid])) if valid else float('nan') for name in NAMES}
        return figures | dict(groups=len(valid), skipped_groups=len(rows) - len(valid)) | self._intervals(valid)

    def _intervals(self, valid: list[dict[str, float]]) -> dict[str, float]:
        """95 % intervals of the means of SRCC and PLCC, over resampled scenes; none for a single group."""
        if len(valid) < 2:
            return {}
        draws = np.random.default_rng(0).integers(len(valid), size=(self.bootstrap, len(valid)))
        bounds = {
            name: np.percentile(np.array([row[name] for row in valid])[draws].mean(1), (2.5, 97.5)) for name in ('SRCC', 'PLCC')
        }
        return {f'{name}_{side}': float(value) for name, pair in bounds.items() for side, value in zip(('low', 'high'), pair)}

    def _baselines(self, results: list[dict]) -> dict[str, float]:
        targets = np.array([row['target'] for row in results])
        rows = dict(constant_RMSE=float(targets.std()))
        oracle = version_oracle(results)
        if np.isfinite(oracle).all():
            figures = self._figures(results, oracle)
            rows |= {f'version_oracle_{name}': figures[name] for name in ('SRCC', 'PLCC')}
        return rows

    def _print_types(self, results: list[dict]) -> None:
        """A line for each type of restoration, so that a mean does not hide where the scores fail."""
        types = sorted({row['distortion'] for row in results if 'distortion' in row})
        for kind in types if len(types) > 1 else ():
            chosen = [row for row in results if row.get('distortion') == kind]
            figures = self._figures(chosen, [row['score'] for row in chosen])
            print_log(f'  {kind}: {len(chosen)} images, SRCC {figures["SRCC"]:.4f}, PLCC {figures["PLCC"]:.4f}', 'current')
