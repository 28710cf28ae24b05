"""What a checkpoint must hold to be gone on from, and how far the run had come in its data and random numbers."""

import difflib
from typing import Any

from mmengine.dist import all_gather_object, get_rank, get_world_size

from openmsra.core import rng
from openmsra.core.checkpoint import CheckpointError
from openmsra.core.loader import Position

# lines of a config that differ between a run and its continuation
NOT_COMPARED = ('resume = ', 'load_from = ', 'work_dir = ', 'launcher = ', 'trust_checkpoint = ')


def capture_progress(loop) -> dict[str, Any]:
    """Place in the data and random numbers of all processes, to be called on all of them."""
    return dict(
        position=tuple(getattr(loop, 'position', Position())),
        samples_per_batch=_samples_per_batch(loop),
        rng=all_gather_object(rng.capture()),
    )


def restore_progress(loop, progress: dict[str, Any] | None) -> str | None:
    """Put a training loop where :func:`capture_progress` was called.

    Returns:
        why the continuation will not be exact, or nothing.
    """
    if not hasattr(loop, 'position'):
        return f'{type(loop).__name__} keeps no place in the data'
    if progress is None:
        loop.position = Position(loop.epoch)
        return 'the checkpoint was written without its place in the data and its random numbers'
    epoch, batches = progress['position']
    saved, now = progress['samples_per_batch'], _samples_per_batch(loop)
    loop.position = Position(epoch, batches if saved == now else batches * saved // now)
    if len(progress['rng']) != get_world_size():
        return f'it was saved on {len(progress["rng"])} processes and goes on with {get_world_size()}'
    loop.rng_state = progress['rng'][get_rank()]
    return None if saved == now else f'a batch had {saved} samples and has {now} now'


def _samples_per_batch(loop) -> int:
    batch_sampler = getattr(loop.dataloader, 'batch_sampler', None)
    return (loop.dataloader.batch_size or getattr(batch_sampler, 'batch_size', 1)) * get_world_size()


def config_changes(before: str, now: str) -> list[str]:
    """Lines that differ between two configs, compared as text: ``- old`` and ``+ new``."""
    texts = [[line for line in text.splitlines() if not line.startswith(NOT_COMPARED)] for text in (before, now)]
    return [line for line in difflib.unified_diff(*texts, n=0, lineterm='') if not line.startswith(('---', '+++', '@@'))]


def check_training_checkpoint(checkpoint: dict[str, Any], source: Any) -> None:
    """Refuse a checkpoint that a training cannot go on from; what it contains may be anything.

    Raises:
        CheckpointError: the first fault.
    """
    fault = next((sentence for ok, sentence in _requirements(checkpoint) if not ok()), None)
    if fault:
        raise CheckpointError(f'{source}: this training cannot be resumed from it, because {fault}.')


def _requirements(checkpoint: dict):
    meta, hub = checkpoint.get('meta'), checkpoint.get('message_hub')
    yield lambda: isinstance(meta, dict), 'it has no meta data (weights alone are loaded with load_from)'
    for name in ('epoch', 'iter'):
        yield lambda name=name: _is_count(meta.get(name)), f'its {name} is no count'
    yield lambda: meta.get('seed') is None or _is_count(meta['seed']), 'its seed is no count'
    yield lambda: isinstance(meta.get('cfg', ''), str), 'its config is no text'
    yield lambda: isinstance(hub, dict) and _is_hub(hub), 'its message hub is malformed'
    yield lambda: isinstance(checkpoint.get('optimizer'), dict), 'it has no state of the optimizer'
    schedulers = checkpoint.get('param_schedulers', [])
    yield lambda: isinstance(schedulers, list) and all(isinstance(one, dict) for one in schedulers), 'its schedules are malformed'
    yield lambda: 'progress' not in checkpoint or _is_progress(checkpoint['progress']), 'its place in the data is malformed'


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_hub(hub: dict) -> bool:
    info = hub.get('runtime_info')
    return (
        all(isinstance(hub.get(name), dict) for name in ('log_scalars', 'runtime_info', 'resumed_keys'))
        and all(isinstance(value, str) for key, value in info.items() if key.startswith(('best_ckpt', 'last_ckpt')))
        and all(isinstance(value, int | float) for key, value in info.items() if key.startswith('best_score'))
    )


def _is_progress(progress: Any) -> bool:
    try:
        epoch, batches = progress['position']
        states = progress['rng']
        return all(map(_is_count, (epoch, batches, progress['samples_per_batch']))) and all(
            {'python', 'numpy', 'torch'} <= set(state) for state in states
        )
    except (TypeError, KeyError, ValueError):
        return False
