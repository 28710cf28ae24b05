"""The precision of experiments: bfloat16 takes half the time where a machine computes in it, and elsewhere ten times as much."""

import torch

from openmsra.engine.non_finite import computes_bfloat16


def fast_precision(device: str | None = None) -> str:
    """``bfloat16`` where a device (by default the one that trainings take) computes in it, else ``float32``."""
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    return 'bfloat16' if computes_bfloat16(device) else 'float32'


def in_precision(wrapper: dict, precision: str) -> dict:
    """Options of an optimiser wrapper that trains in ``precision``."""
    return wrapper if precision == 'float32' else dict(wrapper, type='AmpOptimWrapper', dtype=precision)


def fast_autocast(device: str) -> torch.autocast:
    """A context for networks without training, in the fast precision of ``device``."""
    return torch.autocast(device, torch.bfloat16, enabled=fast_precision(device) == 'bfloat16')
