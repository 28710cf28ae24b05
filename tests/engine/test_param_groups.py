"""Parameters of equal settings are one group of the optimizer, and train as if each had its own."""

import copy

import pytest
import torch
from mmengine.optim import DefaultOptimWrapperConstructor, build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

import openmsra.engine.runner  # noqa: F401 - registers the constructor
from openmsra.engine.config.files import load_config
from openmsra.engine.param_groups import GroupedOptimWrapperConstructor
from openmsra.registry import MODELS
from tests.test_configs import INSTANT, _marked

PARAMWISE = dict(norm_decay_mult=0.0, bias_lr_mult=2.0, bias_decay_mult=0.0, custom_keys={'head': dict(lr_mult=0.5)})


@pytest.fixture(autouse=True)
def _scope():
    """As in a run."""
    with DefaultScope.overwrite_default_scope('openmsra'):
        yield


@pytest.fixture
def net():
    torch.manual_seed(0)
    layers = dict(stem=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), body=nn.Conv2d(4, 4, 3), frozen=nn.Conv2d(4, 4, 1))
    layers['frozen'].requires_grad_(False)
    return nn.Sequential(nn.ModuleDict(layers), nn.ModuleDict(dict(head=nn.Linear(4, 2), tail=nn.Linear(4, 2))))


def forward(net: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    body, ends = net
    for layer in body.values():
        x = layer(x)
    x = x.mean((2, 3))
    return ends['head'](x) + ends['tail'](x)


@pytest.mark.parametrize(
    'optimizer',
    [
        dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
        dict(type='AdamW', lr=0.01, weight_decay=0.1, fused=True),
        dict(type='Adam', lr=0.01, weight_decay=0.1, foreach=True),
    ],
    ids=lambda optimizer: optimizer['type'],
)
def test_weights_are_those_of_a_group_for_each_parameter(net, optimizer):
    def trained(constructor) -> tuple[list[torch.Tensor], int]:
        model = copy.deepcopy(net)
        wrapper = constructor(dict(type='mmengine.OptimWrapper', optimizer=dict(optimizer)), dict(PARAMWISE))(model)
        for step in range(5):
            wrapper.update_params(forward(model, torch.full((2, 3, 8, 8), 0.1 * step).cumsum(0)).square().sum())
        return list(model.parameters()), len(wrapper.optimizer.param_groups)

    (alone, count), (joined, groups) = trained(DefaultOptimWrapperConstructor), trained(GroupedOptimWrapperConstructor)
    assert all(map(torch.equal, alone, joined))
    assert any(not torch.equal(*pair) for pair in zip(joined, net.parameters(), strict=True))
    trained_ones = sum(parameter.requires_grad for parameter in alone)
    assert (count, groups) == (trained_ones, 4)


def test_settings_stay_with_their_parameters(net):
    wrapper = build_optim_wrapper(
        net, dict(type='mmengine.OptimWrapper', optimizer=dict(type='SGD', lr=1.0, weight_decay=0.1), paramwise_cfg=PARAMWISE)
    )
    of = {id(parameter): group for group in wrapper.optimizer.param_groups for parameter in group['params']}
    names = {name: of[id(parameter)] for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert {name: (group['lr'], group['weight_decay']) for name, group in names.items()} == {
        '0.stem.weight': (1.0, 0.1),
        '0.stem.bias': (2.0, 0.0),
        '0.norm.weight': (1.0, 0.0),
        '0.norm.bias': (1.0, 0.0),
        '0.body.weight': (1.0, 0.1),
        '0.body.bias': (2.0, 0.0),
        '1.head.weight': (0.5, 0.1),
        '1.head.bias': (0.5, 0.1),
        '1.tail.weight': (1.0, 0.1),
        '1.tail.bias': (2.0, 0.0),
    }


@pytest.mark.parametrize('path', _marked(INSTANT))
def test_configs_of_all_papers_have_few_groups(path):
    cfg = load_config(path)
    for module in cfg.custom_imports.imports:
        __import__(module)
    model = MODELS.build(cfg.model)
    settings = {key: value for key, value in cfg.optim_wrapper.items() if key in ('optimizer', 'paramwise_cfg')}
    groups = build_optim_wrapper(model, dict(settings, type='mmengine.OptimWrapper')).optimizer.param_groups
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert len(groups) <= 8 and {id(p) for group in groups for p in group['params']} >= set(map(id, trained))
