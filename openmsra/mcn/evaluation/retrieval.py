"""Nearest-neighbour retrieval and linear probes of frozen features."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric

from openmsra.registry import METRICS


def normalised(features: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Rows (n, C) scaled to unit length, in double precision.

    Raises:
        ValueError: a row is zero or not finite; the message names its video.
    """
    features = np.asarray(features, float)
    lengths = np.linalg.norm(features, axis=1)
    bad = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(bad):
        raise ValueError(f'{names[bad[0]]}: its feature is zero or not finite ({len(bad)} such videos); it cannot be compared.')
    return features / lengths[:, None]


def ranking(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Gallery rows (q, g) by falling cosine similarity to each query; ties in the order of the gallery.

    Args:
        queries, gallery: rows of unit length.
    """
    return np.argsort(-(queries @ gallery.T), axis=1, kind='stable')


def retrieval_figures(
    ranks: np.ndarray, query_labels: np.ndarray, gallery_labels: np.ndarray, topk: Sequence[int]
) -> tuple[dict[str, float], dict[int, dict[str, float]]]:
    """R@k, mean average precision and the chance of R@1, in percent; and R@k of each query class.

    A query is a hit at k if any of its k nearest gallery videos is of its class. A query whose class the gallery lacks counts
    as a miss and is left out of the mean average precision.

    Args:
        ranks: what :func:`ranking` gives.

    Raises:
        ValueError: k is larger than the gallery.
    """
    if max(topk) > ranks.shape[1]:
        raise ValueError(f'R@{max(topk)} needs as many gallery videos, there are {ranks.shape[1]}: lower topk.')
    right = gallery_labels[ranks] == query_labels[:, None]
    hits = {f'R@{k}': 100 * right[:, :k].any(1) for k in topk}
    found = right.any(1)
    precision = np.cumsum(right, 1) / np.arange(1, right.shape[1] + 1)
    average = (precision * right).sum(1)[found] / right.sum(1)[found]
    chance = (query_labels[:, None] == gallery_labels).mean()
    figures = {name: float(values.mean()) for name, values in hits.items()}
    figures |= dict(mAP=100 * float(average.mean()) if found.any() else float('nan'), chance=100 * float(chance))
    by_class = {
        int(label): {name: float(values[query_labels == label].mean()) for name, values in hits.items()}
        for label in np.unique(query_labels)
    }
    return figures, by_class


def linear_accuracy(features: tuple[np.ndarray, np.ndarray], labels: tuple[np.ndarray, np.ndarray], strength: float) -> float:
    """Accuracy (%) on the second set of a logistic regression fitted to the first, on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500)).fit(features[0], labels[0])
    return 100 * float(probe.score(features[1], labels[1]))


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
            both = [(unit['gallery'], unit['query']), (labels['gallery'], labels['query'])]
            figures['probe'] = linear_accuracy(*both, self.probe)
        return figures


def refuse_overlap(queries: Sequence[str], gallery: Sequence[str]) -> None:
    """Raise ``ValueError`` if a video is on both sides."""
    if common := sorted(set(queries) & set(gallery)):
        raise ValueError(f'{len(common)} videos are query and gallery, the first is {common[0]}; use the lists of one split.')


def _columns(rows: list[dict], role: str) -> dict[str, np.ndarray]:
    if not rows:
        raise ValueError(f"VideoRetrieval: no video has the role '{role}'; set role='{role}' of a data set.")
    if unlabelled := [row['video'] for row in rows if row['gt_label'] < 0]:
        raise ValueError(f'VideoRetrieval: {len(unlabelled)} {role} videos have no label, the first is {unlabelled[0]}.')
    return dict(
        video=np.array([row['video'] for row in rows]),
        label=np.array([row['gt_label'] for row in rows]),
        feature=np.stack([row['feature'] for row in rows]),
    )
