"""mmdet builds the detection configs and starts from the exported backbone."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from openmsra import compat
from openmsra.core.checkpoint import save_file
from openmsra.maskco.export import backbone_weights

compat.bridge_torchvision()
CONFIGS = sorted((Path(__file__).resolve().parents[2] / 'configs' / 'maskco' / 'detection').glob('*rcnn*.py'))  # the ResNet-50s


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A backbone without pre-training, and the file that the export tool would write of it."""
    from mmpretrain.models import ResNet

    torch.manual_seed(3)
    source = ResNet(50)
    source.init_weights()
    file = tmp_path_factory.mktemp('exported') / 'backbone.pth'
    state = source.state_dict()
    save_file(dict(state_dict=backbone_weights({f'backbone.{key}': value for key, value in state.items()}, 'mmpretrain')), file)
    return state, file


@pytest.mark.full
@pytest.mark.parametrize('config', CONFIGS, ids=lambda path: path.stem)
def test_detector_starts_from_the_exported_backbone(config, exported):
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    state, file = exported
    cfg = Config.fromfile(config)
    parts = [cfg.model.backbone] + ([cfg.model.roi_head.shared_head] if 'shared_head' in cfg.model.roi_head else [])
    for part in parts:
        part.init_cfg.checkpoint = str(file)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        model.init_weights()
    own = dict(model.backbone.state_dict(), **(model.roi_head.shared_head.state_dict() if len(parts) == 2 else {}))
    assert set(own) == set(state)
    assert all(torch.equal(own[key], value) for key, value in state.items())
    assert all(parameter.requires_grad for parameter in model.backbone.parameters())
