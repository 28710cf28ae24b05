"""mmdet builds the detection config and starts from the exported backbone."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from openmsra import compat
from openmsra.core.checkpoint import save_file
from openmsra.maskco.export import backbone_weights

compat.bridge_torchvision()
CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'maskco' / 'detection' / 'mask-rcnn_r50_fpn_1x_coco.py'


@pytest.mark.full
def test_mask_rcnn_starts_from_the_exported_backbone(tmp_path):
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmpretrain.models import ResNet

    register_all_modules(init_default_scope=False)
    torch.manual_seed(3)
    source = ResNet(50)
    source.init_weights()
    weights = backbone_weights({f'backbone.{key}': value for key, value in source.state_dict().items()}, 'mmpretrain')
    save_file(dict(state_dict=weights), tmp_path / 'backbone.pth')
    cfg = Config.fromfile(CONFIG)
    cfg.model.backbone.init_cfg.checkpoint = str(tmp_path / 'backbone.pth')
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        model.init_weights()
    own = model.backbone.state_dict()
    assert set(own) == set(source.state_dict())
    assert all(torch.equal(own[key], value) for key, value in source.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.backbone.parameters())
