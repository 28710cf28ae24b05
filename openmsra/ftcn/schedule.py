"""The learning rate of the official settings."""

import math

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.registry import PARAM_SCHEDULERS
from torch.optim import Optimizer


def warmup_cosine(share: float, warmup: float, start: float) -> float:
    """Factor of the base rate after a share (0..1) of the training: half a cosine, led up to by a line from ``start``."""
    cosine = 0.5 * (1 + math.cos(math.pi * max(share, warmup)))
    return cosine if share >= warmup else start + (cosine - start) * share / warmup


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(LRSchedulerMixin, _ParamScheduler):
    """Half a cosine over ``end`` epochs or iterations; the first part is a line that meets it.

    Args:
        warmup: share of the training that the line takes.
        start: first factor of the base rate.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        end: int,
        warmup: float = 0.1,
        start: float = 0.1,
        begin: int = 0,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        self.total, self.warmup, self.start = end - begin, warmup, start
        super().__init__(optimizer, begin=begin, end=end, last_step=last_step, by_epoch=by_epoch, verbose=verbose)

    @classmethod
    def build_iter_from_epoch(cls, *args, end: int, begin: int = 0, by_epoch: bool = True, epoch_length: int, **kwargs):
        """The same schedule, stepped every iteration."""
        assert by_epoch, 'only a schedule in epochs can be converted to iterations'
        return cls(*args, end=end * epoch_length, begin=begin * epoch_length, by_epoch=False, **kwargs)

    def _get_value(self) -> list[float]:
        factor = warmup_cosine(min(self.last_step / self.total, 1.0), self.warmup, self.start)
        return [base * factor for base in self.base_values]
