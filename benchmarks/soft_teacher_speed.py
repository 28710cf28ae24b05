"""Soft Teacher: our training iteration against mmdet's SoftTeacher, same weights, images and pseudo boxes.

    step        losses of the labelled and the unlabelled images and the backward pass, target 0.70
    same RoIAlign   the same against mmdet's with our RoIAlign for a CPU (openmsra.soft_teacher.roi_align)
    unsup       the unsupervised part alone
    floor       student forward and backward on the strong views and teacher forward, nothing else (no target)
    step, 800 x 1333   one labelled and one unlabelled image of the recipe's size (on a CPU; a GPU has large images in all rows)
    validation, 800 x 1333   an image through teacher and student, which mmdet besides loads twice (on a CPU)

Faster R-CNN R50-FPN as in the recipe, 60 pseudo boxes on each unlabelled image, 512 regions sampled on each. The detections of
the teacher are replaced by the same 60 boxes on both sides; their uncertainties are computed by each. One labelled and two
unlabelled images of 224 pixels on the CPU, so that it is done in time (1 + 4 of 800 on a GPU): the R-CNN heads have their full
size and a larger share of the time than with images of 800 pixels.
"""

import copy

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

import openmsra.soft_teacher  # noqa: F401 - registers the models
from benchmarks.timing import draw_weights, interleaved, ratio
from openmsra.engine.config.files import load_config
from openmsra.registry import MODELS
from openmsra.soft_teacher.roi_align import use_products

CONFIG = 'configs/soft_teacher/soft-teacher_faster-rcnn-r50_8xb5-180k_coco-10pct.py'
BOXES = 60


def run(repeats: int, device: torch.device) -> dict[str, dict]:
    """All rows; times in milliseconds."""
    size, unlabelled = ((224, 224), 2) if device.type == 'cpu' else ((800, 800), 4)
    ours, peer, batch, settings = _sides(size, unlabelled, device)
    same = copy.deepcopy(peer)
    use_products(same)
    sides = {'ours': ours, 'mmdet': peer, 'same': same}
    times = interleaved({name: _step(model, batch) for name, model in sides.items()}, repeats, device)
    unsup = interleaved(
        {'ours': _unsup(ours, batch), 'mmdet': _unsup_peer(peer, batch), 'floor': _floor(ours, batch)}, repeats, device
    )
    rows = {
        'step': {**ratio(times, 'ours', 'mmdet'), 'target': 0.70, **settings},
        'same RoIAlign': {**ratio(times, 'ours', 'same'), **settings},
        'unsup': {**ratio(unsup, 'ours', 'mmdet'), **settings},
        'floor': {**ratio(unsup, 'floor', 'mmdet'), **settings},
    }
    if device.type == 'cpu':
        ours, peer, batch, settings = _sides((800, 1333), 1, device)
        times = interleaved({'ours': _step(ours, batch), 'mmdet': _step(peer, batch)}, repeats, device)
        rows['step, 800 x 1333'] = {**ratio(times, 'ours', 'mmdet'), 'target': 0.70, **settings}
        times = interleaved({'ours': _validation(ours, batch), 'mmdet': _validation(peer, batch)}, repeats, device)
        rows['validation, 800 x 1333'] = {**ratio(times, 'ours', 'mmdet'), 'target': 0.70, **settings}
    return rows


def _sides(size: tuple[int, int], unlabelled: int, device: torch.device) -> tuple:
    """Both models, a batch of one labelled and some unlabelled images of a size (H, W), and what is said of it."""
    ours, peer = (model.to(device).train() for model in _models())
    peer.teacher.eval()
    truth = _boxes(size, device)
    for model in (ours, peer):
        _fix_detections(model.teacher.roi_head, truth, unlabelled)
    height, width = map(float, size)
    settings = dict(height=height, width=width, labelled=1.0, unlabelled=float(unlabelled), boxes=float(BOXES))
    return ours, peer, _batch(size, unlabelled, truth, device), settings


def _models() -> tuple:
    from mmdet.models.detectors import SoftTeacher as MMDetSoftTeacher

    cfg = load_config(CONFIG).model
    cfg.detector.backbone.init_cfg = None
    settings = dict(cfg.semi_train_cfg, pseudo_label_initial_score_thr=0.5, reg_pseudo_thr=10.0, min_pseudo_bbox_wh=(1e-2, 1e-2))
    cfg.semi_train_cfg = dict(settings, teacher_proposal_cfg='test')
    cfg.mean_teacher = dict(interval=2)  # stands still in iteration 1; mmdet moves its teacher outside of the model
    with DefaultScope.overwrite_default_scope('openmsra'):
        ours = MODELS.build(cfg)
        peer = MMDetSoftTeacher(copy.deepcopy(cfg.detector), ConfigDict(settings, sup_weight=1.0), ConfigDict())
    ours.iteration = 1
    draw_weights(ours.student)
    ours.teacher.load_state_dict(ours.student.state_dict())
    peer.load_state_dict(ours.state_dict())
    return ours, peer


