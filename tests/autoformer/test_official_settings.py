"""The recipes against the official code, line by line: its defaults, what its README overrides, and what differs on purpose.

The values are those of microsoft/Cream, AutoFormer/ (revision 4a13c40), which trains with timm 0.3.2. The table of the paper's
page is made of them: ``python -m tests.autoformer.test_official_settings`` prints it.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS

from openmsra.autoformer import AutoFormerSupernet, SearchSpace
from openmsra.autoformer.search.evolution import EvolutionSettings
from openmsra.engine.config.files import load_config
from openmsra.registry import TRANSFORMS

PAGE = Path('configs/autoformer/README.md')
BEGIN, END = '<!-- official settings: tests/autoformer/test_official_settings.py -->', '<!-- end of official settings -->'
TRAIN, DATA, ENGINE, SEARCH = 'supernet_train.py', 'lib/datasets.py', 'supernet_engine.py', 'evolution.py'
AUGMENTS = 'model.data_preprocessor.batch_augments'
NOISE = {'rand': 'pixel noise', 'const': 'a colour'}  # words of mmpretrain and of timm
SUPERNETS = {size: f'autoformer-{size}_supernet_8xb128-500e_in1k' for size in ('tiny', 'small', 'base')}


class Setting(NamedTuple):
    """A row of the table.

    Args:
        name: of the setting.
        official: its value in the official code.
        source: file, and whether it is a default or an override of the README's command.
        here: reads our value from the config of a supernet.
        why: why ours differs; empty where it does not.
    """

    name: str
    official: Any
    source: str
    here: Callable[[Config], Any]
    why: str = ''


def _step(cfg: Config, kind: str, part: str = 'train') -> dict:
    """The one transform of a kind in a pipeline; a default that the config leaves out is an attribute of what it builds."""
    (step,) = (step for step in cfg[f'{part}_dataloader'].dataset.pipeline if step.type.rpartition('.')[2] == kind)
    return {**vars(TRANSFORMS.build(step.to_dict())), **step.to_dict()}


def _colour_jitter(cfg: Config) -> str | None:
    return next((step.type for step in cfg.train_dataloader.dataset.pipeline if 'Jitter' in step.type), None)


def _rand_augment(cfg: Config) -> str:
    """In timm's notation, whose 'increasing' set has 15 operations of which 2 are drawn."""
    step = _step(cfg, 'RandAugment')
    assert (step['num_policies'], len(step['transforms']), step['total_level']) == (2, 15, 10)
    increasing = {type(policy).__name__: policy.magnitude_range for policy in step['transforms']}
    assert increasing['Solarize'] == (256, 0) and increasing['Posterize'] == (4, 0)
    return f'rand-m{step["magnitude_level"]}-mstd{step["magnitude_std"]}-inc1'


def _amp_dtype(cfg: Config) -> str | None:
    return cfg.optim_wrapper.get('dtype', 'float16') if cfg.optim_wrapper.type == 'AmpOptimWrapper' else None


def _seed(cfg: Config) -> str:
    return f'{cfg.randomness.seed}{" + rank" * cfg.randomness.get("diff_rank_seed", False)}'


def _undecayed(cfg: Config) -> tuple[str, ...]:
    """What of a tiny supernet the optimiser leaves undecayed, of the tensors that are no norm, bias or 1-D."""

    from openmsra.engine.launch import build_runner  # noqa: F401 - registers the optimiser wrappers

    net = AutoFormerSupernet(space=dict(embed_dim=[8], depth=[1], num_heads=[1], mlp_ratio=[1.0], head_dim=8), num_classes=2)
    settings = {**cfg.optim_wrapper.to_dict(), 'type': 'mmengine.OptimWrapper'}
    settings = {key: value for key, value in settings.items() if key not in ('loss_scale', 'dtype')}
    groups = build_optim_wrapper(net, settings).optimizer.param_groups
    undecayed = {id(parameter) for group in groups if group['weight_decay'] == 0 for parameter in group['params']}
    assert all((id(p) in undecayed) for name, p in net.named_parameters() if p.ndim == 1)
    return tuple(sorted(name for name, p in net.named_parameters() if id(p) in undecayed and p.ndim > 1))


