"""A training that does little but save, to be killed: forked from a warm process, so that a hundred deaths take a minute."""

import multiprocessing
import os
import random
import signal
import time
import uuid
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.model import BaseModel
from torch.utils.data import Dataset

from openmsra.compat import bridge_torchvision
from openmsra.engine.checkpoint.hook import newest_whole
from openmsra.engine.checkpoint.io import load_file
from openmsra.engine.launch import build_runner
from openmsra.errors import DamagedCheckpointError
from openmsra.registry import DATASETS, MODELS

bridge_torchvision()  # mmengine imports torchvision to log its version


@DATASETS.register_module()
class Ones(Dataset):
    """Sixteen ones."""

    def __init__(self, count: int = 16) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=torch.ones(1))


@MODELS.register_module()
class Heavy(BaseModel):
    """One weight that counts iterations, and ``mebibytes`` that make checkpoints slow to write."""

    def __init__(self, mebibytes: float, data_preprocessor: dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.count = torch.nn.Parameter(torch.zeros(1))
        self.register_buffer('ballast', torch.rand(int(mebibytes * 2**18)))

    def forward(self, inputs, mode: str = 'loss') -> dict | list:
        return dict(loss=-self.count.sum()) if mode == 'loss' else list(inputs)  # SGD with rate 1 adds 1 each iteration


def heavy_config(work_dir: Path, mebibytes: float, hook: str = 'DurableCheckpointHook', **checkpoint) -> Config:
    return Config(
        dict(
            model=dict(type='Heavy', mebibytes=mebibytes),
            work_dir=str(work_dir),
            default_scope='openmsra',
            experiment_name=uuid.uuid4().hex,
            log_level='CRITICAL',
            resume=True,
            load_from=None,
            launcher='none',
            train_dataloader=dict(
                batch_size=4, num_workers=0, dataset=dict(type='Ones'), sampler=dict(type='InfiniteSampler', shuffle=True)
            ),
            train_cfg=dict(by_epoch=False, max_iters=10**6),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)),
            default_hooks=dict(
                checkpoint=dict(type=hook, by_epoch=False, interval=1, **{'max_keep_ckpts': 1, **checkpoint}),
                logger=dict(type='LoggerHook', interval=10**6),
            ),
            visualizer=dict(type='Visualizer', vis_backends=[]),
            randomness=dict(seed=0),
        )
    )


def _train(cfg: Config, done) -> None:
    """Train for ever; ``done`` holds whether a checkpoint is being saved, and the last iteration whose checkpoint counts.

    One counts when the hook has finished: the file is whole and the pointer names it. A failed write leaves ``last_ckpt`` alone.
    """
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    runner = build_runner(cfg)
    hook = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    original = hook._save_checkpoint_with_step

    def save(runner, step: int, meta: dict) -> None:
        done[0] = 1  # inside
        original(runner, step, meta)
        if hook.last_ckpt and Path(hook.last_ckpt).name == hook.filename_tmpl.format(step):
            done[1] = step
        done[0] = 0

    hook._save_checkpoint_with_step = save
    runner.train()


def kill_once(cfg: Config, rng: random.Random, seconds: float, inside: bool = True) -> int:
    """Start a training, kill it at a random moment (while it saves, with ``inside``); returns the last iteration that counts."""
    context = multiprocessing.get_context('fork')
    done = context.Array('q', 2, lock=False)
    process = context.Process(target=_train, args=(cfg, done), daemon=True)
    process.start()
    deadline = time.monotonic() + 60
    while not done[1] and not done[0] and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(rng.random() * seconds)
    while inside and not done[0] and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.0001)
    time.sleep(rng.random() * 0.01)
    assert process.is_alive(), 'the training ended by itself'
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return done[1]


def newest_iteration(work_dir: Path) -> int:
    """The iteration that a resume would go on from, 0 if there is none; what the file counts must agree."""
    loaded: dict = {}
    try:
        newest_whole(work_dir, lambda path: loaded.update(load_file(path)), lambda message: None)
    except DamagedCheckpointError:
        return 0
    if loaded:
        assert loaded['state_dict']['count'].item() == loaded['meta']['iter']
    return loaded['meta']['iter'] if loaded else 0
