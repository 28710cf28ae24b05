"""Makes the iterations of a training slow, for tests that wait for a time limit; named by ``custom_imports``."""

import time

from mmengine.hooks import Hook

from openmsra.registry import HOOKS


@HOOKS.register_module(force=True)
class Pause(Hook):
    """Some seconds of sleep before each iteration."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        time.sleep(self.seconds)