def _largest_share_of_lr(cfg: Config) -> float:
    """The largest relative difference of an epoch's rate from the official value of the same index, rounded up."""
    worst = max(abs(ours / official - 1) for ours, official in zip(learning_rates(cfg), map(official_rate, range(500))))
    return math.ceil(1000 * worst) / 1000


def official_rate(epoch: int) -> float:
    """timm's CosineLRScheduler: linear warm-up for 20 epochs, then the cosine that began in epoch 0."""
    if epoch < 20:
        return 1e-6 + epoch * (1e-3 - 1e-6) / 20
    return 1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + math.cos(math.pi * epoch / 500))


def learning_rates(cfg: Config) -> list[float]:
    """Our rate in each epoch."""
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [PARAM_SCHEDULERS.build({**step.to_dict(), 'optimizer': optimizer}) for step in cfg.param_scheduler]
    rates = []
    for _ in range(cfg.train_cfg.max_epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def at(path: str) -> Callable[[Config], Any]:
    """Reads the value at a dotted path of the config; nothing is there: ``None``."""

    def read(cfg: Config) -> Any:
        for key in path.split('.'):
            cfg = cfg[int(key)] if key.isdigit() else cfg.get(key)
        return tuple(cfg) if isinstance(cfg, list) else cfg

    return read


def transform(kind: str, *keys: str, part: str = 'train') -> Callable[[Config], Any]:
    """Reads one or several settings of a transform."""

    def read(cfg: Config) -> Any:
        step = _step(cfg, kind, part)
        values = [tuple(step[key]) if isinstance(step[key], list) else step[key] for key in keys]
        return values[0] if len(keys) == 1 else tuple(values)

    return read


SETTINGS = [
    Setting('images a GPU', 128, f'{TRAIN}, override of 64', at('train_dataloader.batch_size')),
    Setting('images a step, 8 GPUs', 1024, 'README, override', at('auto_scale_lr.base_batch_size')),
    Setting('epochs', 500, f'{TRAIN}, override of 300', at('train_cfg.max_epochs')),
    Setting('steps an epoch', 1251, 'lib/samplers.py', lambda cfg: math.ceil(1281167 / 8) // cfg.train_dataloader.batch_size),
    Setting('repeated augmentation', 3, f'{TRAIN}, default', at('train_dataloader.sampler.num_repeats')),
    Setting('optimiser', 'AdamW', f'{TRAIN}, default', at('optim_wrapper.optimizer.type')),
    Setting('betas', (0.9, 0.999), f'{TRAIN}, default', at('optim_wrapper.optimizer.betas')),
    Setting('epsilon', 1e-8, f'{TRAIN}, default', at('optim_wrapper.optimizer.eps')),
    Setting('learning rate', 1e-3, f'{TRAIN}, default 5e-4, x batch / 512', at('optim_wrapper.optimizer.lr')),
    Setting('weight decay', 0.05, f'{TRAIN}, default', at('optim_wrapper.optimizer.weight_decay')),
    Setting('no decay, beside norms and biases', ('cls_token', 'pos_embed'), 'model/supernet_transformer.py', _undecayed),
    Setting('gradient clipping', None, f'{TRAIN}, default', at('optim_wrapper.clip_grad')),
    Setting('warm-up from', 1e-6, f'{TRAIN}, default', lambda cfg: learning_rates(cfg)[0]),
    Setting('warm-up epochs', 20, f'{TRAIN}, override of 5', lambda cfg: cfg.param_scheduler[0].end - 1),
    Setting('lowest rate', 1e-5, f'{TRAIN}, default', at('param_scheduler.1.eta_min')),
    Setting(
        'rate of an epoch, largest difference',
        0.0,
        'timm, cosine',
        _largest_share_of_lr,
        'the cosine scales the warm-up too; the official script steps its schedule after an epoch with the index of that epoch, '
        'so that each rate comes one epoch later',
    ),
    Setting('drop path', 0.1, f'{TRAIN}, default', at('model.drop_path_rate')),
    Setting('dropout', 0.0, f'{TRAIN}, default', lambda cfg: _net(cfg).drop_rate),
    Setting('label smoothing', 0.1, f'{TRAIN}, default', at('model.loss.label_smooth_val')),
    Setting('Mixup alpha', 0.8, f'{TRAIN}, default', at(f'{AUGMENTS}.augments.0.alpha')),
    Setting('CutMix alpha', 1.0, f'{TRAIN}, default', at(f'{AUGMENTS}.augments.1.alpha')),
    Setting('Mixup or CutMix', 1.0, f'{TRAIN}, default', lambda cfg: sum(at(f'{AUGMENTS}.probs')(cfg))),
    Setting('CutMix rather than Mixup', 0.5, f'{TRAIN}, default', at(f'{AUGMENTS}.probs.1')),
    Setting('mixed with', 'the reversed batch', 'timm, mode batch', lambda cfg: 'a permuted batch', 'mmpretrain draws the pairs'),
    Setting('colour jitter', None, f'{TRAIN}, default 0.4, which timm leaves out beside RandAugment', _colour_jitter),
    Setting('RandAugment', 'rand-m9-mstd0.5-inc1', f'{TRAIN}, default', _rand_augment),
    Setting(
        'its interpolation', 'bicubic', f'{TRAIN}, default', lambda cfg: transform('RandAugment', 'hparams')(cfg)['interpolation']
    ),
    Setting('crop: side', 224, f'{TRAIN}, default', transform('RandomResizedCrop', 'scale')),
    Setting('crop: area', (0.08, 1.0), 'timm, default', transform('RandomResizedCrop', 'crop_ratio_range')),
    Setting('crop: aspect', (3 / 4, 4 / 3), 'timm, default', transform('RandomResizedCrop', 'aspect_ratio_range')),
    Setting('crop: interpolation', 'bicubic', f'{TRAIN}, default', transform('RandomResizedCrop', 'interpolation')),
    Setting('horizontal flip', 0.5, 'timm, default', transform('RandomFlip', 'prob')),
    Setting('random erasing', 0.25, f'{TRAIN}, default', transform('RandomErasing', 'erase_prob')),
    Setting('erased with', 'pixel noise', f'{TRAIN}, default', lambda cfg: NOISE[transform('RandomErasing', 'mode')(cfg)]),
    Setting('erased area', (0.02, 1 / 3), 'timm, default', transform('RandomErasing', 'min_area_ratio', 'max_area_ratio')),
    Setting('erased aspect', (0.3, 1 / 0.3), 'timm, default', transform('RandomErasing', 'aspect_range')),
    Setting(
        'EMA of the weights', None, f'{TRAIN}, default', lambda cfg: 'yes' if 'EMA' in str(cfg.get('custom_hooks')) else None
    ),
    Setting('mixed precision', 'float16', f'{TRAIN}, default', _amp_dtype, 'base: bfloat16, for float16 is known to end in NaN'),
    Setting('seed', '0 + rank', f'{TRAIN}, default', _seed),
    Setting(
        'seed of the architectures',
        'epoch',
        ENGINE,
        lambda cfg: '(seed, iteration)',
        'equal on all processes in both; an epoch that is resumed goes on here and begins again there',
    ),
    Setting('cudnn.benchmark', True, TRAIN, at('env_cfg.cudnn_benchmark'), 'a resumed run is to repeat to the last bit'),
    Setting('side of the images', 224, f'{TRAIN}, default', at('model.img_size')),
    Setting('side of a patch', 16, f'{TRAIN}, default', lambda cfg: _net(cfg).patch_size),
    Setting('relative positions', 'kv', f'{TRAIN}, override', lambda cfg: _net(cfg).roles),
    Setting('their largest distance', 14, f'{TRAIN}, default', lambda cfg: _net(cfg).max_relative_position),
    Setting('absolute positions', True, f'{TRAIN}, default', lambda cfg: _net(cfg).abs_pos),
    Setting('the mean of the patches is classified', True, f'{TRAIN}, override', lambda cfg: _net(cfg).global_pool),
    Setting('test: short side', 256, DATA, transform('ResizeEdge', 'scale', part='test')),
    Setting('test: crop', 224, DATA, transform('CenterCrop', 'crop_size', part='test')),
    Setting('test: interpolation', 'bicubic', DATA, transform('ResizeEdge', 'interpolation', part='test')),
    Setting('mean, x 255', (123.675, 116.28, 103.53), DATA, at('model.data_preprocessor.mean')),
    Setting('deviation, x 255', (58.395, 57.12, 57.375), DATA, at('model.data_preprocessor.std')),
    Setting('test: images a GPU', 256, TRAIN, at('test_dataloader.batch_size')),
    Setting(
        'tested after an epoch',
        'a random architecture',
        ENGINE,
        lambda cfg: 'smallest, middle, largest, searched',
        'a curve of fixed ones shows training and not the draw',
    ),
]

SEARCH_SETTINGS = [
    Setting('generations', 20, f'{SEARCH}, default', at('train_cfg.evolution.generations')),
    Setting('population', 50, f'{SEARCH}, default', at('train_cfg.evolution.population')),
    Setting('parents', 10, f'{SEARCH}, default', at('train_cfg.evolution.parents')),
    Setting('mutations', 25, f'{SEARCH}, default', at('train_cfg.evolution.mutations')),
    Setting('crossovers', 25, f'{SEARCH}, default', at('train_cfg.evolution.crossovers')),
    Setting('probability of a layer', 0.2, f'{SEARCH}, default', lambda cfg: EvolutionSettings().layer_prob),
    Setting('probability of depth, of width', 0.4, f'{SEARCH}, default', lambda cfg: EvolutionSettings().network_prob),
    Setting(
        'parameters',
        (18e6, 23e6),
        f'{SEARCH}, default',
        at('train_cfg.budgets.params'),
        'the official range is for small, ours for tiny',
    ),
    Setting('precision of scores', 'float16', f'{SEARCH}, default', at('train_cfg.amp_dtype')),
    Setting(
        'images scored on',
        '100,000 that were trained on',
        'lib/subImageNet.py',
        lambda cfg: '50,000 that were held out',
        'scores on training images flatter',
    ),
]


def _net(cfg: Config) -> AutoFormerSupernet:
    with torch.device('meta'):
        return AutoFormerSupernet(
            cfg.model.space, global_pool=cfg.model.get('global_pool', True), abs_pos=cfg.model.get('abs_pos', True)
        )


@pytest.fixture(scope='module')
def tiny() -> Config:
    return load_config(f'configs/autoformer/{SUPERNETS["tiny"]}.py')


@pytest.fixture(scope='module')
def search() -> Config:
    return load_config('configs/autoformer/autoformer-tiny_search_8xb250-20gen_in1k.py')


@pytest.mark.parametrize('setting', SETTINGS, ids=lambda setting: setting.name)
def test_supernet_trains_with_the_official_setting_or_says_why_not(tiny, setting):
    assert (setting.here(tiny) == pytest.approx(setting.official)) or setting.why, setting


@pytest.mark.parametrize('setting', SEARCH_SETTINGS, ids=lambda setting: setting.name)
def test_search_has_the_official_setting_or_says_why_not(search, setting):
    assert (setting.here(search) == setting.official) or setting.why, setting


def test_learning_rates_are_the_official_ones(tiny):
    """Warm-up and cosine overlap in ours: less than half a percent."""
    assert learning_rates(tiny) == pytest.approx([official_rate(epoch) for epoch in range(500)], rel=4e-3)


OFFICIAL_SPACES = {  # experiments/supernet/supernet-{T,S,B}.yaml; the base heads of experiments/subnet/AutoFormer-B.yaml
    'tiny': dict(super_embed_dim=256, super_num_heads=4, super_depth=14, super_mlp_ratio=4.0, embed_dim=(192, 216, 240),
                 num_heads=(3, 4), depth=(12, 13, 14), mlp_ratio=(3.5, 4.0)),
    'small': dict(super_embed_dim=448, super_num_heads=7, super_depth=14, super_mlp_ratio=4.0, embed_dim=(320, 384, 448),
                  num_heads=(5, 6, 7), depth=(12, 13, 14), mlp_ratio=(3.0, 3.5, 4.0)),
    'base': dict(super_embed_dim=640, super_num_heads=10, super_depth=16, super_mlp_ratio=4.0, embed_dim=(528, 576, 624),
                 num_heads=(8, 9, 10), depth=(14, 15, 16), mlp_ratio=(3.0, 3.5, 4.0)),
}  # fmt: skip


@pytest.mark.parametrize('size', OFFICIAL_SPACES)
def test_spaces_are_the_official_ones(size):
    cfg = load_config(f'configs/autoformer/{SUPERNETS[size]}.py')
    assert cfg.model.space == size
    space = SearchSpace.from_config(cfg.model.space)
    assert {key: getattr(space, key) for key in OFFICIAL_SPACES[size]} == OFFICIAL_SPACES[size]


@pytest.mark.parametrize('size', ['small', 'base'])
def test_sizes_differ_in_nothing_but_what_they_say(tiny, size):
    cfg, expected = load_config(f'configs/autoformer/{SUPERNETS[size]}.py').to_dict(), tiny.to_dict()
    for key in ('val_cfg', 'test_cfg'):
        assert cfg.pop(key)['subnets'][:3] == expected.pop(key)['subnets'][:3]
    expected['model']['space'] = size
    if size == 'base':
        expected['optim_wrapper'] |= dict(dtype='bfloat16', loss_scale=1.0)
    shared = set(expected) - {'arch', 'subnets'}
    assert {key: cfg[key] for key in shared} == {key: expected[key] for key in shared}


def table(settings: list[Setting], cfg: Config) -> str:
    """Markdown: what the official code has, where, and what we have."""
    lines = ['| setting | official code | where | here |', '|---|---|---|---|']
    for setting in settings:
        here = setting.here(cfg)
        same = here == pytest.approx(setting.official) if not isinstance(here, str) else here == setting.official
        ours = (
            f'{_text(here)}: {setting.why}' if setting.why and not same else 'same' + (f'; {setting.why}' if setting.why else '')
        )
        lines.append(f'| {setting.name} | {_text(setting.official)} | {setting.source} | {ours} |')
    return '\n'.join(lines)


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ', '.join(map(_text, value))
    if value is None or isinstance(value, bool):
        return {None: 'none', True: 'yes', False: 'no'}[value]
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def test_page_has_the_table(tiny, search):
    page = PAGE.read_text(encoding='utf-8')
    expected = f'{BEGIN}\n\n{table(SETTINGS, tiny)}\n\n{table(SEARCH_SETTINGS, search)}\n\n{END}'
    assert expected in page, f'the table of {PAGE} is old: python -m tests.autoformer.test_official_settings prints a new one'


if __name__ == '__main__':
    configs = [
        load_config(f'configs/autoformer/{name}.py') for name in (SUPERNETS['tiny'], 'autoformer-tiny_search_8xb250-20gen_in1k')
    ]
    print(f'{BEGIN}\n\n{table(SETTINGS, configs[0])}\n\n{table(SEARCH_SETTINGS, configs[1])}\n\n{END}')
