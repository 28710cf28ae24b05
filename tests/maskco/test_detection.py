"""mmdet builds the detection configs and starts from the exported backbone."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from openmsra import compat
from openmsra.engine.checkpoint.io import save_file
from openmsra.engine.config.files import load_config
from openmsra.maskco.export import backbone_weights
from openmsra.registry import MODELS

compat.bridge_torchvision()
FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'maskco'
CONFIGS = sorted((FOLDER / 'detection').glob('*rcnn*.py'))  # the ResNet-50s
TRANSFER = FOLDER / 'detection' / 'soft-teacher-burnin_r18-tiny_1xb4-200i_shapes.py'


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
    from mmdet.registry import MODELS as MMDET_MODELS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    state, file = exported
    cfg = Config.fromfile(config)
    parts = [cfg.model.backbone] + ([cfg.model.roi_head.shared_head] if 'shared_head' in cfg.model.roi_head else [])
    for part in parts:
        part.init_cfg.checkpoint = str(file)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MMDET_MODELS.build(cfg.model)
        model.init_weights()
    own = dict(model.backbone.state_dict(), **(model.roi_head.shared_head.state_dict() if len(parts) == 2 else {}))
    assert set(own) == set(state)
    assert all(torch.equal(own[key], value) for key, value in state.items())
    assert all(parameter.requires_grad for parameter in model.backbone.parameters())


@pytest.mark.full
def test_detector_of_the_soft_teacher_miniature_starts_from_a_mini_checkpoint(tmp_path):
    torch.manual_seed(3)
    mini, cfg = load_config(FOLDER / 'maskco_r18-tiny_1xb64-24e_digits_mini.py'), load_config(TRANSFER)
    with DefaultScope.overwrite_default_scope('openmsra'):
        pretrained = MODELS.build(mini.model)
    file = tmp_path / 'epoch_24.pth'
    save_file(dict(state_dict=pretrained.state_dict()), file)
    cfg.model.detector.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(file), prefix='backbone.')
    with DefaultScope.overwrite_default_scope('openmsra'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    for network in (model.teacher, model.student):
        own = network.backbone.state_dict()
        assert set(own) == set(pretrained.backbone.state_dict())
        assert all(torch.equal(own[key], value) for key, value in pretrained.backbone.state_dict().items())
    maps = model.student.backbone(torch.zeros(1, 3, 96, 96))
    strides = cfg.model.detector.rpn_head.anchor_generator.strides
    assert [96 // level.shape[-1] for level in maps] == strides == cfg.model.detector.roi_head.bbox_roi_extractor.featmap_strides
