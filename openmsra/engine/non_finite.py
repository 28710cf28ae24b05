"""A loss that is not finite never reaches the weights: all processes decide together, before the backward pass."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper as MMEngineAmpOptimWrapper
from mmengine.optim import OptimWrapper as MMEngineOptimWrapper
from mmengine.structures import BaseDataElement

from openmsra.engine.checkpoint.io import save_file
from openmsra.engine.data.loader import Position
from openmsra.engine.data.samples import describe
from openmsra.errors import NonFiniteLossError
from openmsra.registry import HOOKS, OPTIM_WRAPPERS


class _FiniteOnly:
    """An optimizer wrapper that refuses to go backwards from a loss that is not finite on any process."""

    refused = ''  # what was not finite in the last iteration: 'loss', 'gradient' or nothing
    watched = False  # whether a NonFiniteLossHook looks at ``refused``

    def initialize_count_status(self, model, init_counts: int, max_counts: int) -> None:
        """mmengine's, without its warning that a resume inside an accumulated batch loses gradients: checkpoints have them."""
        super().initialize_count_status(model, 0, max_counts)
        self._inner_count = init_counts

    def update_params(self, loss: torch.Tensor, *args, **kwargs) -> None:
        """mmengine's ``update_params`` for a finite loss.

        Raises:
            NonFiniteLossError: the loss is not finite and no hook is there to say more.
        """
        self.refused = '' if _finite_everywhere(loss) else 'loss'
        if self.refused:
            self._inner_count += 1
            self.zero_grad()  # of earlier parts of an accumulated batch
        else:
            super().update_params(loss, *args, **kwargs)
        if self.refused and not self.watched:
            raise NonFiniteLossError(f'The {self.refused} is not finite on this or another process; no weight was changed.')


@OPTIM_WRAPPERS.register_module(name='OptimWrapper')
class OptimWrapper(_FiniteOnly, MMEngineOptimWrapper):
    """mmengine's wrapper; losses, and clipped gradients, that are not finite leave the weights alone."""

    def step(self, **kwargs) -> None:
        """Clip and step, unless the norm of the gradients (equal on all processes) is not finite."""
        if not self.clip_grad_kwargs or self.grad_name != 'grad_norm':
            super().step(**kwargs)
            return
        self.clip_grad_kwargs['error_if_nonfinite'] = True
        try:
            super().step(**kwargs)
        except RuntimeError as error:
            if 'non-finite' not in str(error):
                raise
            self.refused = 'gradient'


@OPTIM_WRAPPERS.register_module(name='AmpOptimWrapper')
class AmpOptimWrapper(_FiniteOnly, MMEngineAmpOptimWrapper):
    """mmengine's mixed precision; losses that are not finite leave the weights alone (overflowing gradients the scaler sees)."""


def _finite_everywhere(loss: torch.Tensor) -> bool:
    flag = torch.isfinite(loss.detach()).all().logical_not().float()
    if get_world_size() > 1:
        all_reduce(flag, 'sum')
    return not flag.item()


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Says which loss term of which iteration and samples is not finite, saves the batch, and stops the run or skips the batch.

    The batch is saved beside the log by each process whose loss is not finite, as ``non_finite_iter<N>_rank<R>.pth``.

    Args:
        max_skips: how many batches of a run may be skipped; then, and with 0 at once, the run stops. Skipping copies the buffers
            (BatchNorm statistics, queues) before each step, so that they come back as they were.

    Raises:
        NonFiniteLossError: on all processes in the same iteration.
    """

    priority = 'HIGHEST'  # before anything looks at the outputs

    def __init__(self, max_skips: int = 0) -> None:
        self.max_skips, self.skipped = max_skips, 0
        self.buffers: list[torch.Tensor] = []

    def before_train(self, runner) -> None:
        runner.optim_wrapper.watched = True

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if self.max_skips:
            self.buffers = [buffer.clone() for buffer in runner.model.buffers()]

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        if not runner.optim_wrapper.refused:
            return
        refused = runner.optim_wrapper.refused
        message = '; '.join(filter(None, all_gather_object(self._own_part(runner, refused, data_batch, outputs or {}))))
        message = f'Iteration {runner.iter + 1}: {message}. The weights are as they were before this iteration.'
        if self.skipped >= self.max_skips:
            raise NonFiniteLossError(f'{message} NonFiniteLossHook(max_skips=...) would skip such batches.')
        self.skipped += 1
        for buffer, before in zip(runner.model.buffers(), self.buffers, strict=True):
            buffer.copy_(before)
        runner.logger.log(logging.WARNING, f'{message} Skipped, {self.skipped} of at most {self.max_skips}.')

    def _own_part(self, runner, refused: str, data_batch: Any, outputs: dict) -> str | None:
        """What is wrong on this process, with its batch saved; ``None`` if its loss is finite and that of another is not."""
        values = {name: float(value) for name, value in outputs.items() if 'loss' in name}
        terms = {name: value for name, value in values.items() if not np.isfinite(value)}
        if refused == 'gradient':
            terms = {'the norm of the gradients': float('nan')}
        if not terms:
            return None
        indices, names = _samples(runner)
        path = Path(runner.log_dir) / f'non_finite_iter{runner.iter + 1}_rank{runner.rank}.pth'
        save_file(dict(iter=runner.iter + 1, losses=values, indices=indices, samples=names, batch=_plain(data_batch)), path)
        terms.pop('loss', None) if len(terms) > 1 else None  # the sum says nothing that its terms do not
        listed = ', '.join(f'{name} is {value}' for name, value in terms.items())
        more = f' and {len(names) - 8} more' if len(names) > 8 else ''
        return f'{listed} on process {runner.rank} (samples {", ".join(names[:8])}{more}; batch saved in {path})'


def _samples(runner) -> tuple[list[int], list[str]]:
    """Indices and files of the batch that is being trained."""
    epoch, batches = runner.train_loop.position
    loader = runner.train_loop.dataloader
    indices = [int(index) for index in loader.keyed.indices(Position(epoch, batches - 1))]
    return indices, [describe(loader.dataset, index) for index in indices]


def _plain(value: Any) -> Any:
    """Tensors and plain containers, so that the saved batch can be read without executing anything."""
    if isinstance(value, torch.Tensor):
        return value.cpu()
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf':
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, BaseDataElement):
        return {key: _plain(item) for key, item in value.all_items()}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | type(None)) else repr(value)
