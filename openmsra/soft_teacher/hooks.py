"""What happens around the iterations: the teacher follows, alpha is scheduled, the teacher is exported."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from openmsra.common.ema import ema_update, ramped_momentum
from openmsra.engine.checkpoint.io import save_file
from openmsra.registry import HOOKS


@HOOKS.register_module()
class MeanTeacher(Hook):
    """Moves the teacher before each training iteration t: m_t = min(momentum, 1 - (1 + w) / (t + 1 + w)) (official hook).

    With ``w = 0`` the teacher is the mean of all students so far until m reaches ``momentum``. The ramp starts at iteration 0
    and again after the burn-in, where m is 0 and the teacher thus becomes a copy of the student.

    Args:
        momentum: m, share of the old teacher.
        warm_up: w.
        interval: only every so many iterations.
        decay_steps, decay_factor: from each of these iterations on, 1 - m is multiplied by the factor.
        buffers: 'copy', 'ema' or 'keep', see :func:`ema_update`.
        restart: whether the ramp starts again after the burn-in; without it the average of the burn-in goes on.
        keep_loaded_teacher: a teacher loaded by ``load_from`` is kept: no ramp.
    """

    def __init__(
        self,
        momentum: float = 0.999,
        warm_up: int = 0,
        interval: int = 1,
        decay_steps: Sequence[int] = (),
        decay_factor: float = 0.1,
        buffers: str = 'copy',
        restart: bool = True,
        keep_loaded_teacher: bool = False,
    ) -> None:
        if not 0 <= momentum <= 1:
            raise ValueError(f'MeanTeacher: momentum={momentum} is the share of the old teacher and must be in [0, 1].')
        if interval < 1:
            raise ValueError(f'MeanTeacher: interval={interval} must be at least 1.')
        self.momentum, self.warm_up, self.interval, self.buffers = momentum, warm_up, interval, buffers
        self.decay_steps, self.decay_factor = sorted(decay_steps), decay_factor
        self.restart, self.keep_loaded_teacher = restart, keep_loaded_teacher

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        model = unwrapped(runner)
        model.iteration = runner.iter
        if runner.iter % self.interval:
            return
        momentum = self.momentum_at(runner.iter, model.settings.burn_in_iters)
        ema_update(model.teacher, model.student, momentum, self.buffers)
        runner.message_hub.update_scalar('train/ema_momentum', momentum)

    def momentum_at(self, iteration: int, burn_in: int = 0) -> float:
        """m of an iteration; a function of it alone, so that a resumed run goes on as it would have."""
        momentum = 1 - (1 - self.momentum) * self.decay_factor ** bisect_right(self.decay_steps, iteration)
        if self.keep_loaded_teacher:
            return momentum
        start = burn_in if self.restart and iteration >= burn_in else 0
        return ramped_momentum(iteration - start, momentum, self.warm_up)


@HOOKS.register_module()
class UnsupWeightSchedule(Hook):
    """Alpha over the iterations: piecewise constant or linear between points.

    Args:
        steps: iterations in ascending order; negative ones count from the end of the training.
        values: alpha at each step; before the first the first holds, after the last the last.
        linear: interpolate between the steps.
    """

    def __init__(self, steps: Sequence[int], values: Sequence[float], linear: bool = False) -> None:
        if len(steps) != len(values) or not steps:
            raise ValueError(f'UnsupWeightSchedule: {len(steps)} steps and {len(values)} values; give one value for each step.')
        self.steps, self.values, self.linear = list(steps), list(values), linear

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        weight = self.value_at(runner.iter, runner.max_iters)
        unwrapped(runner).unsup_weight = weight
        runner.message_hub.update_scalar('train/unsup_weight', weight)

    def value_at(self, iteration: int, max_iters: int) -> float:
        steps = [step if step >= 0 else max_iters + step for step in self.steps]
        if self.linear:
            return float(np.interp(iteration, steps, self.values))
        return self.values[max(bisect_right(steps, iteration) - 1, 0)]


@HOOKS.register_module()
class ExportTeacher(Hook):
    """Writes the teacher as a plain detector at the end of the training: ``teacher.pth`` in the work dir."""

    def after_train(self, runner) -> None:
        if runner.rank == 0:
            path = f'{runner.work_dir}/teacher.pth'
            save_file(plain_detector(unwrapped(runner).state_dict(), 'teacher', dict(runner.visualizer.dataset_meta or {})), path)
            runner.logger.info(f'SoftTeacher: wrote the teacher as a plain detector to {path}')


def plain_detector(state: dict, network: str = 'teacher', dataset_meta: dict | None = None) -> dict:
    """The checkpoint of one of the two networks under the names of the plain detector config.

    Args:
        state: ``state_dict`` of :class:`SoftTeacher`.
        network: 'teacher', 'student' or 'mean' of both.
        dataset_meta: class names and the like, which mmdet's inference reads.

    Raises:
        ValueError: an unknown network, or ``state`` is not of a teacher and a student.
    """
    if network not in ('teacher', 'student', 'mean'):
        raise ValueError(f"network={network!r}; valid are 'teacher', 'student' and 'mean'.")
    parts = {
        name: {key.removeprefix(f'{name}.'): value.cpu() for key, value in state.items() if key.startswith(f'{name}.')}
        for name in ('teacher', 'student')
    }
    if not all(parts.values()):
        raise ValueError('the checkpoint has no keys "teacher.*" and "student.*": it is not one of Soft Teacher.')
    if network == 'mean':
        weights = {
            key: (value + parts['student'][key]) / 2 if value.is_floating_point() else value
            for key, value in parts['teacher'].items()
        }
    else:
        weights = parts[network]
    return dict(state_dict=weights, meta=dict(dataset_meta=dataset_meta or {}))


def unwrapped(runner):
    """The detector inside a data-parallel wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
