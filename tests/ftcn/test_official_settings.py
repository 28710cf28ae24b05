"""The recipe against the settings of the official code, line by line: what it sets, and the defaults that it leaves alone."""

from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from openmsra.engine.config.files import load_config
from openmsra.ftcn import FTCN
from openmsra.ftcn.schedule import warmup_cosine
from tests.references.settings import Row, check

ROOT = Path(__file__).resolve().parents[2]
YAML, ROOT_YAML, CODE, SLOWFAST = '`setting/ftcn_tt.yaml`', '`root_setting.yaml`', 'classifier', 'SlowFast default'
UNKNOWN = 'what reads it was never released; ours'


@pytest.fixture(scope='module')
def cfg():
    return load_config(ROOT / 'configs/ftcn/ftcn-tt_r50_8xb2-100e_ffpp-c23.py')


@pytest.fixture(scope='module')
def model(cfg):
    with torch.device('meta'):
        return FTCN(**{key: value for key, value in cfg.model.items() if key != 'type'})


def test_every_official_setting(cfg, model):
    solver, train = cfg.optim_wrapper.optimizer, cfg.train_dataloader
    augment = train.dataset.pipeline[0]
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    decays = {}
    decay_of = {id(parameter): group['weight_decay'] for group in groups for parameter in group['params']}
    for module in model.modules():
        kind = next((kind for kind in (nn.Conv3d, nn.BatchNorm3d, nn.LayerNorm) if isinstance(module, kind)), type(module))
        for parameter in module.parameters(recurse=False):
            decays.setdefault(kind.__name__, set()).add(decay_of[id(parameter)])
    transformer = model.resnet.head.time_T
    attention, mlp = (layer.fn.fn for layer in transformer.transformer.layers[0])
    rows = [
        Row(YAML, 'SOLVER.OPTIMIZING_METHOD', 'sgd', solver.type.lower()),
        Row(YAML, 'SOLVER.BASE_LR', 0.1, solver.lr),
        Row(YAML, 'SOLVER.MOMENTUM', 0.9, solver.momentum),
        Row(YAML, 'SOLVER.WEIGHT_DECAY', 0.0001, *decays['Conv3d']),
        Row(YAML, 'SOLVER.MAX_EPOCH', 100, cfg.train_cfg.max_epochs),
        Row(YAML, 'SOLVER.LR_POLICY', 'cosine', 'cosine' if warmup_cosine(0.5, 0.1, 0.1) == pytest.approx(0.5) else 'other'),
        Row(YAML, 'SOLVER.WARMUP_EPOCHS', 10, round(0.1 * cfg.param_scheduler[0].end)),
        Row(YAML, 'SOLVER.WARMUP_START_LR', 0.01, round(solver.lr * warmup_cosine(0.0, 0.1, 0.1), 6)),
        Row(SLOWFAST, 'SOLVER.NESTEROV', True, solver.nesterov),
        Row(SLOWFAST, 'SOLVER.DAMPENING', 0.0, float(groups[0]['dampening'])),
        Row(SLOWFAST, 'SOLVER.COSINE_END_LR', 0.0, round(warmup_cosine(1.0, 0.1, 0.1), 6)),
        Row(SLOWFAST, 'BN.WEIGHT_DECAY', 0.0, *decays['BatchNorm3d']),
        Row(SLOWFAST, 'SOLVER.ZERO_WD_1D_PARAM', False, decays['LayerNorm'] == {0.0}),
        Row(SLOWFAST, 'BN.NORM_TYPE', 'batchnorm', 'batchnorm' if 'sync_bn' not in cfg else cfg.sync_bn),
        Row(CODE, 'BN.USE_PRECISE_STATS', True, cfg.custom_hooks[0].type == 'PreciseBNHook'),
        Row(CODE, 'BN.NUM_BATCHES_PRECISE', 200, cfg.custom_hooks[0].num_batches),
        Row(CODE, 'RESNET.ZERO_INIT_FINAL_BN', True, _last_scales_are_zero(cfg)),
        Row(CODE, 'RESNET.DEPTH', 50, 50 if [len(getattr(model.resnet, f's{k}')) for k in (2, 3, 4)] == [3, 4, 6] else 0),
        Row(CODE, 'convolutions replaced after initialisation', True, cfg.model.official_init),
        Row(CODE, 'MODEL.DROPOUT_RATE', 0.5, FTCN(head=dict(kind='average')).resnet.head.dropout.p),
        Row(CODE, 'heads', 16, attention.heads),
        Row(CODE, 'mlp_dim', 2048, mlp.net[0].out_features),
        Row(CODE, 'dropout', 0.1, mlp.net[2].p),
        Row(CODE, 'emb_dropout', 0.1, transformer.dropout.p),
        Row(CODE, 'DATA_LOADER.PIN_MEMORY', True, train.pin_memory),
        Row(YAML, 'model.transformer.depth', 1, len(transformer.transformer.layers)),
        Row(YAML, 'model.transformer.patch_type', 'time', model.resnet.head.patch),
        Row(YAML, 'model.transformer.stop_point', 5, model.resnet.stages[-1] + 1),
        Row(ROOT_YAML, 'model.transformer.dim', -1, -1 if not hasattr(transformer, 'patch_to_embedding') else 0),
        Row(YAML, 'model.inco.spatial_count', 0, _spatial_kernels(model)),
        Row(ROOT_YAML, 'model.inco.no_time_pool', False, not model.resnet.temporal_pool),
        Row(YAML, 'clip_size', 32, cfg.model.clip_len),
        Row(YAML, 'imsize', 224, cfg.model.size),
        Row(YAML, 'base_count', 12, train.dataset.clips_per_video),
        Row(YAML, 'trainer.default.batch_size', 16, 8 * train.batch_size),
        Row(YAML, 'trainer.default.test_batch_size', 8, 8 * cfg.val_dataloader.batch_size, 'no effect on the figures'),
        Row(YAML, 'trainer.default.apex_option', 'O0', 'O0' if cfg.optim_wrapper.get('type') is None else 'amp'),
        Row(YAML, 'dataset.fake_train', 4, len(train.dataset.methods)),
        Row(YAML, 'aug.max_step', 4, int(train.dataset.jitter), 'taken for the pixels by which landmarks move'),
        Row(ROOT_YAML, 'aug.flip_prob', 0, int(augment.flip)),
        Row(YAML, 'aug.earse (strong_black)', 1, augment.get('erase', 0.5), UNKNOWN),
        Row(YAML, 'aug.min_quality, max_quality', (60, 100), (60, 100), f'in {100 * 0.3:.0f} % of the clips; {UNKNOWN}'),
        Row(YAML, 'aug.min_size, max_size', (64, 317), (64, 224), f'in {100 * 0.3:.0f} % of the clips; {UNKNOWN}'),
    ]
    check(rows, ROOT / 'configs/ftcn/README.md')


