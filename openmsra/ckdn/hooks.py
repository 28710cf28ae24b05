"""The two training stages, by epoch, and a watch over the branch of references."""

from mmengine.hooks import Hook

from openmsra.engine.wrappers import unwrapped
from openmsra.registry import HOOKS


@HOOKS.register_module()
class TwoStageHook(Hook):
    """Ranking of restored pairs in the first ``rank_epochs`` epochs, scores and distillation afterwards."""

    def __init__(self, rank_epochs: int = 10) -> None:
        self.rank_epochs = rank_epochs

    def before_train_epoch(self, runner) -> None:
        model = unwrapped(runner.model)
        model.stage = 'rank' if runner.epoch < self.rank_epochs else 'score'
        runner.logger.info(f'CKDN: epoch {runner.epoch + 1} trains the {model.stage} stage')


@HOOKS.register_module()
class CollapseWatchHook(Hook):
    """Say in the log when T collapses: its features of all references become the same, which the alignment alone would like.

    Watched is the variance of T(P) over a batch, ``spread``, against that of the first iteration of the training. The quartic
    alignment can also drive T the other way; then the spread grows out of all bounds. Either is said once in an epoch.

    Args:
        share: of the first spread; below it T counts as collapsed, above its inverse as running away.
    """

    FIRST = 'ckdn_first_spread'  # in the message hub, so that a resumed training compares with the same

    def __init__(self, share: float = 0.1) -> None:
        if not 0 < share < 1:
            raise ValueError(f'share must lie between 0 and 1, got {share}')
        self.share, self.warned_epoch = share, -1

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        if 'spread' not in outputs:
            return
        spread = float(outputs['spread'])
        if self.FIRST not in runner.message_hub.runtime_info:
            runner.message_hub.update_info(self.FIRST, spread)
        first = runner.message_hub.get_info(self.FIRST)
        if self.share * first <= spread <= first / self.share or self.warned_epoch == runner.epoch:
            return
        self.warned_epoch = runner.epoch
        what = 'is collapsing, it hardly tells references apart any more' if spread < first else 'is running away'
        runner.logger.warning(
            f'CKDN: T {what}: the variance of its features over a batch is {spread:.2g}, {spread / max(first, 1e-12):.3g} times '
            f'the {first:.2g} at the start (diff {float(outputs["diff"]):.2g}). Usual causes: a start without ImageNet weights '
            '(model.imagenet_weights), a rate that does not fit the batch (0.16 is for 64 pairs), a large model.loss.kd_weight.'
        )
