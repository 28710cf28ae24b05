"""``--deterministic`` on a GPU: layers whose gradient changes from run to run without torch's knowledge are named at the start.

Torch refuses its own operators without a fixed form. It does not know of mmcv's, whose gradients add up with ``atomicAdd``: on an
H200 a training of Soft Teacher came out differently each time, under ``--deterministic`` and without a word.
"""

import torch
from torch import nn

from openmsra.errors import ConfigError

# files of mmcv/ops whose CUDA kernels use atomicAdd (mmcv 2.3.6, ops/csrc/common/cuda)
ADDING = {
    'bezier_align',
    'border_align',
    'deform_conv',
    'deform_roi_pool',
    'modulated_deform_conv',
    'multi_scale_deform_attn',
    'prroi_pool',
    'riroi_align_rotated',
    'roi_align',
    'roi_align_rotated',
    'roi_pool',
    'rotated_feature_align',
    'saconv',
}


def must_be_fixed(device: str) -> bool:
    """Whether gradients on a kind of device must be kept from changing; on 'cpu' mmcv's operators add in a fixed order anyway."""
    return device != 'cpu' and torch.are_deterministic_algorithms_enabled()


def require_fixed_gradients(model: nn.Module, device: str) -> None:
    """Refuse to train a model whose gradients do not repeat themselves, where fixed algorithms are asked for.

    A layer may say of itself whether they do, by an attribute ``has_fixed_gradient``; else it is known by its file in mmcv.

    Args:
        device: kind of device that trains it.

    Raises:
        ConfigError: fixed algorithms are asked for, and a trained layer has none.
    """
    if not must_be_fixed(device):
        return
    layers = {name: type(layer) for name, layer in model.named_modules() if not _has_fixed_gradient(layer)}
    if layers:
        name, kind = next(iter(layers.items()))
        raise ConfigError(
            f'--deterministic: {len(layers)} layer(s) of the model have no gradient that repeats itself on a GPU: '
            f'{kind.__name__} ({name}) is the first. Train without --deterministic, or take another layer.'
        )


def _has_fixed_gradient(layer: nn.Module) -> bool:
    package, _, file = type(layer).__module__.rpartition('.')
    return getattr(layer, 'has_fixed_gradient', package != 'mmcv.ops' or file not in ADDING)
