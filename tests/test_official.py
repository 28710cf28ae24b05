"""Peers from a checkout of the official code; here checkouts of a few lines that need the same of today's torch."""

import sys

import pytest
import torch
from torch import nn

from benchmarks import official
from openmsra.errors import MissingFileError

AUTOFORMER = """
from torch._six import container_abcs
print('loading')
class Vision_TransformerSuper:
    def __init__(self, **settings):
        assert issubclass(list, container_abcs.Iterable)
        self.settings = settings
    def set_sample_config(self, config):
        self.config = config
"""
CKDN = """
class Bottleneck: pass
class ResNet:
    def __init__(self, block, layers):
        self.built = block, layers
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Writes the modules of a checkout; nothing of it stays importable."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    before = set(sys.modules)

    def write(**modules):
        for name, text in modules.items():
            file = tmp_path.joinpath(*name.split('__')).with_suffix('.py')
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_autoformer_gets_what_torch_has_dropped_and_an_architecture_of_ours(checkout, capsys):
    arch = dict(embed_dim=240, depth=2, num_heads=[4, 3], mlp_ratio=[4.0, 3.5])
    network = official.autoformer(checkout(model__supernet_transformer=AUTOFORMER), arch)
    assert network.config == dict(embed_dim=[240, 240], num_heads=[4, 3], mlp_ratio=[4.0, 3.5], layer_num=2)
    assert network.settings['change_qkv'] and network.settings['relative_position'] and network.settings['gp']
    assert capsys.readouterr().out == ''


def test_ckdn_is_built_without_its_download(checkout):
    network = official.ckdn(checkout(ckdn=CKDN))
    assert network.built[1] == [3, 4, 6, 3] and network.built[0].__name__ == 'Bottleneck'


@pytest.mark.parametrize('build', [official.ftcn, official.ckdn, lambda folder: official.autoformer(folder, {})])
def test_another_folder_is_no_checkout(tmp_path, build):
    with pytest.raises(MissingFileError, match='not a checkout of the official code'):
        build(tmp_path)
    assert not any(hasattr(layer, 'device') for layer in (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d))  # torch is as it was


def test_times_are_compared_for_equal_outputs_alone():
    outputs = torch.tensor([1.0, -20.0])
    assert official.same(outputs, outputs + torch.tensor([0.0, 1e-4])) == pytest.approx(5e-6, rel=0.05)
    with pytest.raises(RuntimeError, match='differ from those of the official code'):
        official.same(outputs, outputs * 1.001)
