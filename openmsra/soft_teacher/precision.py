"""Coordinates stay float32 under automatic mixed precision, as in the official code (its heads are wrapped in ``force_fp32``)."""

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from torch import Tensor, nn


def keep_coordinates_in_float32(detector: nn.Module) -> None:
    """Make an mmdet detector compute regions, anchors and boxes in float32 whatever the precision of its features.

    mmdet rounds regions to the type of the features that they are cut from, and makes anchors and points in the type of the
    scores. Near x = 1000 bfloat16 has steps of 4 pixels and float16 of half a pixel: jitter of 6 % of a 24-pixel box vanishes,
    so that the box passes the uncertainty filter by chance. Features are converted before the regions are cut, and what dense
    and box heads return before boxes are made of it; convolutions and linear layers stay as fast as before.

    Args:
        detector: changed in place by hooks of its modules; names and values of its weights stay.
    """
    for module in detector.modules():
        if isinstance(module, BaseRoIExtractor):
            module.register_forward_pre_hook(_features_in_float32, with_kwargs=True)
        elif isinstance(module, BaseDenseHead | BBoxHead):
            module.register_forward_hook(lambda _module, _inputs, outputs: to_float32(outputs))


def _features_in_float32(_module: nn.Module, inputs: tuple, named: dict) -> tuple[tuple, dict]:
    return to_float32(inputs), to_float32(named)


def to_float32(value):
    """Floating-point tensors in nested tuples, lists and dictionaries as float32; everything else as it is."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() and value.dtype != torch.float64 else value
    if isinstance(value, tuple | list):
        return type(value)(to_float32(item) for item in value)
    if isinstance(value, dict):
        return {key: to_float32(item) for key, item in value.items()}
    return value
