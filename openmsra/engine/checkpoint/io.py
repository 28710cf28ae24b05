"""Checkpoint files: nothing in them is executed, every weight arrives or the load fails, and none is half written."""

import pickle
import re
import threading
import zipfile
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from torch import nn

from openmsra.engine.checkpoint.files import write_durably
from openmsra.errors import CheckpointError, DamagedCheckpointError

# What a training checkpoint holds beside tensors and plain containers: numpy numbers.
ALLOWED = (
    np.ndarray,
    np.dtype,
    np._core.multiarray._reconstruct,
    np._core.multiarray.scalar,
    *{type(np.dtype(kind)) for kind in ('float64', 'float32', 'int64', 'int32', 'bool')},
)
_ALLOWING = threading.Lock()  # torch's list of what is allowed belongs to all threads, and each takes back what it found


def load_file(path: str | Path, map_location: str | torch.device = 'cpu', trust: bool = False) -> dict[str, Any]:
    """Read a checkpoint without executing anything in it (``weights_only`` with an explicit allow-list).

    Args:
        path: the file.
        map_location: device of the tensors.
        trust: execute what the file contains, as pickle does; only for files of one's own.

    Raises:
        DamagedCheckpointError: the file is missing, truncated, or its checksums are wrong.
        CheckpointError: it holds objects other than tensors, containers and numbers, or claims absurd sizes.
    """
    if not Path(path).is_file():
        raise DamagedCheckpointError(f'{path}: there is no such checkpoint file.')
    _check_archive(path)
    try:
        with _ALLOWING, torch.serialization.safe_globals(list(ALLOWED)):
            checkpoint = torch.load(path, map_location=map_location, weights_only=not trust)
    except pickle.UnpicklingError as error:
        reason = str(error).partition('Unsupported')[2].partition('.')[0].strip() or _first_line(error)
        raise CheckpointError(
            f'{path}: refused, because it is not a plain checkpoint of weights ({reason[:200]}). '
            'Nothing in it was executed; convert it with one of tools/model_converters/, '
            'or pass --trust-checkpoint if you wrote it yourself.'
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise DamagedCheckpointError(f'{path}: damaged or not a checkpoint ({_first_line(error)}).') from None
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path}: holds a {type(checkpoint).__name__}, not a dictionary of weights.')
    for tensor in _tensors(checkpoint):
        if tensor.layout == torch.strided and tensor.numel() > tensor.untyped_storage().nbytes() // tensor.element_size():
            raise CheckpointError(f'{path}: a tensor claims the shape {tuple(tensor.shape)} and has fewer numbers; refused.')
    return checkpoint


def _check_archive(path: str | Path) -> None:
    """Checksums (torch does not verify them), entries that are larger than the file, names that leave the archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > Path(path).stat().st_size:
                raise CheckpointError(f'{path}: its entries claim to be larger than the file; refused.')
            if any('..' in entry.filename.split('/') or entry.filename.startswith('/') for entry in entries):
                raise CheckpointError(f'{path}: an entry has a name that leads out of the archive; refused.')
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        with open(path, 'rb') as stream:
            if stream.read(2) == b'PK':
                raise DamagedCheckpointError(f'{path}: damaged or truncated ({_first_line(error)}).') from None
        return  # the format of torch before 1.6: the loader judges it
    if damaged:
        raise DamagedCheckpointError(f'{path}: damaged; the checksum of {damaged} is wrong.')


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """All tensors in nested containers, each container once (a file may nest them exponentially)."""
    seen, waiting = set(), [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, torch.Tensor):
            yield item
        elif isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            waiting += item.values() if isinstance(item, dict) else item


def save_file(checkpoint: dict[str, Any], path: str | Path) -> None:
    """Write a checkpoint so that ``path`` holds either the old or the complete new content, also after a crash."""
    write_durably(path, lambda stream: torch.save(compact(checkpoint), stream))


def compact(value: Any) -> Any:
    """Containers whose tensors hold no more than their own numbers: a view would be written with all that it is a view of.

    Tensors that share a storage and fill it, such as tied weights, go on sharing it.
    """
    if isinstance(value, torch.Tensor):
        whole = value.layout != torch.strided or value.numel() * value.element_size() == value.untyped_storage().nbytes()
        return value if whole else value.detach().clone(memory_format=torch.contiguous_format)
    if isinstance(value, dict):
        copied = copy(value)  # with the versions of modules that a state dict has as an attribute
        copied.update({key: compact(item) for key, item in value.items()})
        return copied
    if isinstance(value, list | tuple) and not hasattr(value, '_fields'):
        return type(value)(map(compact, value))
    return value


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


class PlainStateHook(Hook):
    """Writes as plain data what would need ``getattr`` to be loaded: log buffers, and schedules that hold their own methods."""

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        for state in checkpoint.get('param_schedulers', []):  # fresh dictionaries; OneCycleLR's has the shape of its curve
            for name in [name for name, value in state.items() if callable(value)]:
                del state[name]
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            name: dict(zip(('values', 'counts'), map(torch.from_numpy, buffer.data), strict=True))
            for name, buffer in hub['log_scalars'].items()
        }

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        buffers = checkpoint.get('message_hub', {}).get('log_scalars', {})
        for name, buffer in buffers.items():
            buffers[name] = HistoryBuffer(buffer['values'].tolist(), buffer['counts'].tolist())


def weights_of(checkpoint: dict[str, Any], source: str | Path) -> dict[str, torch.Tensor]:
    """The weights of a file from any code base: below ``state_dict`` or ``model`` or bare, without data-parallel prefixes.

    Raises:
        CheckpointError: there are none.
    """
    state = next((checkpoint[key] for key in ('state_dict', 'model') if isinstance(checkpoint.get(key), dict)), checkpoint)
    _refuse_other_than_weights(state, source)
    return {re.sub(r'^(module\.)+', '', key): value for key, value in state.items()}


def _refuse_other_than_weights(state: object, source: str | Path) -> None:
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f'{source}: it holds no dictionary of weights; nothing was loaded.')


def load_weights(model: nn.Module, checkpoint: dict[str, Any], source: str | Path) -> None:
    """Load ``checkpoint['state_dict']`` (or the dictionary itself) into ``model``, every key or none.

    Raises:
        CheckpointError: keys are missing, unexpected or misshapen; the message lists them.
    """
    state = checkpoint.get('state_dict', checkpoint)
    _refuse_other_than_weights(state, source)
    if hasattr(model, 'complete_checkpoint'):
        state = model.complete_checkpoint(state)
    expected = model.state_dict()
    missing = sorted(set(expected) - set(state))
    unexpected = sorted(set(state) - set(expected))
    misshapen = [
        f'{key}: file {tuple(state[key].shape)}, model {tuple(expected[key].shape)}'
        for key in sorted(set(expected) & set(state))
        if state[key].shape != expected[key].shape
    ]
    faults = {'missing in the file': missing, 'unknown to the model': unexpected, 'of another shape': misshapen}
    if any(faults.values()):
        lines = [f'{source} does not fit {type(model).__name__}; nothing was loaded.']
        if hasattr(model, 'describe_checkpoint'):
            lines.append(f'  {model.describe_checkpoint(state)}')
        lines += [f'  {len(keys)} key(s) {what}: {shorten(keys)}' for what, keys in faults.items() if keys]
        raise CheckpointError('\n'.join(lines))
    model.load_state_dict(state, strict=True)


def shorten(keys: list[str], most: int = 12) -> str:
    return ', '.join(keys[:most]) + (f', ... ({len(keys) - most} more)' if len(keys) > most else '')
