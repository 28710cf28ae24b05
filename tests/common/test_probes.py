"""Probes on features whose answer is known."""

import numpy as np
import pytest

from openmsra.common.probes import linear_classifier, neighbour_classifier, normalised, ranking


def test_neighbours_vote_by_cosine():
    rng = np.random.default_rng(0)
    bank, labels, queries = rng.normal(size=(60, 5)), rng.integers(0, 3, 60), rng.normal(size=(20, 5)) * 100
    predicted = neighbour_classifier(5).fit(bank, labels).predict(queries)
    for query, label in zip(queries, predicted, strict=True):
        cosine = [query @ row / np.linalg.norm(query) / np.linalg.norm(row) for row in bank]
        votes = np.bincount(labels[np.argsort(cosine)[-5:]], minlength=3)
        assert label == votes.argmax()


def test_linear_classifier_does_not_see_the_scale_of_a_feature():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(400, 4))
    labels = features[:, 0] > features[:, 1]
    for scale in (1, [1e-4, 1e4, 1, 1]):
        assert linear_classifier(1.0).fit(features[:300] * scale, labels[:300]).score(features[300:] * scale, labels[300:]) > 0.95


def test_ranking_is_by_angle_with_ties_in_order():
    gallery = normalised([[1, 1], [0, 5], [3, 0], [2, 2]], 'abcd')
    assert ranking(normalised([[0, 1]], 'q'), gallery).tolist() == [[1, 0, 3, 2]]
    with pytest.raises(ValueError, match='b: its feature is zero'):
        normalised([[1, 1], [0, 0]], 'ab')
