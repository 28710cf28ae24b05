"""A resumed run ends where the uninterrupted one does, to the last bit: weights, optimizer, EMA, queue, schedules and logs."""

import copy
import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from openmsra.apis import init_model
from openmsra.engine.checkpoint.io import load_file
from openmsra.engine.config.files import load_config
from openmsra.engine.data.loader import KeyedBatches, Position
from openmsra.engine.data.samplers import InfiniteSampler
from openmsra.registry import HOOKS
from tests.dist.gloo import run_on_processes
from tests.reliability.runs import differences, each_instant, final_state, short_config, train
from tests.test_configs import INSTANT

BATCHES = 2  # of an epoch; 2 epochs
AUTOFORMER = next(path for path in INSTANT if path.parent.name == 'autoformer')


@each_instant
def test_resumed_inside_an_epoch_with_another_number_of_workers(path, tmp_path):
    train(short_config(path, tmp_path / 'whole', batches=2))
    train(short_config(path, tmp_path / 'resumed', batches=2, workers=2), resume=tmp_path / 'whole/iter_1.pth')
    assert not differences(final_state(tmp_path / 'whole'), final_state(tmp_path / 'resumed'))


def _resumed_runs(rank: int, world_size: int, path: Path, folder: Path, workers: int) -> list[str]:
    """Differences between a run and its continuations inside an epoch, at its end, and in the next."""
    train(short_config(path, folder / 'whole', BATCHES, workers=workers))
    expected, found = final_state(folder / 'whole'), []
    for done in (1, 2, 3):
        cfg = short_config(path, folder / f'after_{done}', BATCHES, workers=workers)
        train(cfg, resume=folder / f'whole/iter_{done}.pth')
        found += [f'after {done}: {fault}' for fault in differences(expected, final_state(folder / f'after_{done}'))]
    return found


def _accumulating_runs(rank: int, world_size: int, folder: Path) -> list[str]:
    """Differences between a run that accumulates gradients under OneCycleLR and its continuation inside a batch."""
    for name, resume in (('whole', None), ('resumed', folder / 'whole/iter_1.pth')):
        cfg = short_config(AUTOFORMER, folder / name, BATCHES)
        cfg.optim_wrapper.accumulative_counts = 2
        cfg.param_scheduler = [dict(type='OneCycleLR', eta_max=1e-3, total_steps=2 * BATCHES + 1, by_epoch=False)]
        train(cfg, resume=resume)
    return differences(final_state(folder / 'whole'), final_state(folder / 'resumed'))


@pytest.mark.parametrize('world_size', [1, pytest.param(2, marks=pytest.mark.reliability)])
def test_resumed_inside_an_accumulated_batch(world_size, tmp_path):
    found = [_accumulating_runs(0, 1, tmp_path)] if world_size == 1 else run_on_processes(_accumulating_runs, 2, tmp_path)
    assert found == [[]] * world_size
    progress = load_file(tmp_path / 'whole/iter_1.pth')['progress']
    assert max(gradient.abs().max() for gradient in progress['gradients'].values()) > 0
    assert not load_file(tmp_path / 'whole/iter_2.pth')['progress']['gradients']
    init_model(next((tmp_path / 'whole').glob('*.py')))  # the config of the work dir is one that can be used again


@pytest.mark.reliability
@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('world_size', [1, 2])
@each_instant
def test_resumed_anywhere(path, world_size, workers, tmp_path):
    for found in run_on_processes(_resumed_runs, world_size, path, tmp_path, workers, timeout=1200):
        assert not found


@pytest.mark.reliability
@each_instant
def test_same_seed_gives_the_same_log_and_another_seed_does_not(path, tmp_path):
    for name, seed in (('first', 0), ('second', 0), ('other', 1)):
        cfg = short_config(path, tmp_path / name, BATCHES, epochs=1)
        cfg.randomness.seed = seed
        train(cfg)
    first, second, other = (final_state(tmp_path / name) for name in ('first', 'second', 'other'))
    assert not differences(first, second)
    assert differences(first['logs'], other['logs'])


