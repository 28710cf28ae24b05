"""Short trainings of the instant configs in this process, with augmentation, dropout and every generator in use."""

import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from torch.nn import functional

from openmsra.engine.checkpoint.io import load_file
from openmsra.engine.config.files import load_config
from openmsra.engine.runner import OpenMSRARunner
from openmsra.engine.wrappers import unwrapped
from openmsra.registry import HOOKS, TRANSFORMS
from tests.test_configs import INSTANT, _marked

TIMES = ('time', 'data_time', 'eta', 'memory')
each_instant = pytest.mark.parametrize('path', _marked(INSTANT))


@TRANSFORMS.register_module()
class Jitter:
    """Random augmentation that draws from the generators of Python, numpy and torch."""

    def __call__(self, results: dict) -> dict:
        key = 'inputs' if 'inputs' in results else 'imgs'  # clips are packed behind the pipeline
        results[key] = over_tensors(results[key], self.change)
        return results

    @staticmethod
    def change(values: torch.Tensor | np.ndarray) -> torch.Tensor | np.ndarray:
        factor = 0.9 + 0.05 * (random.random() + np.random.rand() + torch.rand(()).item())
        changed = values * factor
        return changed.to(values.dtype) if isinstance(values, torch.Tensor) else changed.astype(values.dtype)


@HOOKS.register_module()
class DropInputs(Hook):
    """Dropout behind the data preprocessor, and noise of the other generators: random numbers of the training process."""

    def before_run(self, runner) -> None:
        model = unwrapped(runner.model)
        model.data_preprocessor.register_forward_hook(self._drop)

    @staticmethod
    def _drop(module, arguments, output):
        noise = 1 + 0.01 * (random.random() + np.random.rand())
        return {
            **output,
            'inputs': over_tensors(
                output['inputs'], lambda tensor: functional.dropout(tensor * noise, 0.1) if tensor.is_floating_point() else tensor
            ),
        }


def over_tensors(value, change):
    """``change`` applied to all tensors and arrays in nested containers."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return change(value)
    if isinstance(value, dict):
        return {key: over_tensors(item, change) for key, item in value.items()}
    return type(value)(over_tensors(item, change) for item in value) if isinstance(value, list | tuple) else value


def short_config(path: Path, work_dir: Path, batches: int = 4, epochs: int = 2, workers: int = 0) -> Config:
    """An instant config of some batches an epoch, without validation, with random numbers everywhere."""
    cfg = load_config(path)
    cfg.work_dir, cfg.launcher, cfg.experiment_name = str(work_dir), 'none', work_dir.name + uuid.uuid4().hex
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    cfg.train_dataloader.num_workers = workers
    for pipeline in pipelines(cfg.train_dataloader.dataset):
        pipeline.append(dict(type='Jitter'))
    if 'max_epochs' in cfg.train_cfg:
        cfg.train_cfg.max_epochs, cfg.train_dataloader.num_batch_per_epoch = epochs, batches
    else:
        cfg.train_cfg.max_iters = batches * epochs + 2  # Soft Teacher's burn-in ends after 4
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='DropInputs')]
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=1, max_keep_ckpts=-1)
    cfg.default_hooks.checkpoint.pop('save_best', None)
    cfg.default_hooks.logger.interval = 1
    cfg.visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    cfg.log_level = 'WARNING'
    return cfg


def pipelines(dataset) -> Iterator[list]:
    """All pipelines of a data set's config and its parts."""
    if isinstance(dataset, dict):
        if isinstance(dataset.get('pipeline'), list):
            yield dataset['pipeline']
        for value in dataset.values():
            yield from pipelines(value) if isinstance(value, dict) else ()
            for item in value if isinstance(value, list) else ():
                yield from pipelines(item) if 'dataset' in item or 'pipeline' in item else ()


def build(cfg: Config) -> OpenMSRARunner:
    """The runner of this process, which may be one of several."""
    if torch.distributed.is_initialized():
        cfg.launcher = 'pytorch'
    return OpenMSRARunner.from_cfg(cfg)


def train(cfg: Config, resume: Path | None = None) -> OpenMSRARunner:
    """Train, or go on from a checkpoint."""
    if resume is not None:
        cfg.resume, cfg.load_from = True, str(resume)
    runner = build(cfg)
    runner.train()
    return runner


def final_state(work_dir: Path) -> dict:
    """What the last checkpoint holds of a run: everything but times and names of files."""
    checkpoint = load_file((work_dir / 'last_checkpoint').read_text())
    hub = checkpoint['message_hub']['log_scalars']
    return dict(
        weights=checkpoint['state_dict'],
        optimizer=checkpoint['optimizer'],
        schedules=checkpoint.get('param_schedulers'),
        progress=checkpoint['progress'],
        iter=checkpoint['meta']['iter'],
        logs={key: value for key, value in hub.items() if not key.endswith(TIMES)},
    )


def differences(first, second, place: str = '') -> list[str]:
    """Where two nested structures are not equal to the last bit."""
    if isinstance(first, torch.Tensor):
        return [] if torch.equal(first, second) else [f'{place}: {(first.double() - second.double()).abs().max():.3g}']
    if isinstance(first, dict):
        if first.keys() != second.keys():
            return [f'{place}: keys {first.keys() ^ second.keys()}']
        return [fault for key in first for fault in differences(first[key], second[key], f'{place}/{key}')]
    if isinstance(first, list | tuple):
        if len(first) != len(second):
            return [f'{place}: lengths {len(first)} and {len(second)}']
        return [fault for i, pair in enumerate(zip(first, second)) for fault in differences(*pair, f'{place}/{i}')]
    return [] if first == second else [f'{place}: {first!r} and {second!r}']