def _boxes(size: tuple[int, int], device: torch.device) -> InstanceData:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 0.7, (BOXES, 2)) * size[::-1]
    boxes = np.hstack([corner, corner + rng.uniform(0.1, 0.3, (BOXES, 2)) * min(size)])
    return InstanceData(
        bboxes=torch.from_numpy(boxes).float().to(device),
        scores=torch.full((BOXES,), 0.95, device=device),
        labels=torch.from_numpy(rng.integers(0, 80, BOXES)).to(device),
    )


def _fix_detections(roi_head: torch.nn.Module, truth: InstanceData, images: int) -> None:
    """Detections after the test settings are the given boxes; the head still does its work."""
    original = roi_head.predict_bbox

    def predict_bbox(x, metas, proposals, rcnn_test_cfg, rescale=False, **kwargs):
        detections = original(x, metas, proposals, rcnn_test_cfg, rescale, **kwargs)
        return detections if rcnn_test_cfg is None else [copy.copy(truth.clone()) for _ in range(images)]

    roi_head.predict_bbox = predict_bbox


def _batch(size: tuple[int, int], unlabelled: int, truth: InstanceData, device: torch.device) -> tuple[dict, dict]:
    from mmdet.structures import DetDataSample

    def samples(count: int, labels: bool) -> list:
        meta = dict(
            img_shape=size,
            ori_shape=size,
            pad_shape=size,
            batch_input_shape=size,
            scale_factor=(1.0, 1.0),
            homography_matrix=np.eye(3, dtype=np.float32),
        )
        boxes = (
            InstanceData(bboxes=truth.bboxes, labels=truth.labels)
            if labels
            else InstanceData(bboxes=truth.bboxes[:0], labels=truth.labels[:0])
        )
        return [DetDataSample(metainfo=dict(meta, img_id=i), gt_instances=boxes.clone()) for i in range(count)]

    counts = dict(sup=1, unsup_teacher=unlabelled, unsup_student=unlabelled)
    inputs = {branch: torch.randn(count, 3, *size, device=device) for branch, count in counts.items()}
    return inputs, {branch: samples(count, branch == 'sup') for branch, count in counts.items()}


def _total(losses: dict) -> torch.Tensor:
    return sum(sum(value) if isinstance(value, list) else value for name, value in losses.items() if 'loss' in name)


def _step(model: torch.nn.Module, batch: tuple):
    def step() -> None:
        model.zero_grad(set_to_none=True)
        torch.manual_seed(0)
        _total(model.loss(*copy.deepcopy(batch))).backward()

    return step


def _validation(model: torch.nn.Module, batch: tuple):
    @torch.inference_mode()
    def validation() -> None:
        inputs, samples = copy.deepcopy(batch)
        for network in (model.teacher.eval(), model.student.eval()):
            network.predict(inputs['sup'], samples['sup'])

    return validation


def _unsup(model: torch.nn.Module, batch: tuple):
    def step() -> None:
        model.zero_grad(set_to_none=True)
        inputs, samples = copy.deepcopy(batch)
        pseudo_labels = model.unsup_branch.generate_pseudo_labels(inputs['unsup_teacher'], samples['unsup_teacher'])
        _total(model.unsup_branch.loss(inputs['unsup_student'], samples['unsup_student'], pseudo_labels)).backward()

    return step


def _unsup_peer(model: torch.nn.Module, batch: tuple):
    def step() -> None:
        model.zero_grad(set_to_none=True)
        inputs, samples = copy.deepcopy(batch)
        pseudo, info = model.get_pseudo_instances(inputs['unsup_teacher'], samples['unsup_teacher'])
        views = model.project_pseudo_instances(pseudo, samples['unsup_student'])
        _total(model.loss_by_pseudo_instances(inputs['unsup_student'], views, info)).backward()

    return step


def _floor(model: torch.nn.Module, batch: tuple):
    """The networks alone: teacher forward, student forward and backward with its supervised loss on the strong views."""

    def step() -> None:
        model.zero_grad(set_to_none=True)
        inputs, samples = copy.deepcopy(batch)
        with torch.no_grad():
            model.teacher.predict(inputs['unsup_teacher'], samples['unsup_teacher'], rescale=False)
        views = samples['unsup_student']
        for view in views:
            view.gt_instances = copy.deepcopy(samples['sup'][0].gt_instances)
        _total(model.student.loss(inputs['unsup_student'], views)).backward()

    return step
