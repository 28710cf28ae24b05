"""Nearest-neighbour retrieval of videos, and a linear probe, as a metric."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric

from openmsra.common.probes import linear_classifier, normalised, ranking, retrieval_figures
from openmsra.errors import DataError
from openmsra.registry import METRICS


@METRICS.register_module()
class VideoRetrieval(BaseMetric):
    """R@k, mAP and chance of retrieving gallery videos of the query's class; accuracy of a linear probe on request.

    Features are those of :meth:`MCN.predict`; videos have the role 'gallery' or 'query'.

    Args:
        topk: the k.
        probe: inverse regularisation of a logistic regression fitted to the gallery and tested on the queries; ``None`` for
            no probe.
        features: ``.npz`` file to write all features to, for ``tools/analysis/mcn_retrieval.py``.

    Raises:
        ValueError: no gallery or no query, a video in both, a label that is missing, k larger than the gallery.
    """

    default_prefix = 'retrieval'

    def __init__(
        self,
        topk: Sequence[int] = (1, 5, 10, 20, 50),
        probe: float | None = None,
        features: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        self.topk, self.probe, self.features = tuple(topk), probe, features

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            row = {name: sample[name] for name in ('video', 'gt_label', 'role')}
            self.results.append(dict(row, feature=sample['feature'].float().cpu().numpy()))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        sides = {role: _columns([row for row in results if row['role'] == role], role) for role in ('query', 'gallery')}
        refuse_overlap(sides['query']['video'], sides['gallery']['video'])
        if self.features:
            Path(self.features).parent.mkdir(parents=True, exist_ok=True)
            np.savez(self.features, **{f'{role}_{name}': column for role, side in sides.items() for name, column in side.items()})
        unit = {role: normalised(side['feature'], side['video']) for role, side in sides.items()}
        labels = {role: side['label'] for role, side in sides.items()}
        ranks = ranking(unit['query'], unit['gallery'])
        figures, _ = retrieval_figures(ranks, labels['query'], labels['gallery'], self.topk)
        if self.probe is not None:
            classifier = linear_classifier(self.probe).fit(unit['gallery'], labels['gallery'])
            figures['probe'] = 100 * float(classifier.score(unit['query'], labels['query']))
        return figures


def refuse_overlap(queries: Sequence[str], gallery: Sequence[str]) -> None:
    """Raise ``ValueError`` if a video is on both sides."""
    if common := sorted(set(queries) & set(gallery)):
        raise DataError(f'{len(common)} videos are query and gallery, the first is {common[0]}; use the lists of one split.')


def _columns(rows: list[dict], role: str) -> dict[str, np.ndarray]:
    if not rows:
        raise DataError(f"VideoRetrieval: no video has the role '{role}'; set role='{role}' of a data set.")
    if unlabelled := [row['video'] for row in rows if row['gt_label'] < 0]:
        raise DataError(f'VideoRetrieval: {len(unlabelled)} {role} videos have no label, the first is {unlabelled[0]}.')
    return dict(
        video=np.array([row['video'] for row in rows]),
        label=np.array([row['gt_label'] for row in rows]),
        feature=np.stack([row['feature'] for row in rows]),
    )
