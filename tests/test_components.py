"""Every component of every config is built on data trees of the published layouts, and a batch goes through its preprocessor.

Data sets with their transforms, samplers, collate functions, loops, hooks, optimisers with their wrapper and constructor,
schedules, metrics, visualisers, log processors: all by the Runner itself. Networks are built without drawing their weights, which
``test_configs.py`` does. Of what two configs share a batch is made once.
"""

import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import base_dataset
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch import nn
from torch.overrides import TorchFunctionMode

from benchmarks.recipes import shrink_batch, use_bfloat16, without_weights
from openmsra import compat
from openmsra.engine.config.files import load_config
from openmsra.engine.runner import OpenMSRARunner
from openmsra.miniatures import motions, restored_photos
from openmsra.miniatures.digit_scenes import DigitScenes
from openmsra.miniatures.restorers import train_denoisers
from tests import trees

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(path for path in ROOT.glob('configs/*/*.py') if not path.name.startswith('_') and path.parent.name != '_base_')
DETECTION = sorted(ROOT.glob('configs/maskco/detection/*.py'))
PHASES = ('train', 'val', 'test')
NEEDS_OPERATORS = {'soft_teacher', 'detection'}


class _Dry:
    """What a Runner does without a forward pass: nothing is written or formatted."""

    def dump_config(self) -> None:
        pass

    def _log_env(self, env_cfg: dict) -> None:
        pass


class _NoDraws(TorchFunctionMode):
    """Weights are left as the memory has them."""

    DRAWS = {'normal_', 'uniform_', 'erfinv_', 'kaiming_normal_', 'kaiming_uniform_'}  # the last two draw out of the mode's sight

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, '__name__', '') in self.DRAWS:
            return args[0] if args else kwargs['tensor']
        return func(*args, **(kwargs or {}))


class _DryRunner(_Dry, OpenMSRARunner):
    pass


class _DryPlainRunner(_Dry, Runner):
    """For configs that mmdet's own tools run."""


def _marked(paths: list[Path]) -> list:
    return [
        pytest.param(path, id=path.stem, marks=pytest.mark.full if path.parent.name in NEEDS_OPERATORS else ()) for path in paths
    ]


@pytest.fixture(scope='module')
def built() -> set[str]:
    """Data sets of which a batch has been made, as text."""
    return set()


def _hardly_trained(degraded: np.ndarray, pristine: np.ndarray, steps: tuple[int, ...]) -> dict:
    return dict(zip(steps, train_denoisers(degraded, pristine, (1, 2)).values(), strict=True))


@cache
def _scene_of_few(split: str, kind: str, size: int, part: str, index: int, make=DigitScenes._scene) -> dict:
    return make(DigitScenes(split, 0 if split == 'train' else (0, 0), [], kind, size=size), part, index)


def _few_scenes(self, part: str, index: int) -> dict:
    """Two scenes stand for the thousands of a part."""
    return dict(_scene_of_few(self.split, self.kind, self.size, part, index % 2))


def _few_videos(split: str, count: int, drift: float, seed: int, make=motions.videos) -> tuple:
    """One video of each motion stands for all."""
    few = make(split, len(motions.MOTIONS), drift, seed)
    return tuple(few[k % len(few)] for k in range(count))


@pytest.fixture
def at_data(data_trees, monkeypatch):
    """The working directory is one with all data; those that a miniature makes itself are few."""
    monkeypatch.chdir(data_trees)
    monkeypatch.setattr(base_dataset, 'gc', SimpleNamespace(collect=lambda: 0))  # a third of a second for every data set
    monkeypatch.setattr(restored_photos, 'PATCHES', dict(train=2, val=1, test=1))
    monkeypatch.setattr(restored_photos, 'train_denoisers', _hardly_trained)
    monkeypatch.setattr(DigitScenes, '_scene', _few_scenes)
    monkeypatch.setattr(motions, 'videos', _few_videos)


