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

    def run(name: str, resume_from: str | None = None):
        cfg = load_config(CONFIG)
        cfg.work_dir, cfg.launcher = str(tmp_path_factory.mktemp(name)), 'none'
        cfg.model.semi_train_cfg.burn_in_iters = 3
        cfg.train_cfg.update(max_iters=6, val_interval=100)
        cfg.default_hooks.checkpoint.update(interval=2, max_keep_ckpts=-1)
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
    assert not any('teacher' in str(group.get('name', '')) for group in first['optimizer']['param_groups'])
    moments = [state['exp_avg'] for state in first['optimizer']['state'].values()]
    assert all(torch.equal(a, b['exp_avg']) for a, b in zip(moments, second['optimizer']['state'].values(), strict=True))
