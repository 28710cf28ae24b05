"""Frozen norms in their convolutions: the same outputs and gradients, less to keep, and no second norm where it is replaced."""

import copy

import pytest
import torch
from mmdet.models.backbones.resnet import ResNet
from mmengine.model import initialize
from torch import nn

from openmsra.soft_teacher.frozen_norms import FoldedConv2d, FrozenNorm, fold_frozen_norms

KINDS = {
    'as in the recipes': dict(
        depth=50, style='caffe', frozen_stages=1, norm_eval=True, norm_cfg=dict(type='BN', requires_grad=False)
    ),
    'basic blocks': dict(depth=18, frozen_stages=-1, norm_eval=True),
    'gradients of the norm': dict(depth=50, frozen_stages=-1, norm_eval=True),
    'average before': dict(depth=50, avg_down=True, frozen_stages=-1, norm_eval=True),
    'deep stem': dict(depth=50, deep_stem=True, frozen_stages=-1, norm_eval=True),
    'checkpointing': dict(depth=18, with_cp=True, frozen_stages=-1, norm_eval=True),
    'statistics of the batch': dict(depth=18, frozen_stages=-1, norm_eval=False),
    'GroupNorm': dict(depth=18, frozen_stages=-1, norm_cfg=dict(type='GN', num_groups=4)),
}


def _networks(**settings) -> tuple[nn.Module, nn.Module]:
    """mmdet's network with statistics that are not 0 and 1, and a folded copy."""
    torch.manual_seed(0)
    plain = ResNet(base_channels=8, **{'style': 'pytorch', **settings}).double()
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5), module.bias.data.normal_()
    folded = copy.deepcopy(plain)
    fold_frozen_norms(nn.ModuleList([folded]))
    plain.train(), folded.train()
    return plain, folded


def _outputs_and_gradients(network: nn.Module) -> dict[str, torch.Tensor]:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    outputs = network(images)
    sum((output**2).sum() for output in outputs).backward()
    gradients = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    return {f'output {k}': output for k, output in enumerate(outputs)} | gradients | dict(images=images.grad)


@pytest.mark.parametrize('kind', KINDS)
def test_outputs_and_gradients_are_those_of_mmdet(kind):
    plain, folded = _networks(**KINDS[kind])
    assert any(isinstance(module, FoldedConv2d) for module in folded.modules()) == (kind != 'GroupNorm')
    expected, seen = _outputs_and_gradients(plain), _outputs_and_gradients(folded)
    assert expected.keys() == seen.keys() and len(seen) > 20
    for name, value in expected.items():
        torch.testing.assert_close(seen[name], value, rtol=1e-9, atol=1e-9 * value.abs().max().item(), msg=name)
    buffers = dict(folded.named_buffers())
    for name, value in plain.named_buffers():
        torch.testing.assert_close(buffers[name], value, rtol=1e-9, atol=1e-9)


def test_every_convolution_with_a_frozen_norm_is_folded():
    _, folded = _networks(**KINDS['as in the recipes'])
    kinds = [type(module) for module in folded.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    assert kinds.count(FoldedConv2d) == kinds.count(FrozenNorm) == 53 and len(kinds) == 106


@pytest.mark.parametrize('replace', [nn.SyncBatchNorm.convert_sync_batchnorm, copy.deepcopy])
def test_norm_that_is_replaced_is_computed_once(replace):
    """On processes a run may ask for SyncBatchNorm, which does its own work."""
    plain, folded = _networks(**KINDS['gradients of the norm'])
    folded = replace(folded)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    plain.eval(), folded.eval()
    for seen, expected in zip(folded(images), plain(images), strict=True):
        torch.testing.assert_close(seen, expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())


def test_a_copy_reads_its_own_norms():
    _, folded = _networks(**KINDS['basic blocks'])
    other = copy.deepcopy(folded)
    assert other.conv1.place[0] is other and other.layer1[0].conv1.place[0] is other.layer1[0]
    assert folded.state_dict().keys() == other.state_dict().keys()


@pytest.mark.parametrize('layer', ['_BatchNorm', 'BatchNorm2d'])
def test_settings_of_the_initialisation_reach_the_norms(layer):
    _, folded = _networks(**KINDS['basic blocks'])
    initialize(folded, dict(type='Constant', val=0.25, layer=layer))
    assert all((module.weight == 0.25).all() for module in folded.modules() if isinstance(module, FrozenNorm))


def _kept(network: nn.Module) -> int:
    """Bytes for the gradient, without the network's own weights."""
    sizes, weights = {}, {value.untyped_storage().data_ptr() for value in network.parameters()}

    def keep(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        network(torch.randn(1, 3, 512, 512, dtype=torch.float64))
    return sum(size for place, size in sizes.items() if place not in weights)


def test_less_is_kept_for_the_gradient():
    plain, folded = map(_kept, _networks(**KINDS['as in the recipes']))
    assert folded < 0.7 * plain, (plain, folded)
