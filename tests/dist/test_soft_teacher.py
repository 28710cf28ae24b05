"""Soft Teacher on two gloo processes: ranks agree after a few steps with different images, and the teacher follows on both."""

import copy

import pytest
import torch

from tests.dist.gloo import run_on_processes

pytestmark = pytest.mark.full


def _train(rank: int, world_size: int) -> dict:
    from mmengine.model import MMDistributedDataParallel
    from mmengine.registry import MODELS, DefaultScope

    import openmsra.soft_teacher  # noqa: F401 - registers the detector
    from openmsra.engine.config.files import load_config
    from openmsra.soft_teacher.data.sampler import MultiSourceSampler
    from tests.soft_teacher.conftest import CONFIG, make_batch

    torch.manual_seed(0)
    cfg = load_config(CONFIG).model
    cfg.semi_train_cfg = dict(pseudo_label_initial_score_thr=0.1, rpn_pseudo_thr=0.3, cls_pseudo_thr=0.3, reg_pseudo_thr=0.06)
    cfg.mean_teacher = dict(momentum=0.5, keep_loaded_teacher=True)
    with DefaultScope.overwrite_default_scope('openmsra'):
        model = MODELS.build(cfg).train()
    model.init_weights()
    ddp = MMDistributedDataParallel(model, broadcast_buffers=False)
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.05)
    for step in range(3):
        model.iteration = step
        inputs, samples = copy.deepcopy(make_batch(seed=10 * step + rank))
        losses = ddp(inputs, samples, mode='loss')
        optimiser.zero_grad(set_to_none=True)
        sum(sum(value) if isinstance(value, list) else value.sum() for name, value in losses.items() if 'loss' in name).backward()
        optimiser.step()
    seeds = MultiSourceSampler(_Images(), 2, (1, 1), by_aspect=False).seed
    return dict(state={name: value.numpy() for name, value in model.state_dict().items()}, seed=seeds)


class _Images:
    datasets = [range(4), range(4)]

    def __len__(self) -> int:
        return 8


def test_two_processes_train_one_network():
    first, second = run_on_processes(_train, 2)
    for name, value in first['state'].items():
        assert (value == second['state'][name]).all(), f'{name} differs between the ranks'
    key = 'roi_head.bbox_head.fc_cls.weight'
    assert (first['state'][f'teacher.{key}'] != first['state'][f'student.{key}']).any()
    assert first['seed'] == second['seed'], 'the samplers of the ranks must draw from one stream'
