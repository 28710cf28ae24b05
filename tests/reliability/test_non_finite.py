"""A loss that is not finite on one process stops all of them in that iteration, with the weights as they were."""

import random
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from openmsra.engine.checkpoint.io import load_file
from openmsra.engine.wrappers import unwrapped
from openmsra.errors import NonFiniteLossError
from openmsra.registry import HOOKS
from tests.dist.gloo import run_on_processes
from tests.reliability.runs import build, over_tensors, short_config
from tests.test_configs import INSTANT, ROOT, _marked

AUTOFORMER = ROOT / 'configs/autoformer/autoformer_supernet_1xb32-2e_digits_instant.py'


@HOOKS.register_module()
class Poison(Hook):
    """Makes the inputs of one iteration NaN on one process, and remembers the weights from before."""

    def __init__(self, iteration: int, rank: int) -> None:
        self.iteration, self.rank, self.before = iteration, rank, {}

    def before_run(self, runner) -> None:
        model = unwrapped(runner.model)
        model.data_preprocessor.register_forward_hook(lambda module, arguments, output: self._poison(runner, output))

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if runner.iter == self.iteration:
            self.before = trained_weights(runner)

    def _poison(self, runner, output: dict) -> dict:
        if runner.iter != self.iteration or runner.rank != self.rank or not runner.model.training:
            return output
        return {
            **output,
            'inputs': over_tensors(
                output['inputs'], lambda tensor: tensor * float('nan') if tensor.is_floating_point() else tensor
            ),
        }


def trained_weights(runner) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in runner.model.named_parameters() if value.requires_grad}


def _run(rank: int, world_size: int, path: Path, work_dir: Path, iteration: int, poisoned: int, max_skips: int) -> dict:
    cfg = short_config(path, work_dir, batches=2, epochs=3)
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='Poison', iteration=iteration, rank=poisoned)]
    cfg.default_hooks.non_finite.max_skips = max_skips
    runner, error = build(cfg), None
    try:
        runner.train()
    except NonFiniteLossError as raised:
        error = str(raised)
    before = next(hook for hook in runner.hooks if isinstance(hook, Poison)).before
    now = trained_weights(runner)
    return dict(
        error=error,
        iteration=runner.iter,
        log_dir=runner.log_dir,
        changed=[
            name for name in now if torch.isnan(now[name]).any() or (max_skips == 0 and not torch.equal(now[name], before[name]))
        ],
    )


def _check_stop(answers: list[dict], iteration: int, poisoned: int) -> None:
    for answer in answers:
        assert answer['iteration'] == iteration
        assert answer['changed'] == []
        assert f'Iteration {iteration + 1}: ' in answer['error']
        assert f'is nan on process {poisoned} (samples ' in answer['error']
    saved = load_file(next(Path(answers[0]['log_dir']).glob(f'non_finite_iter{iteration + 1}_rank{poisoned}.pth')))
    assert saved['iter'] == iteration + 1
    assert len(saved['samples']) == len(saved['indices']) > 0
    assert saved['batch']['inputs'] is not None


def test_all_processes_stop_in_the_iteration(tmp_path):
    iteration, poisoned = 4, 1
    _check_stop(run_on_processes(_run, 2, AUTOFORMER, tmp_path / 'run', iteration, poisoned, 0), iteration, poisoned)


@pytest.mark.reliability
@pytest.mark.parametrize('path', _marked(INSTANT))
def test_every_paper_stops_on_all_processes(path, tmp_path):
    rng = random.Random(path.stem)
    iteration, poisoned = rng.randrange(6), rng.randrange(2)
    answers = run_on_processes(_run, 2, path, tmp_path / 'run', iteration, poisoned, 0, timeout=280)
    _check_stop(answers, iteration, poisoned)


@pytest.mark.reliability
@pytest.mark.parametrize('path', _marked(INSTANT))
def test_one_process_stops(path, tmp_path):
    iteration = random.Random(path.stem).randrange(3)
    _check_stop([_run(0, 1, path, tmp_path / path.stem, iteration, 0, 0)], iteration, 0)


def test_batches_are_skipped_up_to_a_number(tmp_path):
    answer = _run(0, 1, AUTOFORMER, tmp_path / 'skips', 2, 0, 1)
    assert answer['error'] is None
    assert answer['iteration'] == 6
    assert answer['changed'] == []


def test_gradient_that_is_not_finite_does_not_reach_the_weights():
    from openmsra.engine.non_finite import OptimWrapper

    weight = torch.nn.Parameter(torch.zeros(2))
    wrapper = OptimWrapper(optimizer=torch.optim.SGD([weight], lr=1.0), clip_grad=dict(max_norm=1.0))
    with pytest.raises(NonFiniteLossError, match='gradient'):
        wrapper.update_params(torch.sqrt(weight).sum())  # 0 with an infinite slope
    assert weight.tolist() == [0, 0]
    wrapper.zero_grad()
    wrapper.update_params(weight.sum())
    assert weight.abs().sum() > 0


@pytest.mark.parametrize('parts', [1, 2])
@pytest.mark.parametrize('clip_grad', [None, dict(max_norm=1.0)])
def test_loss_that_is_not_finite_does_not_reach_the_weights_though_its_gradient_is(clip_grad, parts):
    """With clipping the loss is looked at together with the norm of the gradients, behind the backward pass."""
    from openmsra.engine.non_finite import OptimWrapper

    weight = torch.nn.Parameter(torch.ones(2))
    wrapper = OptimWrapper(torch.optim.SGD([weight], lr=1.0, momentum=0.9), accumulative_counts=parts, clip_grad=clip_grad)
    for part in range(parts - 1):
        wrapper.update_params(weight.sum() * part)
    with pytest.raises(NonFiniteLossError, match='The loss is not finite'):
        wrapper.update_params(weight.sum() + torch.inf)
    assert weight.tolist() == [1, 1] and weight.grad is None
    for _ in range(parts):
        wrapper.update_params(weight.sum())
    assert weight.tolist() == pytest.approx([1 - (0.5**0.5 if clip_grad else 1)] * 2, abs=1e-6)
