"""Every recipe of a published size trains two steps, validates, saves, resumes and is tested through the real tools.

Resolution, pipeline, network and schedule are the recipe's, and mixed precision is bfloat16, or float32 on a processor that only
emulates it, where a recipe would take ten times as long. They run on generated data of the published layouts; batches are of 1
or 2, and networks start from random weights. A recipe that tests the weights of another is only tested. ``make test-recipes``
runs all; OPENMSRA_RECIPES=K/6 takes every sixth from the K-th on.
"""

import ctypes
import gc
import os
import platform
import runpy
import shutil
from pathlib import Path

import pytest

from benchmarks.recipes import published
from openmsra import compat
from openmsra.apis import init_model
from openmsra.engine.checkpoint.io import save_file
from openmsra.engine.config.files import load_config
from openmsra.engine.non_finite import computes_bfloat16

ROOT = Path(__file__).resolve().parents[2]
NEEDS_OPERATORS = {'soft_teacher'}
MEMORY = {'HybridTaskCascade': 20}  # GiB that a machine must have; Swin-L with all of HTC takes 13 of them
WHOLE = {'FrozenProbe', 'VideoRetrieval'}  # their second part is what they test on
HEAVY = {'FTCN', 'SoftTeacher', 'VideoClassifier'}  # a validation sees one sample: seconds each


def _chosen() -> list[Path]:
    part, _, parts = os.environ.get('OPENMSRA_RECIPES', '0/1').partition('/')
    chosen = published()[int(part) :: int(parts)]
    return sorted(chosen, key=lambda path: 'htc' not in path.stem)  # the longest and largest first, while the processes are small


@pytest.fixture(autouse=True)
def _cifar_checksums(monkeypatch):
    """The generated archives cannot have those of the real ones."""
    compat.bridge_torchvision()
    import mmpretrain.datasets.cifar

    monkeypatch.setattr(mmpretrain.datasets.cifar, 'check_md5', lambda *_: True)


def _run(tool: str, *arguments: str | Path) -> None:
    """A tool as its command line would start it, but in this process: importing takes longer than two steps."""
    runpy.run_path(str(ROOT / tool))['main']([str(argument) for argument in arguments])
    gc.collect()
    if platform.libc_ver()[0] == 'glibc':
        ctypes.CDLL(None).malloc_trim(0)  # the next recipe is of another size


def _options(cfg, steps: int) -> list[str]:
    """``--cfg-options`` that shorten a recipe to ``steps`` steps, epochs to one step each; two steps end with a validation."""
    options = {f'{place}': 'None' for place in _weights(cfg.model, 'model')}
    for phase in ('train', 'val', 'test'):
        if cfg.get(f'{phase}_dataloader'):
            small = phase != 'train' and cfg.model.type in HEAVY
            batch = 1 if small or cfg.model.type == 'FTCN' else 2
            if phase == 'train' and cfg.model.get('query_videos') == 'disjoint':
                batch = 4  # two videos of a stage are the least that differ
            fixed = dict(batch_size=batch, num_batch_per_epoch=1 if small or phase == 'train' else 2)
            if (cfg.get(f'{phase}_evaluator') or {}).get('type') in WHOLE:
                fixed |= dict(batch_size=64, num_batch_per_epoch=None)
            fixed |= dict(num_workers=0, persistent_workers=False, pin_memory=False)
            options |= {f'{phase}_dataloader.{key}': value for key, value in fixed.items()}
    if cfg.get('train_dataloader'):
        by_epoch = cfg.train_cfg.get('by_epoch', True)
        options[f'train_cfg.max_{"epochs" if by_epoch else "iters"}'] = steps
        options['default_hooks.checkpoint.interval'] = 2
        if not by_epoch:
            options.pop('train_dataloader.num_batch_per_epoch')
        if cfg.get('val_cfg') is not None:
            options['train_cfg.val_interval'] = 2
        if 'source_ratio' in cfg.train_dataloader.sampler:
            options |= {'train_dataloader.sampler.batch_size': 2, 'train_dataloader.sampler.source_ratio': '[1,1]'}
    return [f'{key}={value}' for key, value in options.items()]


def _precision(cfg) -> list[str]:
    """Arguments of the tool for a recipe in mixed precision; a CPU has no float16."""
    if 'Amp' not in cfg.optim_wrapper.get('type', ''):
        return []
    return ['--amp-dtype', 'bfloat16' if computes_bfloat16('cpu') else 'float32']


def _weights(part: dict, place: str) -> list[str]:
    """Keys below ``part`` that name a file to start from."""
    found = []
    for key, child in part.items():
        starts = isinstance(child, str) if key in ('pretrained', 'imagenet_weights') else key == 'init_cfg' and child
        if starts and (isinstance(child, str) or child.get('type') == 'Pretrained'):
            found.append(f'{place}.{key}')
        elif isinstance(child, dict):
            found += _weights(child, f'{place}.{key}')
    return found


def _imagenet_weights(model, folder: Path) -> Path:
    """A file with the names of torchvision's and random numbers, which CKDN does not start without."""
    import torch
    import torchvision.models

    name = 'vgg16_bn' if 'vgg' in str(model.get('backbone', '')) else f'resnet{model.get("depth", 50)}'
    torch.save(getattr(torchvision.models, name)().state_dict(), folder / 'imagenet.pth')
    return folder / 'imagenet.pth'


@pytest.mark.recipes
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    'path',
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.full] if path.parent.name in NEEDS_OPERATORS else [])
        for path in _chosen()
    ],
)
def test_recipe(path, data_trees, tmp_path, monkeypatch):
    monkeypatch.chdir(data_trees)
    cfg = load_config(path)
    if 'optim_wrapper' not in cfg or cfg.train_cfg.get('type') == 'EvolutionLoop':
        pytest.skip('no training: built by test_components.py')
    needed = MEMORY.get(cfg.model.get('detector', {}).get('type'), 0)
    there = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    if there < needed:
        pytest.skip(f'needs a machine of {needed} GiB; this one has {there:.0f}')
    first = tmp_path / 'run'
    imagenet = cfg.model.type == 'CKDN' and cfg.model.get('imagenet_weights', 'torchvision')
    start_from = [f'model.imagenet_weights={_imagenet_weights(cfg.model, tmp_path)}'] if imagenet else []
    rest = _options(cfg, 2) + start_from
    if '-test_' in path.stem:
        save_file(dict(state_dict=init_model(path).state_dict()), tmp_path / 'random.pth')
        _run('tools/test.py', path, tmp_path / 'random.pth', '--work-dir', tmp_path / 'test', '--cfg-options', *rest)
        return
    precision = _precision(cfg)
    _run('tools/train.py', path, '--work-dir', first, *precision, '--cfg-options', *rest)
    saved = (first / 'last_checkpoint').read_text().strip()
    assert Path(saved).is_file()
    _run('tools/train.py', path, '--work-dir', first, '--resume', *precision, '--cfg-options', *_options(cfg, 3), *start_from)
    resumed = (first / 'last_checkpoint').read_text().strip()
    assert resumed != saved
    if cfg.get('test_cfg') is not None:
        _run('tools/test.py', path, resumed, '--work-dir', tmp_path / 'test', '--cfg-options', *rest)
    shutil.rmtree(tmp_path)  # checkpoints of all recipes take 60 GB
