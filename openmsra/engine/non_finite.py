"""A loss that is not finite never reaches the weights: all processes decide together, before the backward pass."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.optim import AmpOptimWrapper as MMEngineAmpOptimWrapper
from mmengine.optim import OptimWrapper as MMEngineOptimWrapper
from mmengine.structures import BaseDataElement
from torch import nn

from openmsra.engine.checkpoint.io import save_file
from openmsra.engine.data.loader import Position
from openmsra.engine.data.samples import describe
from openmsra.engine.wrappers import unwrapped
from openmsra.errors import ConfigError, NonFiniteLossError
from openmsra.registry import HOOKS, OPTIM_WRAPPERS

AMP_DTYPES = dict(float16=torch.float16, bfloat16=torch.bfloat16)
SCALE_INTERVAL = 50  # iterations between two looks at the loss scale, which wait for the device
SMALLEST_SCALE = 2.0**-20  # from 2^16 after 36 overflows without a step between them


def computes_bfloat16(device_type: str) -> bool:
    """Whether a 'cpu' (with AVX-512, by the rule of oneDNN) or a 'cuda' device (from Ampere on) computes in bfloat16.

    Others emulate it, which takes longer than float32: convolutions of a processor with AVX2 ten times as long.
    """
    if device_type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device_type != 'cpu' or torch.ops.mkldnn._is_mkldnn_bf16_supported()


class _NotFiniteError(ArithmeticError):
    """The loss or the norm of the gradients, as the message says, is not finite."""


class _FiniteOnly:
    """An optimizer wrapper that refuses to go backwards from a loss that is not finite on any process."""

    refused = ''  # what was not finite in the last iteration: 'loss', 'gradient' or nothing
    scales = False  # whether a loss scaler looks after gradients that are not finite
    watched = False  # whether a NonFiniteLossHook looks at ``refused``
    finite: torch.Tensor | None = None  # whether the loss is, where it is read together with the norm of the gradients

    def initialize_count_status(self, model, init_counts: int, max_counts: int) -> None:
        """mmengine's, without its warning that a resume inside an accumulated batch loses gradients: checkpoints have them."""
        super().initialize_count_status(model, 0, max_counts)
        self._inner_count = init_counts

    def update_params(self, loss: torch.Tensor, *args, **kwargs) -> None:
        """mmengine's ``update_params`` for a finite loss.

        Raises:
            NonFiniteLossError: the loss is not finite and no hook is there to say more.
        """
        finite = _finite_everywhere(loss)
        self.finite = finite if self._takes_the_norm() and self.should_sync() else None
        self.refused = '' if self.finite is not None or finite else 'loss'
        if self.refused:
            self._inner_count += 1
            self.zero_grad()  # of earlier parts of an accumulated batch
        else:
            super().update_params(loss, *args, **kwargs)
        if self.refused and not self.watched:
            raise NonFiniteLossError(f'The {self.refused} is not finite on this or another process; no weight was changed.')

    def step(self, **kwargs) -> None:
        """Clip and step, unless the loss or the norm of the gradients (equal on all processes) is not finite."""
        if not self._takes_the_norm():
            super().step(**kwargs)
            return
        self.clip_func = self._clipped_norm
        try:
            super().step(**kwargs)
        except _NotFiniteError as error:
            self.refused = str(error)

    def _takes_the_norm(self) -> bool:
        return bool(self.clip_grad_kwargs) and self.grad_name == 'grad_norm' and not self.scales

    def _clipped_norm(self, parameters: list[torch.Tensor], **options) -> float:
        """torch's ``clip_grad_norm_``; the norm and whether the loss is finite are read at once: the host waits once a step.

        Raises:
            _NotFiniteError: one of them is not.
        """
        norm = torch.nn.utils.clip_grad_norm_(parameters, **options)
        finite, self.finite = self.finite, None
        values = [norm] if finite is None else [norm, finite.to(norm)]
        norm, *finite = torch.stack(values).tolist()
        if finite == [0.0] or not np.isfinite(norm):
            raise _NotFiniteError('loss' if finite == [0.0] else 'gradient')
        return norm


