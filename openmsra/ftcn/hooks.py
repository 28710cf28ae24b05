"""Statistics of batch norms at the end of an epoch."""

from itertools import islice

from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook
from torch.optim.swa_utils import update_bn

from openmsra.engine.wrappers import unwrapped
from openmsra.registry import HOOKS


@HOOKS.register_module()
class PreciseBNHook(Hook):
    """Replace the running statistics of all batch norms by their means over training batches, with the weights at rest.

    Running averages lag behind the weights, and are noisy where a batch holds two clips. The settings of the official code ask
    for it: ``BN.USE_PRECISE_STATS`` of SlowFast. It comes before the validation and the checkpoint of an epoch.

    Args:
        num_batches: how many batches each process takes, at most one pass over its data.
        interval: in epochs.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self, num_batches: int = 200, interval: int = 1) -> None:
        if min(num_batches, interval) < 1:
            raise ValueError(f'num_batches and interval must be at least 1, got {num_batches} and {interval}')
        self.num_batches, self.interval = num_batches, interval

    def after_train_epoch(self, runner) -> None:
        if not self.every_n_epochs(runner, self.interval):
            return
        model = unwrapped(runner.model)
        batches = islice(runner.train_dataloader, self.num_batches)
        update_bn((model.data_preprocessor(batch, training=True)['inputs'] for batch in batches), model)
        statistics = [value for name, value in model.named_buffers() if name.endswith(('running_mean', 'running_var'))]
        all_reduce_params(statistics, op='mean')
