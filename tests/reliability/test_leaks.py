"""2,000 steps of each instant config: resident memory does not grow."""

import os
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from openmsra.registry import HOOKS
from tests.dist.gloo import run_on_processes
from tests.reliability.runs import each_instant, short_config, train

STEPS, WARM_UP = 2000, 300


@HOOKS.register_module()
class WatchMemory(Hook):
    """Resident memory of this process, in bytes, every hundred iterations."""

    def __init__(self) -> None:
        self.resident: dict[int, int] = {}

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if (runner.iter + 1) % 100 == 0:
            pages = int(Path('/proc/self/statm').read_text().split()[1])
            self.resident[runner.iter + 1] = pages * os.sysconf('SC_PAGE_SIZE')


def _resident(rank: int, world_size: int, path: Path, work_dir: Path) -> dict[int, int]:
    cfg = short_config(path, work_dir, batches=4, epochs=STEPS // 4)
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='WatchMemory')]
    cfg.default_hooks.checkpoint.update(interval=500, max_keep_ckpts=1)
    runner = train(cfg)
    return next(hook for hook in runner.hooks if isinstance(hook, WatchMemory)).resident


@pytest.mark.reliability
@pytest.mark.timeout(7200)
@each_instant
def test_memory_does_not_grow(path, tmp_path):
    (resident,) = run_on_processes(_resident, 1, path, tmp_path, timeout=7000)
    after_warm_up = resident[WARM_UP]
    growth = max(resident[step] for step in resident if step > WARM_UP) / after_warm_up - 1
    print(f'{path.stem}: {after_warm_up / 2**20:.0f} MiB after {WARM_UP} steps, at most {100 * growth:+.1f} % until {STEPS}')
    assert len(resident) == STEPS // 100
    assert growth < 0.05, {step: f'{size / 2**20:.1f} MiB' for step, size in resident.items()}
