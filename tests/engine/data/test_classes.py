"""Classes of data and network are compared by number and by name before anything is computed."""

import pytest
from mmengine.dataset import BaseDataset
from mmengine.logging import MMLogger
from torch import nn

from openmsra.engine.data.classes import require_classes, require_same_classes
from openmsra.errors import ConfigError


class Labels(BaseDataset):
    def __init__(self, labels, classes=None):
        self.labels = labels
        super().__init__(metainfo=dict(classes=classes) if classes else None)

    def load_data_list(self):
        return [dict(gt_label=label) for label in self.labels]


def _network(outputs: int) -> nn.Module:
    network = nn.Linear(2, outputs)
    network.num_classes = outputs
    return network


def test_names_and_outputs_must_be_as_many():
    require_classes(_network(2), Labels([0, 1], ('cat', 'dog')), 'train')
    for outputs in (1, 3):
        with pytest.raises(ConfigError, match=rf'2 classes \(cat, dog .*num_classes={outputs}'):
            require_classes(_network(outputs), Labels([0, 1], ('cat', 'dog')), 'train')
    require_classes(nn.Linear(2, 1), Labels([0, 1], ('cat', 'dog')), 'train')  # no classifier


def test_labels_without_names_must_have_an_output(monkeypatch):
    require_classes(_network(3), Labels([0, 2, 1]), 'train')
    with pytest.raises(ConfigError, match='labels up to 2, .* num_classes=2'):
        require_classes(_network(2), Labels([0, 2, 1]), 'val')
    said = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'log', lambda level, message: said.append(message))
    require_classes(_network(5), Labels([0, 2, 1]), 'train')
    assert 'labels end at 2' in said[0]


def test_training_and_test_must_number_classes_alike():
    require_same_classes(['a', 'b'], ['a', 'b'], 'x and y')
    require_same_classes(None, ['a', 'b'], 'x and y')
    with pytest.raises(ConfigError, match="class 0 is 'a' in the one and '.ipynb_checkpoints' in the other"):
        require_same_classes(['a', 'b'], ['.ipynb_checkpoints', 'a', 'b'], 'x and y')
    with pytest.raises(ConfigError, match="class 2 is nothing in the one and 'c' in the other"):
        require_same_classes(['a', 'b'], ['a', 'b', 'c'], 'x and y')
