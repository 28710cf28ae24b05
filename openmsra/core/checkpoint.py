"""Checkpoint files: nothing in them is executed, every weight arrives or the load fails, and none is half written."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from torch import nn

# What a training checkpoint holds beside tensors and plain containers: numpy numbers.
ALLOWED = (
    np.ndarray,
    np.dtype,
    np._core.multiarray._reconstruct,
    np._core.multiarray.scalar,
    *{type(np.dtype(kind)) for kind in ('float64', 'float32', 'int64', 'int32', 'bool')},
)


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read safely or does not fit the model; the message says why."""


def load_file(path: str | Path, map_location: str | torch.device = 'cpu') -> dict[str, Any]:
    """Read a checkpoint without executing anything in it (``weights_only`` with an explicit allow-list).

    Raises:
        CheckpointError: the file is missing, damaged, or holds objects other than tensors, containers and numbers.
    """
    if not Path(path).is_file():
        raise CheckpointError(f'{path}: there is no such checkpoint file.')
    try:
        with torch.serialization.safe_globals(list(ALLOWED)):
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition('Unsupported')[2].partition('.')[0].strip() or _first_line(error)
        raise CheckpointError(
            f'{path}: refused, because it is not a plain checkpoint of weights ({reason[:200]}). '
            'Nothing in it was executed; convert it with one of tools/model_converters/.'
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f'{path}: damaged or not a checkpoint ({_first_line(error)}).') from None
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path}: holds a {type(checkpoint).__name__}, not a dictionary of weights.')
    return checkpoint


def save_file(checkpoint: dict[str, Any], path: str | Path) -> None:
    """Write a checkpoint so that ``path`` holds either the old or the complete new content, also after a crash."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with temporary.open('wb') as stream:
            torch.save(checkpoint, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


class PlainLogBuffersHook(Hook):
    """Writes mmengine's log buffers as plain tensors: pickled as they are, they need ``getattr`` to be loaded."""

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            name: dict(zip(('values', 'counts'), map(torch.from_numpy, buffer.data), strict=True))
            for name, buffer in hub['log_scalars'].items()
        }

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        buffers = checkpoint.get('message_hub', {}).get('log_scalars', {})
        for name, buffer in buffers.items():
            buffers[name] = HistoryBuffer(buffer['values'].tolist(), buffer['counts'].tolist())


def load_weights(model: nn.Module, checkpoint: dict[str, Any], source: str | Path) -> None:
    """Load ``checkpoint['state_dict']`` (or the dictionary itself) into ``model``, every key or none.

    Raises:
        CheckpointError: keys are missing, unexpected or misshapen; the message lists them.
    """
    state = checkpoint.get('state_dict', checkpoint)
    if hasattr(model, 'complete_checkpoint'):
        state = model.complete_checkpoint(state)
    own = model.state_dict()
    missing = sorted(set(own) - set(state))
    unexpected = sorted(set(state) - set(own))
    misshapen = [
        f'{key}: file {tuple(state[key].shape)}, model {tuple(own[key].shape)}'
        for key in sorted(set(own) & set(state))
        if state[key].shape != own[key].shape
    ]
    faults = {'missing in the file': missing, 'unknown to the model': unexpected, 'of another shape': misshapen}
    if any(faults.values()):
        lines = [f'{source} does not fit {type(model).__name__}; nothing was loaded.']
        if hasattr(model, 'describe_checkpoint'):
            lines.append(f'  {model.describe_checkpoint(state)}')
        lines += [f'  {len(keys)} key(s) {what}: {_shorten(keys)}' for what, keys in faults.items() if keys]
        raise CheckpointError('\n'.join(lines))
    model.load_state_dict(state, strict=True)


def _shorten(keys: list[str], most: int = 12) -> str:
    return ', '.join(keys[:most]) + (f', ... ({len(keys) - most} more)' if len(keys) > most else '')
