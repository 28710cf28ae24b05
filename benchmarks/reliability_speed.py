"""What survival costs: training steps of instant configs under our runner, loops, loader and hooks, and under mmengine's own.

Both sides train the same model on the same data in this process, in turn, with data loading and logging and without validation;
a step is the time from the end of one iteration to the end of the next, as CPU time of this one process and thread, which does
all the work, so that other processes do not count. Both sides see the same augmentations (an image that happens to be jittered
costs more than all that is measured here): the other side's samples are seeded too, off the clock. What a generator needs for its
first number after a seed is then on both clocks; it is measured by itself and added. Target: at most 2 % or 2 ms more.
"""

import random
import time
import timeit
import uuid
from tempfile import TemporaryDirectory

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from openmsra.engine import rng
from openmsra.engine.config.files import load_config
from openmsra.engine.runner import OpenMSRARunner

CONFIGS = ('autoformer/autoformer_supernet_1xb32-2e_digits_instant', 'maskco/maskco_r18-tiny_1xb32-2e_digits_instant')
STEPS = 15


class Clock(Hook):
    """Seconds from the end of one iteration to the end of the next."""

    priority = 'LOWEST'

    def __init__(self, ours: bool) -> None:
        self.ours = ours
        self.ends: list[float] = []
        self.off = 0.0  # seconds that do not count

    def before_train(self, runner) -> None:
        if not self.ours:
            loader = runner.train_dataloader
            runner.train_loop.dataloader = DataLoader(
                SameSamples(loader.dataset, runner.seed, self),
                loader.batch_size,
                sampler=loader.sampler,
                collate_fn=loader.collate_fn,
            )

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self.ends.append(time.process_time() - self.off)


class SameSamples(Dataset):
    """Samples with the random numbers that our loader would give them in the first epoch; the seeding is off the clock."""

    def __init__(self, dataset: Dataset, seed: int, clock: Clock) -> None:
        self.dataset, self.seed, self.clock, self.place = dataset, seed, clock, 0

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        start = time.process_time()
        rng.seed_sample(self.seed, 0, self.place, index)
        self.place += 1
        self.clock.off += time.process_time() - start
        return self.dataset[index]


def first_numbers_ms(samples: int) -> float:
    """Milliseconds that the generators need more for the first number after a seed than for others."""

    def draw() -> None:
        random.random(), np.random.rand(), torch.rand(())

    def microseconds(statement) -> float:
        return min(timeit.repeat(statement, number=1000, repeat=7)) * 1e3

    seeded = microseconds(lambda: (rng.seed_sample(0, 0, 0, 0), draw()))
    return samples * (seeded - microseconds(lambda: rng.seed_sample(0, 0, 0, 0)) - microseconds(draw)) / 1e3


def run(repeats: int, device: torch.device) -> dict[str, dict]:
    """One row for each config: milliseconds of a step on both sides and their difference (10th percentiles, and medians)."""
    if device.type != 'cpu':
        raise SystemExit('reliability: the instant configs are timed on the CPU.')
    rows = {}
    for name in CONFIGS:
        times: dict[str, list[float]] = dict(ours=[], stock=[])
        for repeat in range(repeats):
            for side in times:
                times[side] += _steps(name, side == 'ours', repeat)
        first = first_numbers_ms(load_config(f'configs/{name}.py').train_dataloader.batch_size)
        times['ours'] = [value + first / 1e3 for value in times['ours']]
        fast = {side: 1e3 * float(np.percentile(values, 10)) for side, values in times.items()}
        middle = {side: 1e3 * float(np.median(values)) for side, values in times.items()}
        rows[name.rpartition('/')[2]] = dict(
            ours_ms=fast['ours'],
            stock_ms=fast['stock'],
            more_ms=fast['ours'] - fast['stock'],
            ratio=fast['ours'] / fast['stock'],
            median_ratio=middle['ours'] / middle['stock'],
            target_ms=2.0,
            target_ratio=1.02,
        )
    return rows


def _steps(name: str, ours: bool, seed: int = 0) -> list[float]:
    with TemporaryDirectory() as folder:
        cfg = load_config(f'configs/{name}.py')
        cfg.work_dir, cfg.launcher, cfg.experiment_name, cfg.log_level = folder, 'none', uuid.uuid4().hex, 'ERROR'
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
        cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
        cfg.train_dataloader.num_batch_per_epoch, cfg.train_cfg.max_epochs = STEPS, 1
        if not ours:
            cfg.default_hooks.checkpoint.type = 'CheckpointHook'
            cfg.default_hooks.pop('non_finite')
            cfg.default_hooks.pop('broken_data')
            cfg.optim_wrapper.type = 'mmengine.OptimWrapper'
        cfg.randomness.seed = seed
        runner = (OpenMSRARunner if ours else Runner).from_cfg(cfg)
        clock = Clock(ours)
        runner.register_hook(clock)
        runner.train()
    return np.diff(clock.ends)[2:].tolist()
