"""Networks of several arms, with parameters of their own, trained on the same batches in one run of tools/train.py."""

from abc import abstractmethod
from pathlib import Path

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from benchmarks.training import Training
from openmsra.engine.checkpoint.io import load_file
from openmsra.registry import MODELS


class SideBySide(BaseModel):
    """Networks on the same batches; the losses are added up, so that each gets its own gradient.

    Args:
        arms: the model of each, by a name of :func:`arm_key`.
        seed: all of them start from the weights of this seed.
    """

    def __init__(self, arms: dict[str, dict], seed: int, data_preprocessor: dict) -> None:
        super().__init__(data_preprocessor)
        self.arms = nn.ModuleDict()
        for name, config in arms.items():
            torch.manual_seed(seed)
            self.arms[name] = MODELS.build(config)
            self.arms[name].init_weights()

    def forward(self, *batch, mode: str, **named) -> dict[str, Tensor]:
        """Losses and figures of all arms, ``NAME/loss`` and so on; the arguments are those of a network of its own."""
        return {
            f'{name}/{figure}': value
            for name, arm in self.arms.items()
            for figure, value in self.losses(name, arm, *batch, **named).items()
        }

    @abstractmethod
    def losses(self, name: str, arm: nn.Module, *batch, **named) -> dict[str, Tensor]:
        """``loss`` of an arm, and figures for the log."""


def arm_key(arm: str, rate: float, *settings: float) -> str:
    """A name for a module: an arm at a learning rate (and further settings)."""
    name = '_'.join([f'{arm}_lr{rate:g}', *(f'{value:g}' for value in settings)])
    return ''.join(letter if letter.isalnum() else '_' for letter in name)


def rates_apart(rates: dict[str, float], optimizer: dict) -> dict:
    """Options of an optimiser wrapper with a learning rate for each arm (by its key)."""
    highest = max(rates.values())
    factors = {f'arms.{key}.': dict(lr_mult=rate / highest) for key, rate in rates.items()}
    return dict(optimizer=dict(optimizer, lr=highest), paramwise_cfg=dict(custom_keys=factors))


def load_arm(model: nn.Module, run_folder: Path, key: str) -> nn.Module:
    """``model`` with the weights of an arm of a finished run, ready to be judged."""
    weights, prefix = load_file(Training('', run_folder, 0).checkpoint)['state_dict'], f'arms.{key}.'
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    model.load_state_dict({name: value for name, value in own.items() if name in model.state_dict()})
    return model.eval()
