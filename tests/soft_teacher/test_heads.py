"""Masks, cascades and one-stage heads: the same step on other detectors."""

import copy

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from openmsra.soft_teacher.extensions.masks import mask_targets, masked_bce, read_maps, warp_masks
from openmsra.soft_teacher.extensions.one_stage import agreement
from openmsra.soft_teacher.geometry import project_boxes, view_to_view

CODER = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2])
EXTRACTOR = dict(type='SingleRoIExtractor', out_channels=32, featmap_strides=[8, 16], finest_scale=16)
MASK_EXTRACTOR = dict(EXTRACTOR, roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=1))
MASK_HEAD = dict(
    num_convs=1,
    in_channels=32,
    conv_out_channels=32,
    num_classes=3,
    loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
)
TEST = dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20, mask_thr_binary=0.5)


def _terms(losses: dict) -> dict[str, float]:
    return {
        name: float(sum(value) if isinstance(value, list) else value.sum()) for name, value in losses.items() if 'loss' in name
    }


def _backward(losses: dict) -> None:
    sum(sum(value) if isinstance(value, list) else value.sum() for name, value in losses.items() if 'loss' in name).backward()


def _with_masks(batch: tuple) -> tuple:
    from mmdet.structures.mask import BitmapMasks

    inputs, samples = copy.deepcopy(batch)
    for one in samples['sup']:
        maps = np.zeros((len(one.gt_instances), 96, 96), np.uint8)
        for own, box in zip(maps, one.gt_instances.bboxes.int().tolist()):
            own[box[1] : box[3], box[0] : box[2]] = 1
        one.gt_instances.masks = BitmapMasks(maps, 96, 96)
    return inputs, samples


@pytest.fixture
def mask_rcnn(tiny_cfg):
    detector = copy.deepcopy(tiny_cfg.detector)
    detector.type = 'MaskRCNN'
    detector.roi_head.update(mask_roi_extractor=MASK_EXTRACTOR, mask_head=dict(type='FCNMaskHead', **MASK_HEAD))
    detector.train_cfg.rcnn.mask_size = 14
    detector.test_cfg.rcnn = TEST
    return detector


@pytest.fixture
def cascade(tiny_cfg):
    def make(kind: str):
        detector = copy.deepcopy(tiny_cfg.detector)
        box = dict(detector.roi_head.bbox_head, reg_class_agnostic=True)
        masks = dict(mask_roi_extractor=MASK_EXTRACTOR)
        if kind == 'HybridTaskCascade':
            masks['mask_head'] = [dict(type='HTCMaskHead', with_conv_res=stage > 0, **MASK_HEAD) for stage in range(3)]
        else:
            masks['mask_head'] = dict(type='FCNMaskHead', **MASK_HEAD)
        detector.type = kind
        detector.roi_head = dict(
            type='HybridTaskCascadeRoIHead' if kind == 'HybridTaskCascade' else 'CascadeRoIHead',
            num_stages=3,
            stage_loss_weights=[1, 0.5, 0.25],
            bbox_roi_extractor=detector.roi_head.bbox_roi_extractor,
            bbox_head=[box] * 3,
            **masks,
        )
        stage = dict(detector.train_cfg.rcnn, mask_size=14)
        detector.train_cfg.rcnn = [ConfigDict(copy.deepcopy(stage)) for _ in range(3)]
        for own, threshold in zip(detector.train_cfg.rcnn, (0.5, 0.6, 0.7)):
            own.assigner.update(pos_iou_thr=threshold, neg_iou_thr=threshold, min_pos_iou=threshold)
        detector.test_cfg.rcnn = TEST
        return detector

    return make


def test_mask_rcnn_learns_from_warped_masks(build, batch, mask_rcnn):
    model = build(mask_rcnn)
    torch.manual_seed(0)
    losses = model.loss(*_with_masks(batch))
    assert losses['unsup_boxes_cls'] >= 1
    assert _terms(losses)['unsup_loss_mask'] > 0.3
    assert model.pseudo_labels.candidates[0].mask_probs.shape[1:] == (14, 14)
    _backward(losses)
    assert all(parameter.grad is not None for parameter in model.student.parameters())


