"""Training draws its architectures itself: whatever the config leaves out, on all processes, and in a recomputation."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from mmpretrain.structures import DataSample

from openmsra.autoformer import AutoFormerSupernet, SearchSpace, arch_rng
from openmsra.engine.config.files import load_config
from openmsra.engine.launch import build_runner
from openmsra.registry import HOOKS
from tests.autoformer.test_supernet import IMAGES, SETTINGS, _net
from tests.dist.gloo import run_on_processes

INSTANT = 'configs/autoformer/autoformer_supernet_1xb32-2e_digits_instant.py'
STEPS = 4


@HOOKS.register_module()
class WatchArchitectures(Hook):
    """What a child config puts into ``custom_hooks``, in place of all that its base had there."""

    def __init__(self) -> None:
        self.trained: list[dict] = []
        self.noise: list[float] = []

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        model = getattr(runner.model, 'module', runner.model)
        self.trained.append(model.get_subnet())
        self.noise.append(torch.rand(()).item())


def _train(work_dir, **options) -> WatchArchitectures:
    cfg = load_config(INSTANT, {'train_dataloader.num_batch_per_epoch': STEPS // 2, **options})
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.custom_hooks = [dict(type='WatchArchitectures')]
    cfg.visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    cfg.work_dir, cfg.launcher, cfg.log_level = str(work_dir), 'none', 'WARNING'
    runner = build_runner(cfg)
    runner.train()
    return next(hook for hook in runner.hooks if isinstance(hook, WatchArchitectures))


def test_a_config_with_hooks_of_its_own_trains_the_drawn_architectures(tmp_path):
    watch = _train(tmp_path, **{'randomness.seed': 5})
    space = SearchSpace.from_config(load_config(INSTANT).model.space.to_dict())
    expected = [space.sample(arch_rng(5, i)) for i in range(STEPS)]
    assert watch.trained == expected


def _watched_rank(rank: int, world_size: int, folder) -> tuple[list, list]:
    watch = _train(folder, **{'randomness.diff_rank_seed': True})
    return watch.trained, watch.noise


def test_processes_with_seeds_of_their_own_train_the_same_architectures(tmp_path):
    (first, noise), (second, other_noise) = run_on_processes(_watched_rank, 2, tmp_path)
    assert first == second and len(first) == STEPS
    assert noise != other_noise, 'the seeds of the processes did not differ: the test shows nothing'


def test_training_that_nobody_numbers_draws_too(tmp_path, monkeypatch):
    watch = _train(tmp_path, **{'default_hooks.runtime_info': None})
    assert len({str(arch) for arch in watch.trained}) == STEPS
    for hub in ({}, {'ended': _hub_that_stands_still()}):
        monkeypatch.setattr(MessageHub, '_instance_dict', hub)
        trained = _trained_outside_of_a_run()
        assert len({str(arch) for arch in trained}) > 4
        assert trained == _trained_outside_of_a_run(), 'processes would part'


def _hub_that_stands_still() -> MessageHub:
    hub = MessageHub('ended')
    hub.update_info_dict(dict(seed=0, iter=7))
    return hub


def _trained_outside_of_a_run() -> list[dict]:
    net, samples, trained = _net().train(), [DataSample().set_gt_label(label) for label in (0, 1, 2)], []
    for _ in range(8):
        net(IMAGES, samples, mode='loss')
        trained.append(net.get_subnet())
    return trained


def test_a_draw_of_the_caller_serves_one_step():
    net, samples = _net().train(), [DataSample().set_gt_label(label) for label in (0, 1, 2)]
    for iteration in (3, 4):
        net.sample_subnets(seed=9, iteration=iteration)
        net(IMAGES, samples, mode='loss')
        assert net.get_subnet() == net.space.sample(arch_rng(9, iteration))
    net(IMAGES, samples, mode='loss')
    assert net.get_subnet() != net.space.sample(arch_rng(9, 4))


def _gradients(modules: list[str], **changes) -> tuple[dict[str, torch.Tensor], float]:
    net = _net(drop_rate=0.2, drop_path_rate=0.3, **changes).train()
    turn_on_activation_checkpointing(net, modules)
    net.sample_subnets(seed=3, iteration=7)
    samples = [DataSample().set_gt_label(label) for label in (0, 1, 2)]
    torch.manual_seed(0)
    loss = sum(net(IMAGES, samples, mode='loss').values())
    loss.backward()
    return {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}, loss.item()


@pytest.mark.parametrize(
    'modules',
    [['blocks.0', 'blocks.1', 'blocks.2'], ['blocks.0.attn', 'blocks.1.mlp', 'blocks.2.norm1'], ['patch_embed', 'head']],
    ids=str,
)
@pytest.mark.parametrize('sandwich', [None, dict(num_random=2)], ids=['single', 'sandwich'])
@pytest.mark.filterwarnings('ignore:None of the inputs have requires_grad')
def test_checkpointed_activations_give_the_same_gradients(modules, sandwich):
    expected, loss = _gradients([], sandwich=sandwich)
    gradients, same_loss = _gradients(modules, sandwich=sandwich)
    assert same_loss == pytest.approx(loss, rel=1e-6)  # without gradients another kernel computes the attention
    assert len(expected) > 40
    if modules != ['patch_embed', 'head']:  # reentrant: images need no gradient, so that of the patch embedding is lost
        assert set(gradients) == set(expected)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


def test_settings_of_the_tests_use_dropout_and_slices():
    """Of the test above: the architectures differ, and dropout depends on their width."""
    net = AutoFormerSupernet(**{**SETTINGS, 'sandwich': dict(num_random=2)})
    net.sample_subnets(seed=3, iteration=7)
    widths = {arch['embed_dim'] for arch in net._sampled.values()}
    assert len(widths) > 1
