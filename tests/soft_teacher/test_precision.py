"""Coordinates under mixed precision: every region, anchor and box is as exact as in float32."""

import copy

import pytest
import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData

from openmsra.soft_teacher.losses import box_uncertainty, jitter_boxes

HALF = pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
FAR = torch.tensor([[1001.3, 700.7, 1025.3, 724.7], [1200.1, 300.4, 1224.1, 324.4]])  # 24 pixels wide, as small ones of COCO


def _record_rois(detector: torch.nn.Module) -> list[torch.Tensor]:
    """Every (R, 5) that RoIAlign gets from now on."""
    recorded = []
    for module in detector.modules():
        if type(module).__name__ == 'RoIAlign':
            module.register_forward_pre_hook(lambda _module, inputs: recorded.append(inputs[1]))
    return recorded


@HALF
def test_regions_reach_roi_align_unrounded(build, dtype):
    """The extractor of the supervised loss, of the jitter and of the background weights is one module."""
    model = build()
    recorded = _record_rois(model.teacher)
    features = tuple(torch.randn(1, 32, side, side, dtype=dtype) for side in (160, 80))
    pooled = model.teacher.roi_head.bbox_roi_extractor(features, bbox2roi([FAR]))
    assert torch.equal(torch.cat(recorded)[:, 1:].sort(0)[0], FAR.sort(0)[0]), 'the regions were rounded'
    exact = model.teacher.roi_head.bbox_roi_extractor(tuple(level.float() for level in features), bbox2roi([FAR]))
    assert torch.equal(pooled, exact)


class _Coordinates(torch.nn.Module):
    """In the place of RoIAlign: its output (R, 32, 5, 5) are the coordinates of the regions as it got them."""

    output_size = (5, 5)

    def forward(self, features: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        return rois[:, 1:].repeat(1, 8)[:, :, None, None].expand(-1, -1, 5, 5)


def test_uncertainty_of_small_boxes_is_that_of_float32(build, monkeypatch):
    """A head that moves every jittered box half the way to its object: u is half of 0.058, in bfloat16 as in float32."""
    model = build()
    roi_head = model.teacher.roi_head
    roi_head.bbox_roi_extractor.roi_layers = torch.nn.ModuleList(_Coordinates() for _ in range(2))

    def halfway(pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen = pooled[:, :4, 0, 0].float()
        objects = FAR[(seen[:, None, 0] - FAR[:, 0]).abs().argmin(1)]
        deltas = roi_head.bbox_head.bbox_coder.encode(seen, objects) / 2
        return pooled.new_zeros(len(seen), 4), deltas.repeat(1, 3)

    monkeypatch.setattr(roi_head.bbox_head, 'forward', halfway)
    torch.manual_seed(0)
    jittered = jitter_boxes(FAR.repeat(300, 1), 10, 0.06)
    labels = [torch.zeros(jittered.shape[0] * jittered.shape[1], dtype=torch.long)]
    uncertainty = {}
    for dtype in (torch.float32, torch.bfloat16):
        features = tuple(torch.zeros(1, 32, 168, 168, dtype=dtype) for _ in range(2))
        refined = model.unsup_branch.teacher_stages.refine(
            features, [jittered.flatten(0, 1)], labels, [dict(img_shape=(1344, 1344))], {}
        )[0]
        uncertainty[dtype] = box_uncertainty(refined.view(jittered.shape))
    assert uncertainty[torch.float32].mean().item() == pytest.approx(0.0584 / 2, rel=0.03)
    torch.testing.assert_close(uncertainty[torch.bfloat16], uncertainty[torch.float32], atol=1e-5, rtol=0)


@HALF
def test_anchors_and_boxes_of_dense_heads_are_exact(build, dtype, monkeypatch):
    """mmdet makes anchors in the type of the scores: on a wide map they must still be multiples of the stride."""
    model = build()
    head = model.teacher.rpn_head
    features = tuple(torch.zeros(1, 32, 3, width) for width in (168, 84))
    used = []
    grid_priors = head.prior_generator.grid_priors
    monkeypatch.setattr(
        head.prior_generator, 'grid_priors', lambda *args, **kwargs: used.append(grid_priors(*args, **kwargs)) or used[-1]
    )
    metas = [dict(img_shape=(24, 1344), scale_factor=(1.0, 1.0), ori_shape=(24, 1344))]
    with torch.no_grad(), torch.autocast('cpu', dtype):
        outputs = head(features)
        head.predict_by_feat(*outputs, batch_img_metas=metas, cfg=model.teacher.test_cfg.rpn)
    anchors = used[0][0]
    centres = (anchors[:, 0] + anchors[:, 2]) / 2
    assert anchors.dtype == torch.float32
    assert centres.unique().numel() >= 168 and torch.allclose(centres, (centres / 8).round() * 8, atol=1e-4)
    assert (centres / 8).round().unique().tolist() == list(range(168))


def test_all_heads_of_a_whole_step_return_float32(build, batch):
    """A step under bfloat16: no dense or box head hands on half precision, and losses agree with float32."""
    model = build()
    seen = []
    for module in model.modules():
        if isinstance(module, BaseDenseHead) or type(module).__name__ == 'Shared2FCBBoxHead':
            module.register_forward_hook(lambda _module, _inputs, outputs: seen.append(outputs))
    recorded = _record_rois(model)
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(*copy.deepcopy(batch))
    assert losses['unsup_boxes_cls'] > 0
    assert recorded and all(rois.dtype == torch.float32 for rois in recorded)
    assert seen and all(tensor.dtype == torch.float32 for outputs in seen for tensor in _tensors(outputs))
    for candidates in model.pseudo_labels.candidates:
        assert candidates.bboxes.dtype == candidates.reg_uncs.dtype == torch.float32


def _tensors(value) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for item in (value or []) for tensor in _tensors(item)]


def test_boxes_of_a_test_are_those_of_float32(build):
    """Detections of the same proposals: only deltas and scores, not the coordinates, may differ by the rounding of bfloat16."""
    model = build().eval()
    metas = [dict(img_shape=(1344, 1344), scale_factor=(1.0, 1.0), ori_shape=(1344, 1344))]
    features = tuple(torch.randn(1, 32, 1344 // stride, 1344 // stride) for stride in (8, 16))
    for name, parameter in model.teacher.named_parameters():
        if 'fc_reg' in name:
            parameter.data.zero_()
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        half = tuple(level.bfloat16() for level in features)
        proposals = [InstanceData(bboxes=FAR)]
        boxes = model.teacher.roi_head.predict_bbox(half, metas, proposals, None, rescale=False)[0].bboxes
    torch.testing.assert_close(boxes.view(len(FAR), -1, 4)[:, 0], FAR, atol=1e-3, rtol=0)
