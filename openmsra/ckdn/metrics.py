"""How well scores rank restored images: correlations per scene or overall, with intervals over scenes."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from scipy import stats

from openmsra.registry import METRICS

NAMES = ('SRCC', 'PLCC', 'KRCC', 'RMSE', 'pairwise_acc')


def correlations(scores: np.ndarray, targets: np.ndarray) -> dict[str, float] | None:
    """All figures of one group (n,); ``None`` where they are undefined: n < 3 or one side constant."""
    if not np.isfinite(scores).all():
        raise FloatingPointError('scores are not finite: the training has diverged; lower the learning rate.')
    if len(scores) < 3 or np.ptp(scores) == 0 or np.ptp(targets) == 0:
        return None
    i, j = np.triu_indices(len(scores), 1)
    truth = np.sign(targets[i] - targets[j])
    agree = np.sign(scores[i] - scores[j])[truth != 0] == truth[truth != 0]
    values = (stats.spearmanr(scores, targets).statistic, stats.pearsonr(scores, targets).statistic,
              stats.kendalltau(scores, targets).statistic, np.sqrt(np.mean((scores - targets) ** 2)), agree.mean())  # fmt: skip
    return dict(zip(NAMES, map(float, values), strict=True))


@METRICS.register_module()
class IQACorrelation(BaseMetric):
    """SRCC, PLCC (raw), KRCC (tau-b), RMSE and pairwise accuracy; undefined groups are skipped and counted.

    Args:
        group_by: 'scene' averages the figures of the scenes, as the paper does; ``None`` takes all images at once.
        bootstrap: resamplings of the scenes for the 95 % interval of SRCC.
    """

    default_prefix = 'iqa'

    def __init__(self, group_by: str | None = 'scene', bootstrap: int = 1000, collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:  # fmt: skip
        super().__init__(collect_device, prefix)
        if group_by not in ('scene', None):
            raise ValueError(f"group_by must be 'scene' or None, got {group_by!r}")
        self.group_by, self.bootstrap = group_by, bootstrap

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            scene = sample['scene'] if self.group_by else 'all'
            self.results.append((scene, sample['pred_score'], sample['gt_score']))

    def compute_metrics(self, results: list[tuple[str, float, float]]) -> dict[str, float]:
        groups = defaultdict(list)
        for scene, score, target in results:
            groups[scene].append((score, target))
        rows = [correlations(*np.array(sorted(groups[scene])).T) for scene in sorted(groups)]
        valid = [row for row in rows if row is not None]
        counts = dict(groups=len(valid), skipped_groups=len(rows) - len(valid))
        figures = {name: float(np.mean([row[name] for row in valid])) if valid else float('nan') for name in NAMES}
        if len(valid) > 1:
            srcc = np.array([row['SRCC'] for row in valid])
            draws = np.random.default_rng(0).integers(len(srcc), size=(self.bootstrap, len(srcc)))
            figures['SRCC_low'], figures['SRCC_high'] = map(float, np.percentile(srcc[draws].mean(1), (2.5, 97.5)))
        return figures | counts
