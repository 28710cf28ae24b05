"""What a checkpoint must hold to be gone on from, and how far the run had come in its data and random numbers."""

import ast
import difflib
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size
from mmengine.optim import OptimWrapper
from torch import nn

from openmsra.engine import rng
from openmsra.engine.data.loader import Position
from openmsra.errors import CheckpointError

# lines of a config that differ between a run and its continuation
NOT_COMPARED = ('resume = ', 'load_from = ', 'work_dir = ', 'launcher = ', 'trust_checkpoint = ')
# settings whose state a checkpoint holds
STATE_WINS = ('optim_wrapper', 'param_scheduler', 'auto_scale_lr')


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


@torch.no_grad()
def capture_gradients(model: nn.Module, optim_wrapper: OptimWrapper) -> dict[str, torch.Tensor]:
    """Gradients of a half accumulated batch (``accumulative_counts``) by parameter, to be called on all processes.

    Each process has those of its own samples until the last part of the batch; their mean, which has the same sum over the
    processes, takes their place, here and in the run that goes on. Empty after a step of the optimizer.
    """
    if not isinstance(optim_wrapper, OptimWrapper) or optim_wrapper.should_update():
        return {}
    parameters = dict(model.named_parameters())
    with_gradient = [name for name, parameter in parameters.items() if parameter.grad is not None]
    present = sorted(set().union(*all_gather_object(with_gradient)))
    for name in present if get_world_size() > 1 else ():
        parameter = parameters[name]
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        all_reduce(parameter.grad, 'mean')
    return {name: parameters[name].grad for name in present}


def restore_gradients(model: nn.Module, gradients: dict[str, torch.Tensor]) -> None:
    """Put back what :func:`capture_gradients` has returned.

    Raises:
        ValueError: a gradient is of no parameter, or of another shape.
    """
    parameters = dict(model.named_parameters())
    for name, gradient in gradients.items():
        if name not in parameters or gradient.shape != parameters[name].shape:
            raise ValueError(f'the gradient of {name[:80]!r} belongs to no parameter of this model')
        parameters[name].grad = gradient.to(parameters[name])


def samples_per_update(loop, optim_wrapper: OptimWrapper) -> int:
    """Samples of all processes between two steps of the optimizer."""
    return _samples_per_batch(loop) * getattr(optim_wrapper, '_accumulative_counts', 1)


def keep_pace(runner, before: int | None) -> str:
    """What a resume does about another number of samples between two steps of the optimizer (another number of processes, say).

    With ``auto_scale_lr`` the learning rates of the checkpoint and of its schedules are scaled in proportion.

    Args:
        before: the number of the run that wrote the checkpoint; ``None`` if it is not known.

    Returns:
        a sentence for the log; empty where nothing has changed.
    """
    now, processes = samples_per_update(runner.train_loop, runner.optim_wrapper), get_world_size()
    parts = f'{processes} process(es), accumulative_counts={getattr(runner.optim_wrapper, "_accumulative_counts", 1)}'
    if before in (None, now):
        return f'The optimizer makes a step every {now} samples, as before ({parts}).' if before else ''
    changed = f'The optimizer made a step every {before} samples and makes one every {now} now ({parts})'
    if not (runner.auto_scale_lr or {}).get('enable') or not isinstance(runner.optim_wrapper, OptimWrapper):
        return (
            f'{changed}; the learning rate stays. To keep the batch set optim_wrapper.accumulative_counts so that processes x '
            f'batch_size x accumulative_counts is {before}; to scale the learning rate by {now / before:g} give --auto-scale-lr.'
        )
    ratio = now / before
    for group in runner.optim_wrapper.param_groups:
        group.update({name: group[name] * ratio for name in ('lr', 'initial_lr') if name in group})
    for scheduler in runner.param_schedulers or []:
        if scheduler.param_name == 'lr':
            scheduler.base_values = [value * ratio for value in scheduler.base_values]
            scheduler._last_value = [value * ratio for value in scheduler._last_value]
    return f'{changed}; the learning rate was scaled by {ratio:g} (auto_scale_lr).'


def _samples_per_batch(loop) -> int:
    batch_sampler = getattr(loop.dataloader, 'batch_sampler', None)
    return (loop.dataloader.batch_size or getattr(batch_sampler, 'batch_size', 1)) * get_world_size()


def config_changes(before: str, now: str) -> list[str]:
    """Lines that differ between two configs, compared as text: ``- old`` and ``+ new``."""
    texts = [[line for line in text.splitlines() if not line.startswith(NOT_COMPARED)] for text in (before, now)]
    return [line for line in difflib.unified_diff(*texts, n=0, lineterm='') if not line.startswith(('---', '+++', '@@'))]


def overruled_settings(before: str, now: str) -> list[str]:
    """Settings of the config ``now`` that a resumed run does not use: a checkpoint written under ``before`` has their state.

    Both are config texts, which are parsed and not executed.
    """
    values = [_assigned(before), _assigned(now)]
    return [
        f'{name} = {changed[:300]} (the checkpoint: {old[:300]})'
        for name in STATE_WINS
        if (old := values[0].get(name, 'None')) != (changed := values[1].get(name, 'None'))
    ]


def _assigned(text: str) -> dict[str, str]:
    """What a config text assigns to the settings in question, the optimizer's part of the wrapper only."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return {}
    values = {}
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in STATE_WINS:
            name, value = node.targets[0].id, node.value
            if name == 'optim_wrapper' and isinstance(value, ast.Call):
                value.keywords = [word for word in value.keywords if word.arg in ('optimizer', 'paramwise_cfg', 'constructor')]
            values[name] = ast.unparse(value)
    return values


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
    yield lambda: all(isinstance(meta.get(name, ''), str) for name in ('cfg', 'optimized_with')), 'its config is no text'
    yield lambda: isinstance(hub, dict) and _is_hub(hub), 'its message hub is malformed'
    yield lambda: isinstance(checkpoint.get('optimizer'), dict), 'it has no state of the optimizer'
    schedulers = checkpoint.get('param_schedulers', [])
    yield (
        lambda: isinstance(schedulers, list) and all(isinstance(item, dict) for item in schedulers),
        'its schedules are malformed',
    )
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
        gradients = progress.get('gradients', {})
        return (
            all(map(_is_count, (epoch, batches, progress['samples_per_batch'])))
            and all({'python', 'numpy', 'torch'} <= set(state) for state in states)
            and all(isinstance(name, str) and isinstance(gradient, torch.Tensor) for name, gradient in gradients.items())
        )
    except (TypeError, KeyError, ValueError, AttributeError):
        return False
