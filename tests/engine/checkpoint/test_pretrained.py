"""Weights to start from: nothing in the file is executed, and a file that does not fit is an error, for each library's loader."""

import os
from pathlib import Path
from urllib.error import URLError

import mmengine.runner
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from mmengine.runner.checkpoint import CheckpointLoader, _load_checkpoint_with_prefix
from torch import nn

from openmsra import compat
from openmsra.apis import init_model
from openmsra.engine.checkpoint import pretrained
from openmsra.engine.checkpoint.io import load_file
from openmsra.engine.config.files import load_config
from openmsra.errors import CheckpointError
from openmsra.needs import has_operators
from openmsra.registry import MODELS


class _Gadget:
    def __reduce__(self):
        return os.system, ('touch executed',)


class Small(BaseModule):
    """A backbone with batch norm."""

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)


def _initialized(checkpoint, **init_cfg) -> Small:
    model = Small(dict(type='Pretrained', checkpoint=str(checkpoint), **init_cfg))
    model.init_weights()
    return model


def _mmpretrain_resnet(path: str) -> None:
    compat.bridge_torchvision()
    from mmpretrain.models import ResNet

    ResNet(18, init_cfg=dict(type='Pretrained', checkpoint=path)).init_weights()


def _mmpretrain_get_model(path: str) -> None:
    compat.bridge_torchvision()
    from mmpretrain import get_model

    get_model('resnet18_8xb32_in1k', pretrained=path)


def _mmaction_resnet(path: str) -> None:
    compat.bridge_mmaction()
    from mmaction.models.backbones import C3D

    C3D(pretrained=path).init_weights()


def _mmdet_swin(path: str) -> None:
    compat.bridge_torchvision()
    from mmdet.models import SwinTransformer

    with pretrained.foreign_loads_are_checked():  # as the runner and init_model do
        init_cfg = ConfigDict(type='Pretrained', checkpoint=path)
        SwinTransformer(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1), init_cfg=init_cfg).init_weights()


LOADERS = {
    'Pretrained': _initialized,
    'Pretrained with prefix': lambda path: _initialized(path, prefix='backbone.'),
    'load_checkpoint': lambda path: mmengine.runner.load_checkpoint(Small(), path),
    'mmpretrain ResNet': _mmpretrain_resnet,
    'mmpretrain get_model': _mmpretrain_get_model,
    'mmaction C3D': _mmaction_resnet,
    'mmdet Swin': pytest.param(_mmdet_swin, marks=pytest.mark.full),
}
each_loader = pytest.mark.parametrize('load', LOADERS.values(), ids=LOADERS)


@pytest.mark.parametrize(
    'load', [*LOADERS.values(), CheckpointLoader.load_checkpoint, lambda path: _load_checkpoint_with_prefix('a', path)]
)
def test_code_in_the_file_is_refused_and_not_run(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict=dict(weight=torch.zeros(1)), meta=_Gadget()), 'evil.pth')
    with pytest.raises(CheckpointError, match=r'evil\.pth: refused'):
        load('evil.pth')
    assert not (tmp_path / 'executed').exists()


@each_loader
def test_file_of_which_nothing_fits_is_an_error(load, tmp_path):
    torch.save({'backbone.other.weight': torch.zeros(1)}, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='0 of its|Not one weight'):
        load(str(tmp_path / 'other.pth'))


def test_classifier_head_in_the_file_is_fine_and_named(tmp_path, caplog):
    state = {key: torch.full_like(value, 2) for key, value in Small().state_dict().items() if 'num_batches' not in key}
    torch.save(dict(state_dict={**state, 'fc.weight': torch.zeros(1)}), tmp_path / 'a.pth')
    model = _initialized(tmp_path / 'a.pth')
    assert all((value == 2).all() for key, value in model.state_dict().items() if 'num_batches' not in key)


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (lambda state: state.pop('norm.weight'), '5 of its 6 weights are in the file.*1 missing: norm.weight'),
        (
            lambda state: state.update({'conv.weight': torch.zeros(5, 3, 1, 1)}),
            r'5 of its 6 weights.*conv.weight: file \(5, 3, 1, 1\), model \(4, 3, 1, 1\)',
        ),
    ],
)
def test_file_that_fits_in_part_is_an_error(change, sentence, tmp_path):
    state = Small().state_dict()
    change(state)
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=f'(?s)a.pth does not fit Small: {sentence}'):
        _initialized(tmp_path / 'a.pth')


def test_forgotten_prefix_is_suggested(tmp_path):
    torch.save({f'backbone.{key}': value for key, value in Small().state_dict().items()}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match="0 of its 6 .*(?s:.*)did you mean prefix='backbone.'"):
        _initialized(tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match="No key of the file begins with the prefix 'neck.'"):
        _initialized(tmp_path / 'a.pth', prefix='neck.')
    _initialized(tmp_path / 'a.pth', prefix='backbone.')


@pytest.mark.parametrize(
    ('name', 'file'),
    [
        ('torchvision://resnet18', 'resnet18-f37072fd.pth'),
        ('open-mmlab://detectron2/resnet50_caffe', 'resnet50_msra-5891d200.pth'),
        ('https://example.com/folder/weights.pth', 'weights.pth'),
    ],
)
def test_name_without_a_network_says_where_to_put_the_file(name, file, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise URLError('no network')

    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', offline)
    path = tmp_path / 'hub/checkpoints' / file
    with pytest.raises(CheckpointError, match=f'(?s)cannot be downloaded here.*no network.*put it at {path}, or name a file'):
        _initialized(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({key: torch.full_like(value, 3) for key, value in Small().state_dict().items()}, path)
    assert (_initialized(name).conv.weight == 3).all()


def test_unknown_name_and_address_are_named():
    with pytest.raises(CheckpointError, match='there is no such name. Did you mean .*resnet50_caffe'):
        _initialized('open-mmlab://detectron2/resnet50_cafe')
    with pytest.raises(CheckpointError, match='copy the file to a local folder'):
        _initialized('s3://bucket/file.pth')


INSTANT = sorted(Path('configs').glob('*/*_instant.py'))


@pytest.mark.parametrize('config', INSTANT, ids=lambda path: path.parent.name)
def test_init_cfg_of_a_whole_model_is_what_it_starts_from(config, tmp_path):
    """A model with an ``init_weights`` of its own must not pass over the file that the user names."""
    if config.parent.name == 'soft_teacher' and not has_operators():
        pytest.skip("needs mmcv's compiled operators: make install-full")
    file = tmp_path / 'weights.pth'
    torch.manual_seed(1)
    torch.save(dict(state_dict=init_model(config).state_dict()), file)
    cfg = load_config(config, {'model.init_cfg': dict(type='Pretrained', checkpoint=str(file))})
    torch.manual_seed(2)
    with DefaultScope.overwrite_default_scope('openmsra'):
        model = MODELS.build(cfg.model)
        model.init_weights()
    expected = load_file(file)['state_dict']
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name
