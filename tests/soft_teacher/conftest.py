"""A small detector and a batch with the three branches, made once."""

import copy

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData

import openmsra.soft_teacher  # noqa: F401 - before mmdet, whose import it makes possible
from openmsra.engine.config.files import load_config

CONFIG = 'configs/soft_teacher/soft-teacher_r18-tiny_1xb4-8i_shapes_instant.py'


@pytest.fixture(autouse=True)
def _scope():
    """Transforms are built by their plain names, as in a run."""
    with DefaultScope.overwrite_default_scope('openmsra'):
        yield


@pytest.fixture(scope='session')
def tiny_cfg():
    """The model config of the instant size, thresholds low enough for an untrained teacher."""
    cfg = load_config(CONFIG).model
    cfg.semi_train_cfg = dict(
        pseudo_label_initial_score_thr=0.1, rpn_pseudo_thr=0.3, cls_pseudo_thr=0.3, reg_pseudo_thr=0.06, unsup_weight=2.0
    )
    cfg.mean_teacher = dict(momentum=1.0, keep_loaded_teacher=True)  # stands still, so that a test knows its weights
    return cfg


@pytest.fixture(scope='session')
def build(tiny_cfg):
    """Build the tiny Soft Teacher with changed settings; the teacher is told apart by its weights and sure of itself."""

    def make(detector: dict | None = None, seed: int = 0, **settings):
        cfg = copy.deepcopy(tiny_cfg)
        cfg.detector.update(detector or {})
        cfg.semi_train_cfg.update(settings)
        torch.manual_seed(seed)
        model = MODELS.build(cfg)
        model.iteration = 0  # without a runner nothing else counts
        model.student.init_weights()
        _make_opinionated(model.student)
        _make_opinionated(model.teacher)
        return model.train()

    return make


def _make_opinionated(detector) -> None:
    """Larger class weights: scores of an untrained head then spread over [0, 1]."""
    with torch.no_grad():
        for name, parameter in detector.named_parameters():
            if name.endswith('fc_cls.weight'):
                parameter.normal_(0, 0.3)
            if name.endswith('fc_reg.weight'):
                parameter.normal_(0, 0.02)


def sample(size: tuple[int, int], matrix: np.ndarray, name: int, boxes=None, labels=None):
    """A view of image ``name`` of 96 x 96 pixels."""
    from mmdet.structures import DetDataSample

    found = DetDataSample(
        metainfo=dict(
            img_id=name,
            img_shape=size,
            ori_shape=(96, 96),
            pad_shape=size,
            batch_input_shape=size,
            scale_factor=(1.0, 1.0),
            homography_matrix=matrix.astype(np.float32),
        )
    )
    boxes = torch.zeros(0, 4) if boxes is None else torch.tensor(boxes, dtype=torch.float)
    found.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([] if labels is None else labels, dtype=torch.long))
    found.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    return found


@pytest.fixture
def batch():
    """(inputs, samples) of two labelled and two unlabelled images; the strong views are scaled and flipped."""
    return make_batch(seed=3)


def make_batch(seed: int) -> tuple[dict, dict]:
    """Random images with fixed boxes and views."""
    generator = torch.Generator().manual_seed(seed)

    def images(side: int) -> torch.Tensor:
        return torch.randn(2, 3, side, side, generator=generator)

    flip = np.array([[-1.0, 0, 96], [0, 1, 0], [0, 0, 1]])
    grow = np.diag([4 / 3, 4 / 3, 1])
    boxes = [[[10, 10, 40, 50], [50, 30, 90, 80]], [[20, 40, 60, 70]]]
    inputs = dict(sup=images(96), unsup_teacher=images(96), unsup_student=images(128))
    samples = dict(
        sup=[sample((96, 96), np.eye(3), i, boxes[i], [[0, 2], [1]][i]) for i in range(2)],
        unsup_teacher=[sample((96, 96), np.eye(3), 10, None), sample((96, 96), flip, 11, None)],
        unsup_student=[sample((128, 128), grow, 10, None), sample((128, 128), grow, 11, None)],
    )
    return inputs, samples
