"""The two training stages, by epoch."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from openmsra.registry import HOOKS


@HOOKS.register_module()
class TwoStageHook(Hook):
    """Ranking of restored pairs in the first ``rank_epochs`` epochs, scores and distillation afterwards."""

    def __init__(self, rank_epochs: int = 10) -> None:
        self.rank_epochs = rank_epochs

    def before_train_epoch(self, runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.stage = 'rank' if runner.epoch < self.rank_epochs else 'score'
        runner.logger.info(f'CKDN: epoch {runner.epoch + 1} trains the {model.stage} stage')