@OPTIM_WRAPPERS.register_module(name='OptimWrapper')
class OptimWrapper(_FiniteOnly, MMEngineOptimWrapper):
    """mmengine's wrapper; losses, and clipped gradients, that are not finite leave the weights alone."""


@OPTIM_WRAPPERS.register_module(name='AmpOptimWrapper')
class AmpOptimWrapper(_FiniteOnly, MMEngineAmpOptimWrapper):
    """mmengine's mixed precision, with bfloat16 on every device that torch can autocast on, the CPU included.

    Losses that are not finite leave the weights alone. Gradients that overflow in float16 are the loss scaler's normal work: it
    leaves out the step and halves its scale. A device that only emulates bfloat16 is named in a warning.

    Args:
        loss_scale: 'dynamic', a constant, or the arguments of ``torch.amp.GradScaler``; bfloat16 needs none and has none.
        dtype: 'float16' or 'bfloat16'.
        kwargs: see ``OptimWrapper``.

    Raises:
        ConfigError: another dtype, or float16 where there is no accelerator.
    """

    def __init__(self, loss_scale: str | float | dict = 'dynamic', dtype: str | torch.dtype | None = None, **kwargs) -> None:
        MMEngineOptimWrapper.__init__(self, **kwargs)  # mmengine's own refuses the CPU and scales bfloat16 too
        self.cast_dtype = AMP_DTYPES.get(str(dtype or 'float16').removeprefix('torch.'))
        self.device_type = self.optimizer.param_groups[0]['params'][0].device.type
        if self.cast_dtype is None:
            raise ConfigError(f'AmpOptimWrapper: dtype={dtype!r}; valid are {" and ".join(map(repr, AMP_DTYPES))}.')
        scaled = self.cast_dtype == torch.float16
        if scaled and self.device_type == 'cpu':
            raise ConfigError(
                'Mixed precision in float16 needs a GPU and there is none; on a CPU give --amp-dtype bfloat16, or '
                '--amp-dtype float32.'
            )
        if not scaled and not computes_bfloat16(self.device_type):
            faster = 'float32' if self.device_type == 'cpu' else 'float16'
            MMLogger.get_current_instance().warning(
                f'This {self.device_type} device emulates bfloat16, which is slower than --amp-dtype {faster}.'
            )
        self._scale_update_param = loss_scale if isinstance(loss_scale, int | float) else None
        options = dict(init_scale=loss_scale) if self._scale_update_param else loss_scale if isinstance(loss_scale, dict) else {}
        self.loss_scaler = torch.amp.GradScaler(self.device_type, enabled=scaled, **options)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Casts inside, and leaves out the synchronisation of gradients while they accumulate."""
        with MMEngineOptimWrapper.optim_context(self, model), torch.autocast(self.device_type, dtype=self.cast_dtype):
            yield

    def load_state_dict(self, state_dict: dict) -> None:
        """mmengine's, also from a run with another dtype, whose scaler has no state or one that is not needed."""
        state_dict = dict(state_dict)
        if not (self.scales and state_dict.get('loss_scaler')):
            state_dict.pop('loss_scaler', None)
        super().load_state_dict(state_dict)

    @property
    def scales(self) -> bool:
        """Whether losses are scaled: in float16."""
        return self.loss_scaler.is_enabled()


