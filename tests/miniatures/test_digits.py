"""The digits: real, complete, split without overlap."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from openmsra.miniatures.digits import Digits, split_indices


def test_splits_are_disjoint_complete_and_stratified():
    labels = load_digits().target
    parts = split_indices(labels)
    assert {name: len(part) for name, part in parts.items()} == dict(train=1000, val=297, test=500)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(1797))
    for part in parts.values():
        shares = np.bincount(labels[part]) / len(part)
        np.testing.assert_allclose(shares, np.bincount(labels) / len(labels), atol=0.005)


def test_samples_are_scikit_learns_images():
    dataset = Digits(split='val', pipeline=[])
    sample = dataset[7]
    images, labels = load_digits(return_X_y=True)
    np.testing.assert_array_equal(sample['img'][..., 0], images[sample['img_id']].reshape(8, 8))
    assert sample['gt_label'] == labels[sample['img_id']]
    assert dataset.metainfo['classes'][sample['gt_label']] == str(sample['gt_label'])


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="'train', 'val' and 'test', not 'all'"):
        Digits(split='all', pipeline=[])
