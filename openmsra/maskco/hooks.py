"""The pretext task under watch: a queue or batch that does not suit the contrast, features that collapse."""

from mmengine.hooks import Hook

from openmsra.engine.wrappers import unwrapped
from openmsra.registry import HOOKS


@HOOKS.register_module()
class PretextWatch(Hook):
    """Warns of settings that are known to fail, and logs how far the queue has been filled with real keys.

    Args:
        std_floor: below this mean standard deviation of the query vectors the features are said to collapse (a healthy
            value is about 1 / sqrt(D)).
    """

    def __init__(self, std_floor: float = 0.01) -> None:
        self.std_floor = std_floor

    def before_train(self, runner) -> None:
        queue = unwrapped(runner.model).queue.shape[1]
        images = len(runner.train_dataloader.dataset)
        if queue > images:
            runner.logger.warning(
                f'MaskCo: the queue holds {queue} keys and the data set {images} images, so that the queue holds keys of the '
                f'query image itself. Set model.queue_len to at most {max(1, images // 4)} and model.momentum to 0.99-0.995.'
            )
        batch = runner.train_dataloader.batch_size * runner.world_size
        if batch > 1024:
            runner.logger.warning(f'MaskCo: a batch of {batch} images; users of MoCo v2 report lower accuracy beyond 1024.')
        if runner.world_size == 1:
            runner.logger.info('MaskCo: one device, so shuffling of BatchNorm has no effect (use SyncBN or GN on several).')

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        queue = unwrapped(runner.model).queue.shape[1]
        batch = len(data_batch['inputs'][0]) * data_batch['regions']['key'].shape[1] * runner.world_size
        runner.message_hub.update_scalar('train/queue_fill', min(1.0, (runner.iter + 1) * batch / queue))
        std = float(outputs['query_std'])
        if self.every_n_inner_iters(batch_idx, 50) and std < self.std_floor:
            runner.logger.warning(f'MaskCo: standard deviation {std:.4f} of the query vectors: they collapse.')