@pytest.mark.parametrize('kind', ['CascadeRCNN', 'HybridTaskCascade'])
@pytest.mark.parametrize('stages', ['first', 'all'])
def test_cascades_learn_in_each_stage(build, batch, cascade, kind, stages):
    model = build(cascade(kind), jitter_stages=stages)
    torch.manual_seed(0)
    losses = model.loss(*_with_masks(batch))
    terms = _terms(losses)
    expected = {f'unsup_s{stage}.loss_{term}' for stage in range(3) for term in ('cls', 'bbox', 'mask')}
    assert expected <= set(terms) and {name.replace('unsup_', 'sup_') for name in expected} <= set(terms)
    assert losses['unsup_boxes_cls'] >= 1 and all(terms[f'unsup_s{stage}.loss_cls'] > 0 for stage in range(3))
    _backward(losses)
    assert all(parameter.grad is not None for parameter in model.student.parameters())


def test_background_of_a_cascade_is_the_mean_of_its_stages(build, batch, cascade):
    """Against mmdet's own test-time scores of the same boxes."""
    model = build(cascade('CascadeRCNN'))
    metas = [one.metainfo for one in batch[1]['unsup_teacher']]
    boxes = [torch.tensor([[5.0, 5, 40, 60], [30, 20, 80, 95]]), torch.tensor([[10.0, 50, 30, 70]])]
    with torch.no_grad():
        features = model.teacher.extract_feat(batch[0]['unsup_teacher'])
        ours = model.unsup_branch.teacher_stages.background(features, boxes, metas, {})
        theirs = model.teacher.roi_head.predict_bbox(features, metas, [InstanceData(bboxes=own) for own in boxes], None)
    torch.testing.assert_close(ours, torch.cat([own.scores[:, -1] for own in theirs]), atol=1e-6, rtol=0)


def test_warped_rectangle_is_the_rectangle_of_the_warped_corners():
    maps, boxes = torch.ones(1, 28, 28), torch.tensor([[20.0, 30, 70, 60]])
    flip, shift = np.array([[-1.0, 0, 100], [0, 1, 0], [0, 0, 1]]), np.array([[1.0, 0, 9], [0, 1, -7], [0, 0, 1]])
    for matrix in (np.diag([1.5, 1.5, 1]), flip, shift):
        to_strong, to_weak = (view_to_view(*pair) for pair in ((np.eye(3), matrix), (matrix, np.eye(3))))
        warped = warp_masks(maps, boxes, to_weak, (120, 160))[0] > 0.5
        x1, y1, x2, y2 = project_boxes(boxes, to_strong, (120, 160))[0].round().int().tolist()
        expected = torch.zeros(120, 160, dtype=torch.bool)
        expected[y1:y2, x1:x2] = True
        assert (warped & expected).sum() / (warped | expected).sum() >= 0.95


def test_composed_sampling_equals_paste_and_warp():
    """A drawn ellipse, pasted and warped with OpenCV, against the one composed reading."""
    ellipse = np.zeros((28, 28), np.float32)
    cv2.ellipse(ellipse, (14, 14), (12, 7), 0, 0, 360, 1.0, -1)
    box = (16, 24, 72, 80)
    weak = np.zeros((96, 96), np.float32)
    weak[24:80, 16:72] = cv2.resize(ellipse, (56, 56))
    matrix = np.array([[0.9, -0.3, 30], [0.3, 0.9, -5], [0, 0, 1]])
    centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # OpenCV puts the centre of a pixel at whole numbers
    warped = cv2.warpAffine(weak, (np.linalg.inv(centre) @ matrix @ centre)[:2], (120, 110)) > 0.5
    got = warp_masks(torch.from_numpy(ellipse)[None], torch.tensor([box]).float(), view_to_view(matrix, np.eye(3)), (110, 120))[0]
    got = (got > 0.5).numpy()
    assert (got & warped).sum() / (got | warped).sum() > 0.95


