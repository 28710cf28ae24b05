"""What is logged of a step is read at once, without changing a digit."""

import torch

from openmsra.engine.logs import RuntimeInfoHook, read
from openmsra.registry import HOOKS


def test_numbers_are_those_of_the_tensors():
    far = {name: torch.tensor(value) for name, value in dict(loss=1 / 3, count=7, large=1e-30, none=float('nan')).items()}
    far |= dict(one=torch.tensor([0.1], dtype=torch.float64), half=torch.tensor(0.1, dtype=torch.bfloat16, requires_grad=True))
    others = dict(rate=0.25, many=torch.zeros(3), name='text')
    got = read(far | others)
    assert list(got) == list(far | others)
    assert {name: str(float(value)) for name, value in far.items()} == {name: str(got[name]) for name in far}
    assert all(got[name] is value for name, value in others.items())
    assert read({}) == {}


def test_it_takes_the_place_of_the_hook_of_mmengine():
    assert HOOKS.get('RuntimeInfoHook') is RuntimeInfoHook
