"""Mixed precision: bfloat16 on the CPU, the loss scaler's skips, and a run that only overflows."""

import platform

import pytest
import torch
from mmengine.logging import MMLogger

from openmsra.engine import non_finite
from openmsra.engine.non_finite import AmpOptimWrapper, NonFiniteLossHook, _require_scale, computes_bfloat16
from openmsra.errors import ConfigError, NonFiniteLossError
from openmsra.registry import MODELS
from tests.reliability.killing import Heavy, heavy_config
from tests.reliability.runs import build


def _wrapper(**options) -> AmpOptimWrapper:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    return AmpOptimWrapper(optimizer=torch.optim.SGD([weight], lr=1.0), **options)


def test_bfloat16_on_the_cpu_casts_and_does_not_scale():
    wrapper = _wrapper(dtype='bfloat16')
    (weight,) = wrapper.optimizer.param_groups[0]['params']
    with wrapper.optim_context(torch.nn.Linear(1, 1)):
        product = weight @ torch.ones(2, 2)
    assert product.dtype == torch.bfloat16
    wrapper.update_params(product.float().sum())
    assert weight.tolist() == [[-1, -1], [-1, -1]], 'the gradient is 2, unscaled'
    wrapper.load_state_dict({**wrapper.state_dict(), 'loss_scaler': dict(scale=2.0)})  # of a float16 run


def test_gradient_that_is_not_finite_does_not_reach_the_weights_in_bfloat16():
    wrapper = _wrapper(dtype='bfloat16', clip_grad=dict(max_norm=1.0))
    (weight,) = wrapper.optimizer.param_groups[0]['params']
    with pytest.raises(NonFiniteLossError, match='gradient'):
        wrapper.update_params(torch.sqrt(weight - 1).sum())
    assert weight.tolist() == [[1, 1], [1, 1]]


def test_float16_without_a_gpu_and_other_types_are_refused():
    with pytest.raises(ConfigError, match='needs a GPU .*--amp-dtype bfloat16'):
        _wrapper()
    with pytest.raises(ConfigError, match="valid are 'float16' and 'bfloat16'"):
        _wrapper(dtype='float8')


@pytest.mark.parametrize('computes', [True, False])
def test_a_device_that_emulates_bfloat16_is_named_with_the_way_out(computes, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(non_finite, 'computes_bfloat16', lambda device: computes)
    monkeypatch.setattr(MMLogger.get_current_instance(), 'warning', said.append)
    _wrapper(dtype='bfloat16')
    assert len(said) == (not computes)
    assert all('cpu device emulates bfloat16' in text and '--amp-dtype float32' in text for text in said)


@pytest.mark.skipif(platform.machine() != 'x86_64', reason='of processors with AVX')
def test_processors_with_avx512_compute_bfloat16():
    assert computes_bfloat16('cpu') == torch.cpu._is_avx512_supported()


@pytest.mark.parametrize('computes', [True, False])
def test_gpus_before_ampere_emulate_bfloat16(computes, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: computes or including_emulation)
    assert computes_bfloat16('cuda') == computes


@MODELS.register_module()
class Overflowing(Heavy):
    """Its loss is infinite in the ``bad`` iterations, as an activation that overflows in float16 would make it."""

    def __init__(self, bad: list[int], **kwargs) -> None:
        super().__init__(0.01, **kwargs)
        self.bad, self.iteration = bad, 0

    def forward(self, inputs, mode: str = 'loss') -> dict:
        self.iteration += 1
        self.ballast += 1
        loss = -self.count.sum()
        return dict(loss=loss * float('inf') if self.iteration in self.bad else loss)


def _overflowing(work_dir, monkeypatch, bad: list[int], scales: bool = True):
    cfg = heavy_config(work_dir, 0.01)
    cfg.resume, cfg.train_cfg.max_iters = False, 12
    cfg.model = dict(type='Overflowing', bad=bad)
    cfg.default_hooks.non_finite = dict(type='NonFiniteLossHook', max_overflows=3)
    monkeypatch.setattr('openmsra.engine.non_finite.OptimWrapper.scales', scales)
    return build(cfg)


def test_overflows_under_a_loss_scaler_are_skipped_with_their_buffers(tmp_path, monkeypatch):
    runner = _overflowing(tmp_path, monkeypatch, [1, 4, 5, 6, 9])
    before = runner.model.ballast.clone()
    runner.train()
    assert runner.model.count.item() == 7, '12 iterations, 5 of them skipped'
    torch.testing.assert_close(runner.model.ballast, before + 7)


def test_more_overflows_in_a_row_end_the_run(tmp_path, monkeypatch):
    runner = _overflowing(tmp_path, monkeypatch, [2, 3, 4, 5])
    with pytest.raises(NonFiniteLossError, match='Iteration 5: '):
        runner.train()
    assert runner.model.count.item() == 1


def test_without_a_scaler_the_first_one_ends_the_run(tmp_path, monkeypatch):
    runner = _overflowing(tmp_path, monkeypatch, [2], scales=False)
    with pytest.raises(NonFiniteLossError, match='Iteration 2: '):
        runner.train()


def test_loss_scale_that_has_collapsed_ends_the_run():
    _require_scale(2.0**-10)
    with pytest.raises(NonFiniteLossError, match='gradients overflow in float16 in every iteration'):
        _require_scale(2.0**-24)
    assert NonFiniteLossHook().max_overflows == 20