def test_what_the_teacher_has_not_seen_is_ignored():
    regions = torch.tensor([[0.0, 0, 100, 50]])
    to_weak = view_to_view(np.array([[1.0, 0, 50], [0, 1, 0], [0, 0, 1]]), np.eye(3))
    targets, valid = mask_targets(regions, torch.ones(1, 4, 4), torch.tensor([[0.0, 0, 25, 50]]), to_weak, (50, 50), (5, 10))
    assert not valid[0, :, :5].any() and valid[0, :, 5:].all()
    assert targets[0, :, 5:7].all() and not targets[0, :, 8:].any()
    map_, frame = torch.full((1, 4, 4), 0.55), torch.tensor([[0.0, 0, 50, 50]])
    unsure = mask_targets(regions, map_, frame, to_weak, (50, 50), (5, 10), 0.1)[1]
    assert not unsure[0, :, :9].any()
    logits = torch.zeros(1, 5, 10, requires_grad=True)
    loss = masked_bce(logits, targets, valid)
    assert loss.item() == pytest.approx(np.log(2), abs=1e-6)
    loss.backward()
    assert (logits.grad[~valid] == 0).all() and (logits.grad[valid] != 0).all()
    assert masked_bce(logits, targets, torch.zeros_like(valid)).item() == 0


def test_maps_are_read_inside_of_their_boxes_alone():
    points = torch.tensor([[[[5.0, 5], [15, 5], [30, 5]]]])
    values = read_maps(torch.ones(1, 4, 4), torch.tensor([[0.0, 0, 20, 10]]), points)
    assert values[0, 0].tolist() == [1, 1, 0]


DENSE = dict(num_classes=3, in_channels=32, feat_channels=16, stacked_convs=1)
FOCAL = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
ASSIGNED = dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
    sampler=dict(type='PseudoSampler'),
    allowed_border=-1,
    pos_weight=-1,
    debug=False,
)
HEADS = {
    'RetinaNet': (
        dict(
            type='RetinaHead',
            **DENSE,
            loss_cls=FOCAL,
            loss_bbox=dict(type='L1Loss', loss_weight=1.0),
            bbox_coder=dict(CODER),
            anchor_generator=dict(
                type='AnchorGenerator', octave_base_scale=2, scales_per_octave=1, ratios=[1.0], strides=[8, 16]
            ),
        ),
        ASSIGNED,
    ),
    'FCOS': (dict(type='FCOSHead', **DENSE, strides=[8, 16], regress_ranges=((-1, 32), (32, 1e8)), norm_cfg=None), ASSIGNED),
    'ATSS': (
        dict(
            type='ATSSHead',
            **DENSE,
            norm_cfg=None,
            loss_cls=FOCAL,
            loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
            loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
            bbox_coder=dict(CODER),
            anchor_generator=dict(
                type='AnchorGenerator', ratios=[1.0], octave_base_scale=4, scales_per_octave=1, strides=[8, 16]
            ),
        ),
        dict(ASSIGNED, assigner=dict(type='ATSSAssigner', topk=9)),
    ),
}


@pytest.fixture(params=list(HEADS))
def dense(request, tiny_cfg):
    """Detector config of a one-stage head."""
    head, train_cfg = copy.deepcopy(HEADS[request.param])
    detector = copy.deepcopy(tiny_cfg.detector)
    return ConfigDict(
        _scope_='mmdet',
        type=request.param,
        backbone=detector.backbone,
        neck=detector.neck,
        bbox_head=head,
        train_cfg=train_cfg,
        test_cfg=dict(nms_pre=200, min_bbox_size=0, score_thr=0.02, nms=dict(type='nms', iou_threshold=0.6), max_per_img=20),
    )


def _dense_model(tiny_cfg, dense, **settings):
    from mmengine.registry import MODELS

    cfg = copy.deepcopy(tiny_cfg)
    cfg.pop('detector')
    cfg.detector = copy.deepcopy(dense)
    cfg.semi_train_cfg.update(
        dict(pseudo_label_initial_score_thr=0.02, rpn_pseudo_thr=0.02, cls_pseudo_thr=0.02, reg_pseudo_thr=10.0), **settings
    )
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.iteration = 0
    model.student.init_weights()
    with torch.no_grad():
        for detector in (model.student, model.teacher):
            for name, parameter in detector.named_parameters():
                if 'cls' in name and name.endswith('weight') and parameter.ndim == 4:
                    parameter.normal_(0, 0.3)
                if dense.type == 'FCOS' and name.endswith('conv_reg.bias'):
                    parameter.fill_(2.5)  # boxes of 24 pixels, which agree with their neighbours
    return model.train()


