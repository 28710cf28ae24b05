"""The precision of experiments: bfloat16 takes half the time where a machine computes in it, and elsewhere ten times as much."""

import torch


def fast_precision(device: str | None = None) -> str:
    """``bfloat16`` where a device (by default the one that trainings take) computes in it, else ``float32``.

    A processor does with AVX-512, by the rule of oneDNN.
    """
    if (device or ('cuda' if torch.cuda.is_available() else 'cpu')) == 'cuda':
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return 'bfloat16' if fast else 'float32'


def in_precision(wrapper: dict, precision: str) -> dict:
    """Options of an optimiser wrapper that trains in ``precision``."""
    return wrapper if precision == 'float32' else dict(wrapper, type='AmpOptimWrapper', dtype=precision)


def fast_autocast(device: str) -> torch.autocast:
    """A context for networks without training, in the fast precision of ``device``."""
    return torch.autocast(device, torch.bfloat16, enabled=fast_precision(device) == 'bfloat16')
