"""Adaptation under watch."""

from mmengine.hooks import Hook
from torch import nn

from openmsra.engine.wrappers import unwrapped
from openmsra.registry import HOOKS


@HOOKS.register_module()
class AdaptationWatch(Hook):
    """Warns of settings that are known to fail: an inner rate that harms, a queue that suits the data badly.

    Args:
        patience: after so many measurements of the gain in a row that are negative the inner rate is said to be too big.
    """

    def __init__(self, patience: int = 5) -> None:
        self.patience, self.losses_in_a_row = patience, 0

    def before_train(self, runner) -> None:
        model = unwrapped(runner.model)
        dataset = runner.train_dataloader.dataset
        clips = sum(len(part) * part.clips for part in getattr(dataset, 'datasets', [dataset]))
        stored = getattr(model.negatives, 'pointer', None)
        if stored is not None and model.negatives.vectors.shape[1] > clips:
            runner.logger.warning(
                f'MCN: the queue holds {model.negatives.vectors.shape[1]} keys, an epoch has {clips} clips: old keys of '
                'every video stay in it. Lower model.negatives.length.'
            )
        if stored is not None and runner.world_size == 1 and any(isinstance(part, nn.BatchNorm3d) for part in model.modules()):
            runner.logger.warning(
                'MCN: one device, so that ShuffleBN has no effect: the statistics of BatchNorm can betray which key belongs to a '
                "query (He et al., MoCo, section 3.3). Train on several devices, or set model.backbone.norm_cfg=dict(type='GN', "
                "num_groups=16) or model.negatives=dict(kind='batch')."
            )

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if 'gain' not in outputs:
            return
        self.losses_in_a_row = self.losses_in_a_row + 1 if float(outputs['gain']) < 0 else 0
        if self.losses_in_a_row == self.patience:
            runner.logger.warning(
                f'MCN: adapting has made the query loss worse {self.patience} measurements in a row (now by '
                f'{-float(outputs["gain"]):.3g}): the inner rate is too big. Lower model.inner.rate.'
            )
