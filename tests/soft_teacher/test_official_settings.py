"""The recipes against the official code, line by line: what its configs set, its defaults, and what differs on purpose.

The values are those of microsoft/SoftTeacher (revision 0423bb2) with mmdet 2.16.0. The table of the paper's page is made of them:
``python -m tests.soft_teacher.test_official_settings`` prints it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from mmengine.config import Config

from openmsra.apis import list_models
from openmsra.engine.config.files import as_config
from openmsra.soft_teacher.data.transforms import COLOUR_OPS, EraseSquares, OneColourOp, OneGeometricOp
from openmsra.soft_teacher.mean_teacher import MeanTeacher
from openmsra.soft_teacher.settings import read_settings

PAGE = Path('configs/soft_teacher/README.md')
BEGIN, END = '<!-- official settings: tests/soft_teacher/test_official_settings.py -->', '<!-- end of official settings -->'
PARTIAL, FULL, LONG = (
    f'soft-teacher_faster-rcnn-{name}_coco-{part}'
    for name, part in (('r50_8xb5-180k', '10pct'), ('r50_8xb8-720k', 'full'), ('r50_8xb8-1440k', 'full'))
)
R101 = 'soft-teacher_faster-rcnn-r101_8xb8-1080k_coco-full'
BASELINE, BASELINE_FULL = 'supervised_faster-rcnn-r50_8xb1-180k_coco-10pct', 'supervised_faster-rcnn-r50_8xb2-720k_coco-full'
BASE, AUGMENT, MMDET, SCHEDULE = 'base.py', 'rand_aug.py, default', 'mmdet faster_rcnn_r50_fpn.py', 'mmdet schedule_1x.py'


class Setting(NamedTuple):
    """A row of the table.

    Args:
        name: of the setting.
        official: its value in the official code.
        source: file, and whether it is a default.
        here: reads our value from a config.
        config: which one.
        why: what ours is and why it differs; empty where it does not.
    """

    name: str
    official: Any
    source: str
    here: Callable[[Config], Any]
    config: str = PARTIAL
    why: str = ''


def _semi(name: str) -> Callable[[Config], Any]:
    return lambda cfg: getattr(read_settings(cfg.model.semi_train_cfg), name)


def _teacher(name: str) -> Callable[[Config], Any]:
    return lambda cfg: getattr(MeanTeacher(**cfg.model.mean_teacher), name)


def _at(path: str) -> Callable[[Config], Any]:
    def read(cfg: Config) -> Any:
        value = cfg
        for part in path.split('.'):
            value = value[int(part)] if part.isdigit() else value[part]
        return list(value) if isinstance(value, tuple) else value

    return read


def _views(cfg: Config, branch: str) -> list:
    """The transforms of a branch, inner ones too."""
    parts = cfg.train_dataloader.dataset.datasets
    steps = (parts[0] if branch == 'sup' else parts[1]).pipeline[-1][branch]
    return [inner for step in steps for inner in (step.transforms if step.type == 'mmdet.RandomOrder' else [step])]


def _order(branch: str) -> Callable[[Config], str]:
    short = {'RandomResize': 'resize', 'mmdet.RandomFlip': 'flip', 'OneColourOp': 'colour', 'OneGeometricOp': 'geometry'}
    short |= {'EraseSquares': 'erase', 'mmdet.PackDetInputs': ''}
    return lambda cfg: ', '.join(filter(None, (short[step.type] for step in _views(cfg, branch))))


def _step(cfg: Config, kind: str) -> dict:
    return next(step for step in _views(cfg, 'unsup_student') if step.type.rpartition('.')[2] == kind)


def _resize(cfg: Config) -> list[list[int]]:
    return [list(scale) for scale in _step(cfg, 'RandomResize')['scale']]


def _shuffled(cfg: Config) -> bool:
    steps = cfg.train_dataloader.dataset.datasets[1].pipeline[-1].unsup_student
    return [step.type for step in steps].count('mmdet.RandomOrder') == 1


def _drawn(transform, key: Callable[[tuple], Any]) -> set:
    np.random.seed(0)
    return {key(transform._draw()) for _ in range(3000)}


def _levels(_: Config) -> list[int]:
    levels = _drawn(OneColourOp(), lambda draw: draw[1])
    return [min(levels), max(levels)]


def _patches(_: Config) -> list[int]:
    counts = _drawn(EraseSquares(), len)
    return [min(counts), max(counts)]


def _iou(part: str) -> Callable[[Config], list]:
    return lambda cfg: [cfg.model.detector.train_cfg[part].assigner[key] for key in ('pos_iou_thr', 'neg_iou_thr', 'min_pos_iou')]


def _sampled(part: str) -> Callable[[Config], list]:
    return lambda cfg: [cfg.model.detector.train_cfg[part].sampler[key] for key in ('num', 'pos_fraction')]


def _proposals(part: str) -> Callable[[Config], list]:
    def read(cfg: Config) -> list:
        group = cfg.model.detector.train_cfg.rpn_proposal if part == 'train' else cfg.model.detector.test_cfg.rpn
        return [group.nms_pre, group.max_per_img, group.nms.iou_threshold, group.min_bbox_size]

    return read


def _test_rcnn(cfg: Config) -> list:
    group = cfg.model.detector.test_cfg.rcnn
    return [group.score_thr, group.nms.iou_threshold, group.max_per_img]


def _starts_as_a_copy(cfg: Config) -> bool:
    return MeanTeacher(**cfg.model.mean_teacher).momentum_at(0) == 0


def _padding(cfg: Config) -> str:
    """The preprocessor normalises, then pads; only a transform could pad before."""
    pads = any(step.type.endswith('Pad') for branch in ('sup', 'unsup_teacher') for step in _views(cfg, branch))
    return 'before the normalisation' if pads else 'after the normalisation'


def _amp(cfg: Config) -> str:
    kind = cfg.optim_wrapper
    return f'{kind.get("dtype", "float16")}, {kind.loss_scale}' if kind.type == 'AmpOptimWrapper' else 'none'


def _steps(cfg: Config) -> list[int]:
    assert cfg.param_scheduler[1].gamma == 0.1
    return [*cfg.param_scheduler[1].milestones, cfg.train_cfg.max_iters]


def _warm_up(cfg: Config) -> list:
    assert cfg.param_scheduler[0].type == 'LinearLR'
    return [cfg.param_scheduler[0].start_factor, cfg.param_scheduler[0].end]


def _filter(part: int) -> Callable[[Config], list]:
    return lambda cfg: [cfg.train_dataloader.dataset.datasets[part].filter_cfg[key] for key in ('filter_empty_gt', 'min_size')]


BACKBONE = 'model.detector.backbone.'
SETTINGS = [
    Setting('score of candidates', 0.5, BASE, _semi('pseudo_label_initial_score_thr')),
    Setting('score for the RPN', 0.9, BASE, _semi('rpn_pseudo_thr')),
    Setting('score for the classification', 0.9, BASE, _semi('cls_pseudo_thr')),
    Setting('uncertainty for the regression', 0.02, BASE, _semi('reg_pseudo_thr')),
    Setting('jitters of a box', 10, BASE, _semi('jitter_times')),
    Setting('jitter, share of the side', 0.06, BASE, _semi('jitter_scale')),
    Setting('jitter, distribution', 'normal', 'soft_teacher.py', _semi('jitter_dist')),
    Setting('uncertainty over', 'axis', 'soft_teacher.py', _semi('jitter_norm')),
    Setting('least side of a pseudo box', [0, 0], BASE, _semi('min_pseudo_bbox_wh'), why='0.01 pixels, as in mmdet 3'),
    Setting('proposals of the teacher', False, BASE, _semi('use_teacher_proposal')),
    Setting("the teacher's RPN is cut as in", 'train', 'soft_teacher.py', _semi('teacher_proposal_cfg')),
    Setting('background weight', 'teacher', 'soft_teacher.py', _semi('bg_weight')),
    Setting('classification loss over', 'joint', 'soft_teacher.py', _semi('cls_norm')),
    Setting('alpha, part of COCO', 4.0, BASE, _semi('unsup_weight')),
    Setting('alpha, all of COCO', 2.0, '..._full_720k.py', _semi('unsup_weight'), FULL),
    Setting('EMA: share that is kept', 0.999, BASE, _teacher('momentum')),
    Setting('EMA: interval', 1, BASE, _teacher('interval')),
    Setting('EMA: warm-up', 0, 'base.py, default 100', _teacher('warm_up')),
    Setting('EMA: decay', [], 'mean_teacher.py, default', _teacher('decay_steps')),
    Setting('EMA: BatchNorm buffers', 'keep', 'mean_teacher.py', _teacher('buffers'), why='copied; here all are frozen'),
    Setting('EMA: copy at the start', True, 'mean_teacher.py', _starts_as_a_copy),
    Setting(
        'network of a test', 'student', BASE, _at('model.semi_test_cfg.predict_on'),
        why='the teacher, as in mmdet 3; a validation reports both',
    ),
    Setting('images a GPU, part of COCO', 5, '..._coco_180k.py', _at('train_dataloader.batch_size')),
    Setting('images a GPU, all of COCO', 8, '..._full_720k.py', _at('train_dataloader.batch_size'), FULL),
    Setting('labelled : unlabelled, part', [1, 4], '..._coco_180k.py', _at('train_dataloader.sampler.source_ratio')),
    Setting('labelled : unlabelled, all', [1, 1], '..._full_720k.py', _at('train_dataloader.sampler.source_ratio'), FULL),
    Setting('labelled images of a batch', 'binomial', 'base.py (by_prob)', _at('train_dataloader.sampler.mode')),
    Setting('filter of labelled images', [True, 32], 'mmdet coco.py, default', _filter(0)),
    Setting('filter of unlabelled images', [False, 32], 'base.py; mmdet coco.py, default', _filter(1)),
    Setting('labelled views', 'resize, flip, colour', BASE, _order('sup')),
    Setting('weak views', 'resize, flip', BASE, _order('unsup_teacher')),
    Setting('strong views', 'resize, flip, colour, geometry, erase', BASE, _order('unsup_student')),
    Setting('colour and geometry in random order', True, BASE, _shuffled),
    Setting('resize between', [[1333, 400], [1333, 1200]], BASE, _resize),
    Setting('resize keeps the aspect', True, BASE, lambda cfg: _step(cfg, 'RandomResize')['keep_ratio']),
    Setting('flip, probability', 0.5, BASE, lambda cfg: _step(cfg, 'RandomFlip')['prob']),
    Setting('colour operations', 9, BASE, lambda cfg: len(COLOUR_OPS)),
    Setting('levels of colour operations', [1, 9], AUGMENT, _levels),
    Setting('shift, share of the side', 0.1, BASE, lambda cfg: OneGeometricOp().translate),
    Setting('rotation, degrees', 30, BASE, lambda cfg: OneGeometricOp().rotate),
    Setting('shear, degrees', 30, BASE, lambda cfg: OneGeometricOp().shear),
    Setting('fill of uncovered pixels', 125, AUGMENT, lambda cfg: OneGeometricOp().fill),
    Setting('erased patches', [1, 4], 'base.py, randint(1, 5)', _patches),
    Setting('erased, share of the sides', [0, 0.2], BASE, lambda cfg: list(EraseSquares().ratio)),
    Setting('fill of erased patches', 125, AUGMENT, lambda cfg: EraseSquares().fill),
    Setting('mean, BGR', [103.53, 116.28, 123.675], BASE, _at('image_preprocessor.mean')),
    Setting('deviation', [1.0, 1.0, 1.0], BASE, _at('image_preprocessor.std')),
    Setting('padding to a multiple of', 32, BASE, _at('image_preprocessor.pad_size_divisor')),
    Setting(
        'padding', 'before the normalisation', BASE, _padding,
        why='after it (mmdet 3): the border of at most 31 pixels has the mean colour, not black',
    ),
    Setting('depth', 50, MMDET, _at(BACKBONE + 'depth')),
    Setting('depth, R101', 101, '..._full_1080k.py', _at(BACKBONE + 'depth'), R101),
    Setting('style', 'caffe', BASE, _at(BACKBONE + 'style')),
    Setting('frozen stages', 1, MMDET, _at(BACKBONE + 'frozen_stages')),
    Setting('BatchNorm learns', False, BASE, _at(BACKBONE + 'norm_cfg.requires_grad')),
    Setting('BatchNorm in evaluation', True, BASE, _at(BACKBONE + 'norm_eval')),
    Setting('starts from', 'open-mmlab://detectron2/resnet50_caffe', BASE, _at(BACKBONE + 'init_cfg.checkpoint')),
    Setting('anchor scales', [8], MMDET, _at('model.detector.rpn_head.anchor_generator.scales')),
    Setting('anchor ratios', [0.5, 1.0, 2.0], MMDET, _at('model.detector.rpn_head.anchor_generator.ratios')),
    Setting('anchor strides', [4, 8, 16, 32, 64], MMDET, _at('model.detector.rpn_head.anchor_generator.strides')),
    Setting('RPN: IoU positive, negative, least', [0.7, 0.3, 0.3], MMDET, _iou('rpn')),
    Setting('RPN: sampled anchors, positive', [256, 0.5], MMDET, _sampled('rpn')),
    Setting('R-CNN: IoU positive, negative, least', [0.5, 0.5, 0.5], MMDET, _iou('rcnn')),
    Setting('R-CNN: sampled regions, positive', [512, 0.25], MMDET, _sampled('rcnn')),
    Setting('proposals, training (before and after NMS, IoU, least side)', [2000, 1000, 0.7, 0], MMDET, _proposals('train')),
    Setting('proposals, test', [1000, 1000, 0.7, 0], MMDET, _proposals('test')),
    Setting('test: score, IoU of NMS, boxes', [0.05, 0.5, 100], MMDET, _test_rcnn),
    Setting('test: size', [1333, 800], BASE, _at('test_dataloader.dataset.pipeline.1.scale')),
    Setting('box loss', 'L1Loss', MMDET, _at('model.detector.roi_head.bbox_head.loss_bbox.type')),
    Setting('optimiser', 'SGD', BASE, _at('optim_wrapper.optimizer.type')),
    Setting('learning rate', 0.01, BASE, _at('optim_wrapper.optimizer.lr')),
    Setting('momentum', 0.9, BASE, _at('optim_wrapper.optimizer.momentum')),
    Setting('weight decay', 0.0001, BASE, _at('optim_wrapper.optimizer.weight_decay')),
    Setting('gradient clipping', None, SCHEDULE, lambda cfg: cfg.optim_wrapper.get('clip_grad')),
    Setting('warm-up: factor, iterations', [0.001, 500], SCHEDULE, _warm_up),
    Setting('steps and end, part of COCO', [120000, 160000, 180000], BASE, _steps),
    Setting('steps and end, all of COCO', [480000, 640000, 720000], '..._full_720k.py', _steps, FULL),
    Setting('steps and end, long', [960000, 1280000, 1440000], '..._full_1440k.py', _steps, LONG),
    Setting('steps and end, R101', [720000, 960000, 1080000], '..._full_1080k.py', _steps, R101),
    Setting('mixed precision', 'float16, dynamic', BASE, _amp),
    Setting('validation every', 4000, BASE, _at('train_cfg.val_interval')),
    Setting('checkpoint every', 4000, BASE, _at('default_hooks.checkpoint.interval')),
    Setting('checkpoints kept', 20, BASE, _at('default_hooks.checkpoint.max_keep_ckpts'), why='2 and the best'),
    Setting('baseline: images a GPU, part', 1, 'baseline/base.py', _at('train_dataloader.batch_size'), BASELINE),
    Setting('baseline: images a GPU, all', 2, 'baseline/..._full_720k.py', _at('train_dataloader.batch_size'), BASELINE_FULL),
    Setting('baseline: learning rate, part', 0.01, 'baseline/base.py', _at('optim_wrapper.optimizer.lr'), BASELINE),
    Setting('baseline: learning rate, all', 0.02, 'baseline/..._full_720k.py', _at('optim_wrapper.optimizer.lr'), BASELINE_FULL),
    Setting('baseline: steps and end, part', [120000, 160000, 180000], 'baseline/base.py', _steps, BASELINE),
    Setting('baseline: steps and end, all', [480000, 640000, 720000], 'baseline/..._full_720k.py', _steps, BASELINE_FULL),
    Setting('baseline: network of a test', 'student', 'a plain detector', _at('model.semi_test_cfg.predict_on'), BASELINE),
]  # fmt: skip


def table() -> str:
    """The rows as Markdown."""
    lines = ['| setting | official code | where | here |', '|---|---|---|---|']
    lines += [f'| {row.name} | {_words(row.official)} | {row.source} | {row.why or "same"} |' for row in SETTINGS]
    return '\n'.join(lines)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if value is None or value == []:
        return 'none'
    return ', '.join(map(_words, value)) if isinstance(value, list) else str(value)


@pytest.mark.parametrize('setting', SETTINGS, ids=lambda setting: setting.name)
def test_setting_is_the_official_one_or_says_why_not(setting):
    here = setting.here(as_config(setting.config))
    here = list(here) if isinstance(here, tuple) else here
    assert (here == setting.official) == (not setting.why), f'{setting.name}: official {setting.official}, here {here}'


def test_page_has_the_table():
    text = PAGE.read_text(encoding='utf-8')
    assert text.partition(BEGIN)[2].partition(END)[0].strip() == table(), 'print it anew, see the top of this file'


def _differences(first: Any, second: Any, path: str = '') -> set[str]:
    if isinstance(first, dict) and isinstance(second, dict):
        return {
            found
            for key in first.keys() | second.keys()
            for found in _differences(first.get(key), second.get(key), f'{path}.{key}')
        }
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return {name for n, pair in enumerate(zip(first, second)) for name in _differences(*pair, f'{path}.{n}')}
    return set() if first == second else {path.lstrip('.')}


ANN_FILES = {'train_dataloader.dataset.datasets.0.ann_file', 'train_dataloader.dataset.datasets.1.ann_file'}
MILESTONES = {'train_cfg.max_iters', 'param_scheduler.1.milestones.0', 'param_scheduler.1.milestones.1'}


@pytest.mark.parametrize(
    'first, second, allowed',
    [
        *[(PARTIAL, PARTIAL.replace('10pct', f'{percent}pct'), ANN_FILES) for percent in (1, 2, 5)],
        *[(BASELINE, BASELINE.replace('10pct', f'{percent}pct'), {'train_dataloader.dataset.ann_file'}) for percent in (1, 5)],
        (FULL, LONG, MILESTONES),
        (FULL, R101, MILESTONES | {BACKBONE + 'depth', BACKBONE + 'init_cfg.checkpoint'}),
    ],
)
def test_recipes_that_differ_in_one_thing_share_the_rest(first, second, allowed):
    keys = ('model', 'train_dataloader', 'val_dataloader', 'optim_wrapper', 'train_cfg', 'param_scheduler', 'custom_hooks',
            'default_hooks', 'val_evaluator', 'auto_scale_lr')  # fmt: skip
    configs = [{key: as_config(name).to_dict()[key] for key in keys} for name in (first, second)]
    assert _differences(*configs) == allowed


@pytest.mark.parametrize('name', [*list_models('soft-teacher*coco*'), *list_models('supervised*coco*')])
def test_weights_to_start_from_are_named(name):
    """Every recipe of a published size starts from ImageNet, and the page says where its file comes from."""
    start = as_config(name).model.detector.backbone.init_cfg
    assert start.type == 'Pretrained'
    assert start.checkpoint in PAGE.read_text(encoding='utf-8')


if __name__ == '__main__':
    print(table())
