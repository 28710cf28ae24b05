"""A run that is interrupted ends with the bits of one that is not: weights, teacher, optimiser, sampler."""

import pytest
import torch

from openmsra.engine.checkpoint.io import load_file
from openmsra.engine.config.files import load_config
from openmsra.engine.launch import build_runner
from tests.soft_teacher.conftest import CONFIG


@pytest.fixture(scope='module')
def train(tmp_path_factory):
    """Train the instant config for six iterations, the burn-in ends after three; returns the work dir."""

    def run(name: str, resume_from: str | None = None, custom_hooks: list | None = None):
        cfg = load_config(CONFIG)
        cfg.work_dir, cfg.launcher = str(tmp_path_factory.mktemp(name)), 'none'
        cfg.model.semi_train_cfg.burn_in_iters = 3
        cfg.train_cfg.update(max_iters=6, val_interval=100)
        cfg.default_hooks.checkpoint.update(interval=2, max_keep_ckpts=-1)
        if custom_hooks is not None:
            cfg.custom_hooks = custom_hooks
        cfg.load_from, cfg.resume = resume_from, resume_from is not None
        build_runner(cfg).train()
        return cfg.work_dir

    return run


def test_resumed_run_is_the_same_run(train):
    whole = train('whole')
    resumed = train('resumed', f'{whole}/iter_2.pth')
    first, second = (load_file(f'{folder}/iter_6.pth') for folder in (whole, resumed))
    start = load_file(f'{whole}/iter_2.pth')
    key = 'student.roi_head.bbox_head.fc_cls.weight'
    assert not torch.equal(start['state_dict'][key], first['state_dict'][key])
    for name, value in first['state_dict'].items():
        assert torch.equal(value, second['state_dict'][name]), name
    moved = len(first['optimizer']['state'])  # mmengine lists the teacher too, but it has no gradient and no moments
    assert moved == sum(name.startswith('student.') for name in first['state_dict']), 'the optimiser moves the student alone'
    moments = [state['exp_avg'] for state in first['optimizer']['state'].values()]
    assert all(torch.equal(a, b['exp_avg']) for a, b in zip(moments, second['optimizer']['state'].values(), strict=True))


def test_custom_hooks_cannot_take_the_method_away(train):
    """A child config replaces the list of hooks: the teacher moves and the burn-in ends all the same."""
    usual, bare = (load_file(f'{train(name, custom_hooks=hooks)}/iter_6.pth') for name, hooks in (('usual', None), ('bare', [])))
    for name, value in usual['state_dict'].items():
        assert torch.equal(value, bare['state_dict'][name]), name
    key = 'roi_head.bbox_head.fc_cls.weight'
    assert not torch.equal(bare['state_dict'][f'teacher.{key}'], bare['state_dict'][f'student.{key}'])
    logged = bare['message_hub']['log_scalars']
    assert logged['train/ema_momentum']['values'].tolist() == pytest.approx([0, 1 / 2, 2 / 3, 0, 1 / 2, 2 / 3])
    assert len(logged['train/unsup_loss_cls']['values']) == 3, 'the burn-in of three iterations has ended'
