"""What short runs show beside their data."""

from mmengine.hooks import Hook

from openmsra.registry import HOOKS


@HOOKS.register_module()
class ValidateBeforeTraining(Hook):
    """Validates once before the first step, so that a curve begins with what random weights give."""

    priority = 'VERY_LOW'  # the other hooks have prepared the run

    def before_train(self, runner) -> None:
        if runner.iter == 0:  # a resumed run has its first figure already
            runner.val_loop.run()