@pytest.mark.parametrize('path', _marked(CONFIGS))
def test_every_component_is_built(path, at_data, built, tmp_path):
    _build_all(load_config(path), _DryRunner, built, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize('path', DETECTION, ids=lambda path: path.stem)
def test_every_component_of_a_detection_config_is_built(path, at_data, built, tmp_path):
    compat.bridge_torchvision()
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    cfg = Config.fromfile(path)
    ours = cfg.default_scope == 'openmsra'
    _build_all(load_config(path) if ours else cfg, _DryRunner if ours else _DryPlainRunner, built, tmp_path)


def _build_all(cfg: Config, runner_type: type, built: set[str], work_dir: Path) -> None:
    cfg.work_dir = str(work_dir)
    object.__setattr__(cfg, '_format_python_code', False)  # slow, and what the visualiser writes down is not read here
    for phase in PHASES:
        if loader := cfg.get(f'{phase}_dataloader'):
            loader.num_workers, loader.persistent_workers, loader.batch_size = 0, False, 2
    if cfg.get('train_dataloader'):
        shrink_batch(cfg, 2)
        use_bfloat16(cfg)
        if cfg.train_cfg.get('type') == 'EvolutionLoop':
            cfg.train_cfg.allow_random_weights = True
    with DefaultScope.overwrite_default_scope(cfg.default_scope), _NoDraws():
        options = {'data_preprocessor': cfg.data_preprocessor} if cfg.get('data_preprocessor') else {}
        model = MODELS.build(without_weights(ConfigDict(options | cfg.model)))
    cfg.model = model.__class__.__name__  # the Runner is given the network itself
    keys = {key: value for key, value in cfg.items() if key in _RUNNER_ARGUMENTS}
    runner = runner_type(**(keys | dict(model=model, cfg=cfg, experiment_name=work_dir.parent.name + work_dir.name)))
    preprocessor = model.data_preprocessor
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        if cfg.get('train_cfg'):
            loop = runner._train_loop = runner.build_train_loop(runner._train_loop)
            _batch(loop.dataloader, cfg.train_dataloader, preprocessor, True, built)
            runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
            _check_parameters(runner.optim_wrapper, model)
            runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
            if runner.param_schedulers is not None:
                schedulers = runner.build_param_scheduler(runner.param_schedulers)
                assert schedulers, 'a schedule that schedules nothing'
        for phase in ('val', 'test'):
            if cfg.get(f'{phase}_cfg') is not None:
                loop = getattr(runner, f'build_{phase}_loop')(getattr(runner, f'_{phase}_loop'))
                assert loop.evaluator.metrics
                _batch(loop.dataloader, cfg[f'{phase}_dataloader'], preprocessor, False, built)


_RUNNER_ARGUMENTS = {
    *(f'{phase}_{part}' for phase in PHASES for part in ('dataloader', 'cfg', 'evaluator')),
    'work_dir', 'auto_scale_lr', 'optim_wrapper', 'param_scheduler', 'default_hooks', 'custom_hooks', 'data_preprocessor',
    'env_cfg', 'log_processor', 'log_level', 'visualizer', 'default_scope', 'randomness',
}  # fmt: skip


def _batch(loader, cfg: Config, preprocessor: nn.Module, training: bool, built: set[str]) -> None:
    """The first batch of a loader, through the collate function and the preprocessor, unless an equal one has been seen."""
    assert len(loader.dataset) > 0
    known = json.dumps([cfg.dataset.to_dict(), type(preprocessor).__name__], default=str, sort_keys=True)
    if known in built:
        return
    built.add(known)
    batch = loader.collate_fn([loader.dataset[index] for index in _two_indices(loader)])
    inputs = batch['inputs'] if isinstance(batch, dict) else None
    if isinstance(inputs, list) and isinstance(inputs[0], tuple):  # test-time augmentation: a batch of each view
        views = zip(inputs, batch['data_samples'], strict=True)
        batch = [preprocessor(dict(inputs=list(images), data_samples=list(samples)), training) for images, samples in views]
    else:
        batch = preprocessor(batch, training)
    assert any(tensor.is_floating_point() for tensor in _tensors(batch)), 'nothing that a network could read'


def _two_indices(loader) -> list[int]:
    """The first and the last of the first batch, in the loader's own order; plain: a sample that raises is not replaced."""
    chosen = []
    for indices in loader.batch_sampler:
        chosen += indices if isinstance(indices, list) else [indices]
        if len(chosen) >= 2:
            break
    return [getattr(key, 'index', key) for key in (chosen[0], chosen[-1])]


def _tensors(value) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for child in children for tensor in _tensors(child)]


def _check_parameters(optim_wrapper, model: nn.Module) -> None:
    """Every parameter that is trained is in the optimiser, once."""
    groups = [parameter for group in optim_wrapper.optimizer.param_groups for parameter in group['params']]
    assert len({id(parameter) for parameter in groups}) == len(groups) > 0
    missing = {name for name, parameter in model.named_parameters() if parameter.requires_grad} - {
        name for name, parameter in model.named_parameters() if any(parameter is other for other in groups)
    }
    assert not missing, f'no optimiser moves {sorted(missing)[:5]}'


def test_trees_are_all_of_the_published_data(data_trees):
    assert {path.name for path in (data_trees / 'data').iterdir()} >= set(trees.TREES)
