"""The exported backbone is an ordinary ResNet for others."""

import pytest
import torch

from openmsra import compat
from openmsra.engine.checkpoint.io import load_file, save_file
from openmsra.engine.config.files import load_config
from openmsra.errors import CheckpointError
from openmsra.maskco.export import backbone_weights
from openmsra.registry import MODELS
from tools.model_converters.maskco_export import main as export

compat.bridge_torchvision()


@pytest.fixture(scope='module')
def pretrained():
    cfg = load_config('configs/maskco/maskco_resnet50_8xb32-200e_in1k.py', {'model.queue_len': 16}).model
    torch.manual_seed(0)
    return MODELS.build(cfg).eval()


def test_torchvision_timm_and_mmpretrain_load_it_strictly_and_give_the_same_map(pretrained, tmp_path):
    import timm
    import torchvision
    from mmpretrain.models import ResNet

    for buffer in (b for n, b in pretrained.backbone.named_buffers() if n.endswith('running_var')):
        buffer.uniform_(0.5, 2)
    save_file(dict(state_dict=pretrained.state_dict()), tmp_path / 'in.pth')
    for style in ('torchvision', 'mmpretrain'):
        export([str(tmp_path / 'in.pth'), str(tmp_path / f'{style}.pth'), '--style', style])
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = pretrained(images)[-1]
        bare = load_file(tmp_path / 'torchvision.pth')
        for network in (torchvision.models.resnet50(), timm.create_model('resnet50')):
            network.fc = torch.nn.Identity()
            network.load_state_dict(bare, strict=True)
            torch.testing.assert_close(network.eval()(images), expected.mean((2, 3)), atol=1e-4, rtol=1e-4)
        plain = ResNet(50, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'mmpretrain.pth'), prefix='backbone.'))
        plain.init_weights()
        plain.eval()
        assert torch.equal(plain(images)[-1], expected)
        plain.load_state_dict(bare, strict=True)


@pytest.mark.full
def test_mmdet_loads_it_strictly_and_gives_the_same_map(pretrained):
    from mmdet.models import ResNet

    network = ResNet(50, style='pytorch', norm_cfg=dict(type='BN'), norm_eval=False)
    network.load_state_dict(backbone_weights(pretrained.state_dict()), strict=True)
    network.eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(images)[-1], pretrained(images)[-1])


def test_not_a_checkpoint_of_ours():
    with pytest.raises(CheckpointError, match='not a MaskCo checkpoint'):
        backbone_weights({'fc.weight': torch.zeros(1)})
    with pytest.raises(ValueError, match='valid are mmpretrain'):
        backbone_weights({}, 'caffe')