def _spatial_kernels(model: FTCN) -> int:
    return sum(module.kernel_size[1] > 1 for module in model.modules() if isinstance(module, nn.Conv3d))


def _last_scales_are_zero(cfg) -> bool:
    model = FTCN(dict(depths=(1, 1, 1), channels=4), dict(kind='average'), official_init=cfg.model.official_init)
    model.init_weights()
    return all(not module.weight.any() for name, module in model.named_modules() if name.endswith('c_bn'))


def test_initialisation_is_that_of_the_official_conversion():
    """Replaced convolutions keep PyTorch's uniform weights, which have a bound; the others are normal, by their fan-out."""
    torch.manual_seed(0)
    plain = FTCN(dict(spatial_kernels=(7, 3, 3, 3, 3)), dict(kind='average'), official_init=True)
    model = FTCN(head=dict(kind='average'), official_init=True)
    for network in (plain, model):
        network.init_weights()
    replaced = {}
    for name, network in (('plain', plain), ('ftcn', model)):
        convolutions = {key: m.weight.detach() for key, m in network.named_modules() if isinstance(m, nn.Conv3d)}
        replaced[name] = {key for key, weight in convolutions.items() if weight.abs().max() <= 1 / weight[0].numel() ** 0.5}
    assert replaced['plain'] == set()
    assert len(replaced['ftcn']) == 1 + 13 + 2  # stem, the middle ones, the strided projections
    assert all(
        key.endswith(('stem.conv', 'branch2.b', 's3.pathway0_res0.branch1', 's4.pathway0_res0.branch1'))
        for key in replaced['ftcn']
    )


def test_rates_of_the_amp_recipe_are_those_of_the_recipe(cfg):
    amp = load_config(ROOT / 'configs/ftcn/ftcn-tt-amp_r50_8xb2-100e_ffpp-c23.py')
    assert (amp.optim_wrapper.type, amp.optim_wrapper.dtype) == ('AmpOptimWrapper', 'bfloat16')
    assert {key: value for key, value in amp.optim_wrapper.items() if key not in ('type', 'dtype')} == cfg.optim_wrapper
