"""Probes of frozen features: nearest neighbours and linear classifiers, for images and for regions."""

import numpy as np
from mmengine.evaluator import BaseMetric

from openmsra.registry import METRICS


@METRICS.register_module()
class FrozenProbe(BaseMetric):
    """Accuracy (%) of classifiers on features that are not trained further.

    Images with ``bank`` are fitted on, the others tested: ``knn`` and ``linear`` where images have labels,
    ``region_knn`` and ``region_linear`` where boxes have. Both kinds are ours; the linear one is a logistic regression on
    standardised features.

    Args:
        neighbours: k of the vote by cosine similarity.
        strength: inverse regularisation of the logistic regression.

    Raises:
        ValueError: no image to fit on, or none to test on, or no labels at all.
    """

    default_prefix = 'probe'

    def __init__(
        self, neighbours: int = 5, strength: float = 1.0, collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device, prefix)
        self.neighbours, self.strength = neighbours, strength

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        for sample in data_samples:
            self.results.append({name: value.cpu().float().numpy() for name, value in sample.items()})

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        bank = [row for row in results if row['bank']]
        rest = [row for row in results if not row['bank']]
        if not bank or not rest:
            raise ValueError(f'FrozenProbe: {len(bank)} images to fit on and {len(rest)} to test on; both are needed.')
        figures = {}
        if 'label' in bank[0]:
            parts = [(np.stack([row['feature'] for row in rows]), np.stack([row['label'] for row in rows]).astype(int))
                     for rows in (bank, rest)]  # fmt: skip
            figures |= self._accuracies(parts, '')
        if 'box_labels' in bank[0]:
            parts = [(np.concatenate([row['region_features'] for row in rows]),
                      np.concatenate([row['box_labels'] for row in rows]).astype(int)) for rows in (bank, rest)]  # fmt: skip
            figures |= self._accuracies(parts, 'region_')
        if not figures:
            raise ValueError('FrozenProbe: the images have neither gt_label nor gt_boxes with gt_box_labels.')
        return figures

    def _accuracies(self, parts: list[tuple[np.ndarray, np.ndarray]], prefix: str) -> dict[str, float]:
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        models = dict(knn=KNeighborsClassifier(self.neighbours, metric='cosine'),
                      linear=make_pipeline(StandardScaler(), LogisticRegression(C=self.strength, max_iter=500)))  # fmt: skip
        return {prefix + name: 100 * float(model.fit(*parts[0]).score(*parts[1])) for name, model in models.items()}
