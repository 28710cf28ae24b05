"""How the teacher follows the student (sec. 3.1), and numbers that change over the iterations."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from mmengine.logging import MessageHub
from torch import nn

from openmsra.common.ema import BUFFERS, ema_update, ramped_momentum
from openmsra.errors import ConfigError


class MeanTeacher:
    """Moves the teacher before each training iteration t: m_t = min(momentum, 1 - (1 + w) / (t + 1 + w)) (official hook).

    With ``w = 0`` the teacher is the mean of all students so far until m reaches ``momentum``. The ramp starts at iteration 0
    and again after the burn-in, where m is 0 and the teacher thus becomes a copy of the student.

    Args:
        momentum: m, the share of the old teacher that is kept.
        warm_up: w.
        interval: only every so many iterations.
        decay_steps, decay_factor: from each of these iterations on, 1 - m is multiplied by the factor.
        buffers: 'copy', 'ema' or 'keep', see :func:`ema_update`.
        restart: whether the ramp starts again after the burn-in; without it the average of the burn-in goes on.
        keep_loaded_teacher: a teacher loaded by ``load_from`` is kept: no ramp.

    Raises:
        ConfigError: a value out of range.
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
            raise ConfigError(f'mean_teacher: momentum={momentum} is the share of the old teacher and must be in [0, 1].')
        if interval < 1:
            raise ConfigError(f'mean_teacher: interval={interval} must be at least 1.')
        if buffers not in BUFFERS:
            raise ConfigError(f'mean_teacher: buffers={buffers!r}; valid are {", ".join(BUFFERS)}.')
        self.momentum, self.warm_up, self.interval, self.buffers = momentum, warm_up, interval, buffers
        self.decay_steps, self.decay_factor = sorted(decay_steps), decay_factor
        self.restart, self.keep_loaded_teacher = restart, keep_loaded_teacher

    def update(self, teacher: nn.Module, student: nn.Module, iteration: int, burn_in: int = 0) -> float | None:
        """Move the teacher; returns m, or ``None`` in an iteration that is left out."""
        if iteration % self.interval:
            return None
        momentum = self.momentum_at(iteration, burn_in)
        ema_update(teacher, student, momentum, self.buffers)
        return momentum

    def momentum_at(self, iteration: int, burn_in: int = 0) -> float:
        """m of an iteration; a function of it alone, so that a resumed run goes on as it would have."""
        momentum = 1 - (1 - self.momentum) * self.decay_factor ** bisect_right(self.decay_steps, iteration)
        if self.keep_loaded_teacher:
            return momentum
        start = burn_in if self.restart and iteration >= burn_in else 0
        return ramped_momentum(iteration - start, momentum, self.warm_up)


class WeightSchedule:
    """A weight over the iterations: piecewise constant or linear between points.

    Args:
        steps: iterations in ascending order; negative ones count from the end of the training.
        values: the weight at each step; before the first the first holds, after the last the last.
        linear: interpolate between the steps.

    Raises:
        ConfigError: not one value for each step, or a negative one.
    """

    def __init__(self, steps: Sequence[int], values: Sequence[float], linear: bool = False) -> None:
        if len(steps) != len(values) or not steps:
            raise ConfigError(f'unsup_weight: {len(steps)} steps and {len(values)} values; give one value for each step.')
        if min(values) < 0:
            raise ConfigError(f'unsup_weight: values={list(values)}; a weight cannot be negative.')
        self.steps, self.values, self.linear = list(steps), list(values), linear

    def value_at(self, iteration: int, max_iters: int) -> float:
        steps = [step if step >= 0 else max_iters + step for step in self.steps]
        if self.linear:
            return float(np.interp(iteration, steps, self.values))
        return self.values[max(bisect_right(steps, iteration) - 1, 0)]


def progress_of_run(name: str) -> int:
    """``iter`` or ``max_iters`` of the runner of this process.

    Raises:
        ConfigError: nothing counts: the teacher's ramp, the burn-in and schedules would stand still.
    """
    value = MessageHub.get_current_instance().get_info(name)
    if value is None:
        raise ConfigError(
            f'SoftTeacher: nothing says which iteration this is ({name}), so the teacher would not follow its schedule. '
            "Keep default_hooks.runtime_info = dict(type='RuntimeInfoHook'); in a loop of your own set model.iteration."
        )
    return value