def test_one_stage_detectors_learn(tiny_cfg, dense, batch):
    model = _dense_model(tiny_cfg, dense)
    losses = model.loss(*copy.deepcopy(batch))
    terms = _terms(losses)
    assert losses['unsup_boxes_cls'] >= 1 and terms['unsup_loss_cls'] > 0 and terms['unsup_loss_bbox'] > 0
    assert {name.replace('unsup_', 'sup_') for name in terms if name.startswith('unsup')} <= set(terms)
    reliability = model.pseudo_labels.bg_weights
    assert reliability.min() >= 0 and reliability.max() <= 1 and reliability.std() > 0
    assert not model.pseudo_labels.features and not model.pseudo_labels.head_inputs  # hundreds of MB at full size
    _backward(losses)
    assert all(parameter.grad is not None for parameter in model.student.parameters() if parameter.requires_grad)


def test_one_stage_loss_without_soft_weights_is_the_loss_of_the_head(tiny_cfg, dense, batch):
    model = _dense_model(tiny_cfg, dense, bg_weight='none')
    inputs, samples = batch[0]['sup'], batch[1]['sup']
    pseudo_labels = model.unsup_branch.generate_pseudo_labels(inputs, copy.deepcopy(samples))
    for own, one in zip(pseudo_labels.candidates, samples, strict=True):
        for key in list(own.keys()):
            own.pop(key)
        count = len(one.gt_instances)
        own.set_data(dict(one.gt_instances.items(), scores=torch.ones(count), reg_uncs=torch.zeros(count)))
    ours = _terms(model.unsup_branch.loss(inputs, copy.deepcopy(samples), pseudo_labels))
    theirs = _terms(model.student.loss(inputs, copy.deepcopy(samples)))
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_teacher_map_is_read_at_the_same_place(tiny_cfg, dense, batch):
    """The strong view is the weak one, or its mirror image: the map is read at the same or the mirrored point of each level."""
    model = _dense_model(tiny_cfg, dense)
    inputs, samples = batch[0]['unsup_teacher'][:1], batch[1]['unsup_teacher'][:1]
    pseudo_labels = model.unsup_branch.generate_pseudo_labels(inputs, copy.deepcopy(samples))
    direct = pseudo_labels.features[0][0].sigmoid().amax(1)[0]
    strong = copy.deepcopy(samples[0].metainfo)
    pseudo_labels.strong_metas = [strong]
    read = model.unsup_branch._teacher_foreground(0, direct.shape, pseudo_labels)[0, ..., 0]
    torch.testing.assert_close(read, direct, atol=1e-5, rtol=1e-4)
    strong['homography_matrix'] = np.array([[-1.0, 0, 96], [0, 1, 0], [0, 0, 1]], np.float32)
    mirrored = model.unsup_branch._teacher_foreground(0, direct.shape, pseudo_labels)[0, ..., 0]
    assert (direct - direct.flip(1)).abs().max() > 0.01
    if dense.type == 'FCOS':  # its points are the centres of the cells
        torch.testing.assert_close(mirrored, direct.flip(1), atol=1e-5, rtol=1e-4)
    else:  # points at x = 8 k: 96 - 8 k is point 12 - k, and point 12 lies outside of the map
        torch.testing.assert_close(mirrored[:, 1:], direct.flip(1)[:, :-1], atol=1e-5, rtol=1e-4)
        assert (mirrored[:, 0] <= direct[:, -1]).all()


def test_agreement_of_raw_predictions():
    kept = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 10, 20], [50, 50, 60, 60]]), labels=torch.tensor([0, 1]), scores=torch.ones(2)
    )
    raw = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 10, 20], [2, 0, 12, 20], [0, 0, 10, 20], [50, 50, 60, 60]]),
        labels=torch.tensor([0, 0, 1, 1]),
    )
    assert agreement(kept, raw, 'axis').tolist() == pytest.approx([0.0707107, np.inf])
