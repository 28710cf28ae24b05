"""Accuracy of recognised actions."""

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from openmsra.registry import METRICS


@METRICS.register_module()
class VideoAccuracy(BaseMetric):
    """Top-k and mean class accuracy (%) of videos.

    Args:
        topk: the k; those that are not below the number of classes are left out.

    Raises:
        FloatingPointError: a score is not finite.
    """

    default_prefix = 'accuracy'

    def __init__(self, topk: Sequence[int] = (1, 5), collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.topk = tuple(topk)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            self.results.append((sample['gt_label'], sample['pred_score'].float().cpu().numpy()))

    def compute_metrics(self, results: list[tuple[int, np.ndarray]]) -> dict[str, float]:
        labels, scores = np.array([label for label, _ in results]), np.stack([score for _, score in results])
        if not np.isfinite(scores).all():
            raise FloatingPointError('scores are not finite: the training has diverged; lower the learning rate.')
        right = np.argsort(-scores, axis=1, kind='stable') == labels[:, None]  # by place, one true value a row
        figures = {f'top{k}': 100 * float(right[:, :k].any(1).mean()) for k in self.topk if k < scores.shape[1]}
        figures['mean_class'] = 100 * float(np.mean([right[labels == label, 0].mean() for label in np.unique(labels)]))
        return figures
