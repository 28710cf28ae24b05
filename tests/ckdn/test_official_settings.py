"""The recipe against the official code, line by line: its command, and the defaults of the arguments that it leaves alone."""

from pathlib import Path

import torch
from mmengine.optim import build_optim_wrapper

from openmsra.ckdn import CKDN
from openmsra.ckdn.designs import imagenet_file
from openmsra.engine.config.files import load_config
from tests.references.settings import Row, check

ROOT = Path(__file__).resolve().parents[2]
COMMAND, DEFAULT, TRAIN, NETWORK, LOADER = '`train.sh`', '`train.py`, default', '`train.py`', '`ckdn.py`', '`loader_iqa.py`'


def test_every_official_setting():
    cfg = load_config(ROOT / 'configs/ckdn/ckdn_r50_8xb8-30e_pipal.py')
    with torch.device('meta'):
        model = CKDN(**{key: value for key, value in cfg.model.items() if key != 'type'})
    solver, train, (_, crop, _) = cfg.optim_wrapper.optimizer, cfg.train_dataloader, cfg.train_dataloader.dataset.pipeline
    decay = {True: set(), False: set()}  # by whether a parameter has one dimension
    for group in build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups:
        for parameter in group['params']:
            decay[parameter.ndim == 1].add(group['weight_decay'])
    from openmsra.ckdn import ResizeCropPair

    crop, loss, (first, second, drop) = ResizeCropPair(), model.losses, (model.fc_[0], model.fc_[3], model.fc_[2])
    scheduled, hooks = cfg.get('param_scheduler'), cfg.custom_hooks
    rows = [
        Row(COMMAND, '--nproc_per_node x --batch-size', '8 x 8', f'8 x {train.batch_size}'),
        Row(COMMAND, '--lr', 0.16, solver.lr),
        Row(COMMAND, '--epochs', 30, cfg.train_cfg.max_epochs),
        Row(COMMAND, '--sched', 'const', 'const' if scheduled is None else 'other'),
        Row(COMMAND, '--warmup-epochs', 5, 0, 'no scheduler is built for `const`, so that there is no warm-up'),
        Row(COMMAND, '--img-size', 288, crop.crop),
        Row(COMMAND, '-j', 8, train.num_workers, 'no effect on the figures'),
        Row(DEFAULT, '--opt', 'sgd', solver.type.lower()),
        Row(DEFAULT, '--momentum', 0.9, solver.momentum),
        Row('`timm`, default', 'nesterov', True, solver.nesterov),
        Row(DEFAULT, '--weight-decay', 0.0001, *decay[False]),
        Row('`timm`', 'weight decay of biases and norms', 0.0, *decay[True]),
        Row(DEFAULT, '--seed', 42, cfg.randomness.seed),
        Row(TRAIN, 'seed + rank', True, cfg.randomness.diff_rank_seed),
        Row(DEFAULT, '--amp', False, cfg.optim_wrapper.get('type') is not None),
        Row(DEFAULT, '--sync-bn', False, 'sync_bn' in cfg),
        Row(DEFAULT, '--model-ema', False, any('EMA' in hook.type for hook in hooks)),
        Row(TRAIN, 'cudnn.benchmark', True, cfg.env_cfg.cudnn_benchmark),
        Row(TRAIN, 'find_unused_parameters', True, cfg.find_unused_parameters),
        Row(TRAIN, 'epochs of the ranking stage', 10, hooks[0].rank_epochs),
        Row(TRAIN, 'weight of the ranking', 0.5, loss.rank_weight),
        Row(TRAIN, 'weight of the score with the pristine reference', 1.0, loss.fr_weight),
        Row(TRAIN, 'weight of the alignment', 30.0, loss.kd_weight),
        Row(TRAIN, 'power of the distance', 2, loss.kd_power),
        Row(TRAIN, 'evaluation after how many epochs', 1, cfg.train_cfg.val_interval),
        Row(
            TRAIN,
            'selected by',
            'SRCC + PLCC',
            _selection(cfg),
        ),
        Row('`timm/utils.py`', 'max_history', 10, cfg.default_hooks.checkpoint.max_keep_ckpts),
        Row(LOADER, 'drop_last', True, train.drop_last),
        Row(LOADER, 'crop_pct', 0.875, round(crop.crop / crop.resize, 3)),
        Row(LOADER, 'interpolation of references', 'nearest', crop.ref_interp),
        Row(LOADER, 'augmentation', 'none', 'none' if len(train.dataset.pipeline) == 3 else 'some'),
        Row(NETWORK, 'pretrained', 'resnet50, first ImageNet weights', _start(model)),
        Row(NETWORK, 'layers', (3, 4), (len(model.qse_2), len(model.csp))),
        Row(NETWORK, 'hidden widths of the heads', (2048, 2048), (first.out_features, second.out_features)),
        Row(NETWORK, 'dropout', 0.5, drop.p),
        Row(NETWORK, 'unused parts get zero gradients', True, model.official_stages),
    ]
    check(rows, ROOT / 'configs/ckdn/README.md')


def _selection(cfg) -> str:
    return 'SRCC + PLCC' if cfg.default_hooks.checkpoint.save_best == 'iqa/SRCC_PLCC_sum' else 'other'


def _start(model: CKDN) -> str:
    published = model.imagenet_weights == 'torchvision' and imagenet_file(model.design.name).name.startswith('resnet50-')
    return 'resnet50, first ImageNet weights' if published else str(model.imagenet_weights)


def test_rates_of_the_amp_recipe_are_those_of_the_recipe():
    cfg, amp = (load_config(ROOT / f'configs/ckdn/ckdn{name}_r50_8xb8-30e_pipal.py') for name in ('', '-amp'))
    assert (amp.optim_wrapper.type, amp.optim_wrapper.dtype) == ('AmpOptimWrapper', 'bfloat16')
    assert {key: value for key, value in amp.optim_wrapper.items() if key not in ('type', 'dtype')} == cfg.optim_wrapper