def _finite_everywhere(loss: torch.Tensor) -> torch.Tensor:
    """Whether it is, as a tensor on its device, equal on all processes."""
    flag = torch.isfinite(loss.detach()).all().logical_not().float()
    if get_world_size() > 1:
        all_reduce(flag, 'sum')
    return flag == 0


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Says which loss term of which iteration and samples is not finite, saves the batch, and stops the run or skips the batch.

    The batch is saved beside the log by each process whose loss is not finite, as ``non_finite_iter<N>_rank<R>.pth``.

    With a loss scaler (float16) an activation that overflows now and then is normal: such batches are skipped with a warning, and
    the run ends when there are ``max_overflows`` of them in a row, or when the scale has fallen so far that no gradient is left.

    A model may know more: ``explain_non_finite(figures)`` is given what its iteration logs, as numbers, and returns why the loss
    is not finite and what to do, or an empty text.

    Args:
        max_skips: how many batches of a run may be skipped; then, and with 0 at once, the run stops. Skipping copies the buffers
            (BatchNorm statistics, queues) before each step, so that they come back as they were.
        max_overflows: how many batches in a row may be skipped beside these where losses are scaled.

    Raises:
        NonFiniteLossError: on all processes in the same iteration.
    """

    priority = 'HIGHEST'  # before anything looks at the outputs

    def __init__(self, max_skips: int = 0, max_overflows: int = 20) -> None:
        self.max_skips, self.skipped = max_skips, 0
        self.max_overflows, self.overflows = max_overflows, 0
        self.buffers: list[torch.Tensor] = []

    def before_train(self, runner) -> None:
        runner.optim_wrapper.watched = True

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if self.max_skips or runner.optim_wrapper.scales:
            self.buffers = [buffer.clone() for buffer in runner.model.buffers()]

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        scaled = runner.optim_wrapper.scales
        if scaled and self.every_n_train_iters(runner, SCALE_INTERVAL):
            _require_scale(runner.optim_wrapper.loss_scaler.get_scale())
        refused = runner.optim_wrapper.refused
        if not refused:
            self.overflows = 0
            return
        tolerated = scaled and self.overflows < self.max_overflows
        faults = all_gather_object(self._fault_here(runner, refused, data_batch, outputs or {}, save=not tolerated))
        message = f'Iteration {runner.iter + 1}: {"; ".join(filter(None, faults))}. The weights are as they were before it.'
        if not tolerated and self.skipped >= self.max_skips:
            raise NonFiniteLossError(f'{message} NonFiniteLossHook(max_skips=...) would skip such batches.')
        self.skipped, self.overflows = self.skipped + (not tolerated), self.overflows + tolerated
        for buffer, before in zip(runner.model.buffers(), self.buffers, strict=True):
            buffer.copy_(before)
        limit = (
            f'{self.overflows} of at most {self.max_overflows} in a row' if tolerated else f'{self.skipped} of {self.max_skips}'
        )
        runner.logger.log(logging.WARNING, f'{message} Skipped, {limit}.')

    def _fault_here(self, runner, refused: str, data_batch: Any, outputs: dict, save: bool) -> str | None:
        """What is wrong on this process, its batch saved if asked for; ``None`` if its loss is finite and another's is not."""
        figures = {name: float(value) for name, value in outputs.items()}
        values = {name: value for name, value in figures.items() if 'loss' in name}
        terms = {name: value for name, value in values.items() if not np.isfinite(value)}
        if refused == 'gradient':
            terms = {'the norm of the gradients': float('nan')}
        if not terms:
            return None
        indices, names = _samples(runner)
        path = Path(runner.log_dir) / f'non_finite_iter{runner.iter + 1}_rank{runner.rank}.pth'
        if save:
            save_file(dict(iter=runner.iter + 1, losses=values, indices=indices, samples=names, batch=_plain(data_batch)), path)
        terms.pop('loss', None) if len(terms) > 1 else None  # the sum says nothing that its terms do not
        listed = ', '.join(f'{name} is {value}' for name, value in terms.items())
        more = f' and {len(names) - 8} more' if len(names) > 8 else ''
        saved = f'; batch saved in {path}' if save else ''
        model = unwrapped(runner.model)
        explain = getattr(model, 'explain_non_finite', None)
        reason = explain(figures) if explain and refused == 'loss' else ''
        return f'{listed} on process {runner.rank} (samples {", ".join(names[:8])}{more}{saved}){reason and f": {reason}"}'


def _require_scale(scale: float) -> None:
    if scale < SMALLEST_SCALE:
        raise NonFiniteLossError(
            f'The loss scale has fallen to {scale:.3g}: gradients overflow in float16 in every iteration and no weight changes. '
            'Use --amp-dtype bfloat16, a lower learning rate, or --amp-dtype float32.'
        )


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
