"""Predictions on disk, each with its own numbers and nothing else."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import DumpResults
from mmengine.structures import BaseDataElement

from openmsra.registry import METRICS


@METRICS.register_module()
class DumpPredictions(DumpResults):
    """mmengine's ``DumpResults`` with copies of tensors.

    On a CPU mmengine keeps the tensors themselves; those that are a part of a batch are pickled with the storage of all of it.
    """

    def process(self, data_batch: Any, predictions: Sequence[dict]) -> None:
        """Keep copies of the predictions on the CPU."""
        self.results += [_copied(prediction) for prediction in predictions]


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(value, BaseDataElement):
        copied = value.new()
        for name, item in value.items():
            setattr(copied, name, _copied(item))
        return copied
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_copied, value))
    return value