@HOOKS.register_module()
class DrawInValidation(Hook):
    """Random numbers that only a validation draws."""

    def after_val_epoch(self, runner, metrics=None) -> None:
        torch.rand(3), random.random(), np.random.rand()


def test_training_does_not_depend_on_validations(tmp_path):
    for name, interval in (('often', 1), ('once', 2)):
        cfg = short_config(AUTOFORMER, tmp_path / name, batches=2)
        whole = load_config(AUTOFORMER)
        cfg.val_dataloader, cfg.val_cfg, cfg.val_evaluator = whole.val_dataloader, whole.val_cfg, whole.val_evaluator
        cfg.train_cfg.val_interval = interval
        cfg.custom_hooks = [dict(type='DrawInValidation')]
        train(cfg)
    states = [final_state(tmp_path / name) for name in ('often', 'once')]
    assert not differences(*({key: state[key] for key in ('weights', 'optimizer', 'progress')} for state in states))


@pytest.mark.parametrize(
    ('size', 'world_size', 'skipped'), [(10, 1, 0), (10, 1, 7), (10, 3, 4), (7, 2, 29), (3, 4, 5), (1, 2, 9)]
)
def test_skipped_sampler_goes_on_as_it_would_have(size, world_size, skipped):
    def draw(rank: int, start: int, count: int) -> list[int]:
        sampler = InfiniteSampler(range(size), seed=3)
        sampler.rank, sampler.world_size = rank, world_size
        sampler.skip(start)
        return [index for index, _ in zip(sampler, range(count))]

    for rank in range(world_size):
        assert draw(rank, 0, skipped + 40)[skipped:] == draw(rank, skipped, 40)
    streams = [draw(rank, 0, 3 * size) for rank in range(world_size)]
    merged = [index for step in zip(*streams) for index in step]
    assert all(sorted(merged[i : i + size]) == list(range(size)) for i in range(0, len(merged) - size + 1, size))


def test_start_at_iteration_100000_takes_no_time():
    sampler = InfiniteSampler(range(118_000), seed=0)
    batches = KeyedBatches(torch.utils.data.BatchSampler(sampler, 64, False), sampler, seed=0, keep=2)
    batches.start = Position(0, 100_000)
    start = time.perf_counter()
    batch = next(iter(batches))
    assert time.perf_counter() - start < 1
    assert batch[0].place == (0, 0, 6_400_000)


@HOOKS.register_module()
class StartWatch(Hook):
    """Seconds from a loaded checkpoint to the first batch that comes out of the data loader."""

    def after_load_checkpoint(self, runner, checkpoint) -> None:
        self.loaded = time.perf_counter()

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.seconds, self.iteration = time.perf_counter() - self.loaded, runner.iter


@pytest.mark.reliability
@each_instant
def test_resume_at_iteration_100000(path, tmp_path):
    cfg = short_config(path, tmp_path / 'start', BATCHES, epochs=1)
    whole = train(copy.deepcopy(cfg)).iter
    late = load_file(tmp_path / f'start/iter_{whole}.pth')
    by_epoch = 'max_epochs' in cfg.train_cfg
    epoch = 100_000 // BATCHES if by_epoch else 0
    late['meta'] |= dict(iter=100_000, epoch=epoch)
    late['progress']['position'] = (epoch, 0 if by_epoch else 100_000)
    torch.save(late, tmp_path / 'late.pth')
    cfg.train_cfg.update(max_epochs=epoch + 1) if by_epoch else cfg.train_cfg.update(max_iters=100_001)
    cfg.work_dir, cfg.custom_hooks = str(tmp_path / 'late'), [*cfg.get('custom_hooks', []), dict(type='StartWatch')]
    cfg.default_hooks.checkpoint.interval = 10
    watch = next(hook for hook in train(cfg, resume=tmp_path / 'late.pth').hooks if isinstance(hook, StartWatch))
    print(f'{path.stem}: {watch.seconds:.2f} s')
    assert watch.iteration >= 100_000 and watch.seconds < 1
