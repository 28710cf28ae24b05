"""Classes of the data and of the network, compared before anything is computed."""

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.logging import print_log
from torch import nn

from openmsra.errors import ConfigError

MOST = 500_000  # samples whose labels are looked at one by one where a data set names no classes


def require_classes(model: nn.Module, dataset: Any, phase: str) -> None:
    """See that a classifier has as many outputs as its data have classes.

    Models without ``num_classes``, or a ``head`` that has it, are no classifiers; detectors look at their data themselves.

    Raises:
        ConfigError: another number of classes, or labels that the network has no output for.
    """
    outputs = getattr(model, 'num_classes', None) or getattr(getattr(model, 'head', None), 'num_classes', None)
    if not isinstance(outputs, int):
        return
    names = class_names(dataset)
    if names is not None:
        if len(names) != outputs:
            raise ConfigError(
                f'{phase}_dataloader: the data have {len(names)} classes ({", ".join(map(str, names[:5]))} ...), the '
                f'network has num_classes={outputs}. Set both to the same.'
            )
        return
    labels = set(_labels(dataset))
    if labels and max(labels) >= outputs:
        raise ConfigError(
            f'{phase}_dataloader: the data have labels up to {max(labels)}, the network has num_classes={outputs} (0 to '
            f'{outputs - 1}). Set num_classes to {max(labels) + 1} or look at the labels.'
        )
    if labels and phase == 'train' and max(labels) + 1 < outputs:
        print_log(
            f'train_dataloader: labels end at {max(labels)}, the network has num_classes={outputs}: the others learn nothing.',
            'current',
            logging.WARNING,
        )


def require_same_classes(first: list | None, second: list | None, places: str) -> None:
    """See that two lists of class names number the same classes alike; a list that is not known is not compared.

    Raises:
        ConfigError: they differ.
    """
    if first is None or second is None or first == second:
        return
    number = next((k for k, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second)))
    names = [repr(names[number]) if number < len(names) else 'nothing' for names in (first, second)]
    raise ConfigError(
        f'{places} number their classes differently: class {number} is {names[0]} in the one and {names[1]} in the other. '
        'Give both the same list of classes (metainfo=dict(classes=[...])), in the same order.'
    )


def class_names(dataset: Any) -> list | None:
    """The names of the classes by number, where a data set knows them."""
    names = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    return list(names) if isinstance(names, list | tuple) and names else None


def _labels(dataset: Any) -> Iterator[int]:
    if not hasattr(dataset, 'get_data_info') or len(dataset) > MOST:
        return
    for index in range(len(dataset)):
        row = dataset.get_data_info(index)
        label = row.get('gt_label', row.get('label'))
        if isinstance(label, int):
            yield label
