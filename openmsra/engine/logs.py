"""What is logged of a training step, read from the device once."""

import torch
from mmengine.hooks import RuntimeInfoHook as MMEngineRuntimeInfoHook

from openmsra.registry import HOOKS


@HOOKS.register_module(name='RuntimeInfoHook')
class RuntimeInfoHook(MMEngineRuntimeInfoHook):
    """mmengine's hook, whose message hub waits for the device once for each logged value, with one wait for all of them."""

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        super().after_train_iter(runner, batch_idx, data_batch, read(outputs) if outputs else outputs)


def read(outputs: dict) -> dict:
    """Tensors of one number as numbers, to the last digit; everything else as it is."""
    far = {name: value for name, value in outputs.items() if isinstance(value, torch.Tensor) and value.numel() == 1}
    if not far:
        return outputs
    device = next((value.device for value in far.values() if value.device.type != 'cpu'), torch.device('cpu'))
    far = {name: value for name, value in far.items() if value.device == device}
    exact = [value.detach().flatten().double() for value in far.values()]
    return outputs | dict(zip(far, torch.cat(exact).tolist(), strict=True))
