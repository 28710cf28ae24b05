"""What HTC++ adds: global attention behind the backbone, and tests with several views of each image."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.structures import InstanceData

from openmsra.engine.checkpoint.io import save_file
from openmsra.engine.config.files import load_config
from openmsra.engine.launch import build_runner
from openmsra.errors import ConfigError
from openmsra.soft_teacher.evaluation.multi_scale import BoxTTAModel
from openmsra.soft_teacher.extensions.global_attention import GlobalAttentionFPN
from openmsra.soft_teacher.hooks import detector_of
from tests.soft_teacher.conftest import CONFIG, sample


def test_every_position_of_the_last_map_sees_every_other():
    torch.manual_seed(0)
    neck = GlobalAttentionFPN(num_heads=2, in_channels=[4, 8], out_channels=4, num_outs=2)
    neck.init_weights()
    fine, coarse = torch.randn(1, 4, 8, 12), torch.randn(1, 8, 4, 6, requires_grad=True)
    attended = []
    neck.lateral_convs[1].register_forward_pre_hook(lambda _module, inputs: attended.append(inputs[0]))
    outputs = neck((fine, coarse))
    assert [tuple(level.shape) for level in outputs] == [(1, 4, 8, 12), (1, 4, 4, 6)]
    attended[0][0, :, 0, 0].sum().backward()
    assert (coarse.grad[0].abs().sum(0) > 0).all(), 'the corner depends on all positions'
    layer = neck.global_attention
    tokens = coarse.detach().flatten(2).transpose(1, 2)  # row by row
    normed = layer.norm1(tokens)
    expected = tokens + layer.self_attn(normed, normed, normed)[0]
    expected = expected + layer.linear2(torch.nn.functional.gelu(layer.linear1(layer.norm2(expected))))
    torch.testing.assert_close(attended[0][0, :, 2, 5], expected[0, 2 * 6 + 5], atol=1e-5, rtol=0)


class _Views(torch.nn.Module):
    """Says that an object is at the same place in each view, mirrored where the view is, and sees another one in one view."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def test_step(self, data: dict) -> list:
        view = data['data_samples'][0]
        box = [56.0, 20, 86, 50] if view.flip else [10.0, 20, 40, 50]
        boxes = [box, [60.0, 60, 80, 80]] if self.calls == 0 else [box]
        self.calls += 1
        scores, labels = torch.tensor([0.9, 0.6])[: len(boxes)], torch.tensor([1, 2])[: len(boxes)]
        masks = torch.zeros(len(boxes), 96, 96, dtype=torch.bool)
        view.pred_instances = InstanceData(bboxes=torch.tensor(boxes), scores=scores, labels=labels, masks=masks)
        return [view]


def test_views_are_merged_in_the_image():
    from mmengine.config import ConfigDict

    views = []
    for flip in (False, True, False):
        view = sample((96, 96), np.eye(3), 0)
        view.set_metainfo(dict(flip=flip, flip_direction='horizontal' if flip else None))
        views.append([view])
    model = BoxTTAModel(module=_Views(), tta_cfg=ConfigDict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
    (merged,) = model.test_step(dict(inputs=[[torch.zeros(3, 96, 96)]] * 3, data_samples=views))
    assert merged.pred_instances.labels.tolist() == [1, 2]
    assert merged.pred_instances.bboxes.tolist() == [[10, 20, 40, 50], [60, 60, 80, 80]]


def test_hooks_find_the_detector_in_wrappers():
    detector = _Views()
    merging = BoxTTAModel(module=detector, tta_cfg={})
    for model in (detector, merging, torch.nn.DataParallel(merging), torch.nn.DataParallel(detector)):
        assert detector_of(SimpleNamespace(model=model)) is detector


def _views_cfg(scales: list[int], flips: list[float]):
    cfg = load_config(CONFIG)
    cfg.test_cfg = dict(type='MultiScaleTestLoop', nms=dict(type='nms', iou_threshold=0.5), max_per_img=20)
    meta = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadCheckedImage'),
        dict(
            type='TestTimeAug',
            transforms=[
                [dict(type='mmdet.Resize', scale=(scale, scale), keep_ratio=True) for scale in scales],
                [dict(type='mmdet.RandomFlip', prob=flip) for flip in flips],
                [dict(type='mmdet.PackDetInputs', meta_keys=meta)],
            ],
        ),
    ]
    cfg.test_dataloader.dataset.indices = 4
    return cfg


class _Collect(Hook):
    """Detections of a test."""

    def __init__(self) -> None:
        self.found = []

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=()) -> None:
        self.found += [output.pred_instances for output in outputs]


def test_one_view_gives_the_boxes_of_the_usual_test_and_several_give_others(build, tmp_path):
    """Through the runner, as tools/test.py does; the model is the usual one again afterwards."""
    weights = tmp_path / 'weights.pth'
    save_file(dict(state_dict=build().state_dict()), weights)
    usual = load_config(CONFIG)
    usual.test_dataloader.dataset.indices = 4
    collected = []
    for cfg in (usual, _views_cfg([96], [0.0]), _views_cfg([96, 128], [0.0, 1.0])):
        cfg.work_dir, cfg.launcher, cfg.load_from = str(tmp_path / str(len(collected))), 'none', str(weights)
        runner, collect = build_runner(cfg), _Collect()
        runner.register_hook(collect)
        assert 'coco/bbox_mAP' in runner.test()
        assert type(runner.model).__name__ == 'SoftTeacher'
        collected.append(collect.found)
    assert [len(found) for found in collected] == [4, 4, 4]
    for plain, single, several in zip(*collected, strict=True):
        assert len(plain) and torch.equal(plain.labels, single.labels)
        torch.testing.assert_close(plain.bboxes, single.bboxes, atol=1e-4, rtol=0)
        torch.testing.assert_close(plain.scores, single.scores, atol=1e-6, rtol=0)
        assert several.scores.tolist() != plain.scores.tolist() and (several.bboxes <= 96).all()


def test_masks_are_not_computed_for_the_views(tmp_path):
    """A cascade of mmdet raises when it merges the masks of its stages in a mirrored image."""

    class Forbidden(torch.nn.Module):
        def forward(self, *_):
            raise AssertionError('masks were computed')

    cfg = _views_cfg([96], [0.0, 1.0])
    cfg.work_dir, cfg.launcher = str(tmp_path), 'none'
    runner = build_runner(cfg)
    head = runner.model.teacher.roi_head
    head.mask_head, head.mask_roi_extractor = Forbidden(), head.bbox_roi_extractor
    runner._load_or_resume = lambda: None
    assert 'coco/bbox_mAP' in runner.test()
    assert isinstance(head.mask_head, Forbidden), 'it is there again afterwards'


def test_pipeline_of_one_view_is_refused(build, tmp_path):
    cfg = _views_cfg([96], [0.0])
    cfg.test_dataloader = load_config(CONFIG).test_dataloader
    cfg.work_dir, cfg.launcher = str(tmp_path), 'none'
    with pytest.raises(ConfigError, match='TestTimeAug'):
        build_runner(cfg).test()
