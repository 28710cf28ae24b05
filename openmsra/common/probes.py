"""Frozen features put to the test: linear classifiers, votes of nearest neighbours, retrieval."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from openmsra.errors import DataError

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin


def linear_classifier(strength: float, balanced: bool = False) -> 'ClassifierMixin':
    """Logistic regression on standardised features, to be fitted.

    Args:
        strength: inverse regularisation, C of scikit-learn.
        balanced: classes weigh alike, however many samples they have.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, max_iter=500, class_weight='balanced' if balanced else None)
    )


def neighbour_classifier(neighbours: int) -> 'ClassifierMixin':
    """The vote of the nearest neighbours by cosine similarity, to be fitted."""
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(neighbours, metric='cosine')


def normalised(features: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Rows (n, C) scaled to unit length, in double precision.

    Raises:
        ValueError: a row is zero or not finite; the message names its video.
    """
    features = np.asarray(features, float)
    lengths = np.linalg.norm(features, axis=1)
    bad = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(bad):
        raise DataError(f'{names[bad[0]]}: its feature is zero or not finite ({len(bad)} such videos); it cannot be compared.')
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
        raise DataError(f'R@{max(topk)} needs as many gallery videos, there are {ranks.shape[1]}: lower topk.')
    right = gallery_labels[ranks] == query_labels[:, None]
    hits = {f'R@{k}': 100 * right[:, :k].any(1) for k in topk}
    has_match = right.any(1)
    precision = np.cumsum(right, 1) / np.arange(1, right.shape[1] + 1)
    average = (precision * right).sum(1)[has_match] / right.sum(1)[has_match]
    chance = (query_labels[:, None] == gallery_labels).mean()
    figures = {name: float(values.mean()) for name, values in hits.items()}
    figures |= dict(mAP=100 * float(average.mean()) if has_match.any() else float('nan'), chance=100 * float(chance))
    by_class = {
        int(label): {name: float(values[query_labels == label].mean()) for name, values in hits.items()}
        for label in np.unique(query_labels)
    }
    return figures, by_class
