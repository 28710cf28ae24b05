"""Models inside of what distributes them."""

from mmengine.model import is_model_wrapper
from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """The model without its distributed wrapper, or itself."""
    return model.module if is_model_wrapper(model) else model
