"""Options of the wrapper that distributes a model: passed through, checked, and without an influence on the result."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

from openmsra.apis import init_model
from openmsra.engine.config.check import check_config
from openmsra.engine.runner import OpenMSRARunner
from openmsra.errors import ConfigError
from tests.dist.gloo import run_on_processes
from tests.reliability.runs import build, differences, final_state, short_config
from tests.test_configs import INSTANT

CKDN = next(path for path in INSTANT if path.parent.name == 'ckdn')
FTCN = next(path for path in INSTANT if path.parent.name == 'ftcn')
MASKCO = next(path for path in INSTANT if path.parent.name == 'maskco')
AUTOFORMER = next(path for path in INSTANT if path.parent.name == 'autoformer')
REFUSED = ('autoformer', 'mcn', 'soft_teacher')  # torch.compile does not help them
# gradients are added up bucket by bucket: on two processes their sum is the same in any order
OPTIONS = dict(static_graph=True, bucket_cap_mb=1, gradient_as_bucket_view=True)


def _trained(rank: int, world_size: int, folder: Path) -> tuple[list[str], dict]:
    states = []
    for name, options in (('plain', None), ('options', OPTIONS)):
        cfg = short_config(FTCN, folder / name, batches=2)
        cfg.model_wrapper_cfg = options
        runner = build(cfg)
        runner.train()
        states.append(final_state(folder / name))
    wrapper = runner.model
    facts = dict(type=type(wrapper).__name__, static=wrapper.static_graph, view=wrapper.gradient_as_bucket_view)
    facts |= dict(megabytes=wrapper.bucket_bytes_cap / 2**20, buffers=wrapper.broadcast_buffers, devices=wrapper.device_ids)
    return differences(*states), facts


@pytest.mark.reliability
def test_options_of_the_wrapper_reach_it_and_change_no_result(tmp_path):
    for different, facts in run_on_processes(_trained, 2, tmp_path, timeout=200):
        expected = dict(type='MMDistributedDataParallel', static=True, view=True, megabytes=1, buffers=False, devices=None)
        assert facts == expected
        assert different == []


def _wrap(model: nn.Module, options: dict, monkeypatch) -> dict:
    """What mmengine would be asked for on several GPUs."""
    seen = {}
    monkeypatch.setattr('openmsra.engine.runner.Runner.wrap_model', lambda self, cfg, model: seen.update(cfg))
    monkeypatch.setattr('openmsra.engine.runner.torch.cuda.is_available', lambda: True)
    runner = OpenMSRARunner.__new__(OpenMSRARunner)
    runner._distributed, runner.cfg = True, Config(dict(find_unused_parameters=True))
    runner.wrap_model(options, model)
    return seen


def test_options_add_to_the_usual_ones_on_gpus_too(monkeypatch):
    """mmengine takes either its own or the config's; broadcast_buffers would be torch's, find_unused_parameters unread."""
    usual = dict(type='MMDistributedDataParallel', broadcast_buffers=False, find_unused_parameters=True, static_graph=True)
    assert _wrap(nn.Linear(1, 1), dict(static_graph=True), monkeypatch) == usual


def test_static_graph_is_refused_where_the_graph_changes(monkeypatch):
    with pytest.raises(ConfigError, match='static_graph: AutoFormerSupernet does not use the same parameters in all iterations'):
        _wrap(init_model(AUTOFORMER), dict(static_graph=True), monkeypatch)


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(model_wrapper_cfg=dict(static_grap=True)), "model_wrapper_cfg .*'static_grap'. Did you mean static_graph"),
        (dict(compile=dict(full_graph=True)), "compile: nothing reads the key 'full_graph'. Did you mean fullgraph"),
        (dict(runner_type='FlexibleRunner'), "runner_type='FlexibleRunner': training with divided weights .* not supported"),
        (dict(strategy=dict(type='FSDPStrategy')), 'strategy: training with divided weights .*accumulative_counts'),
        (
            dict(model_wrapper_cfg=dict(type='MMFullyShardedDataParallel')),
            "type='MMFullySharded.*': training with divided weights",
        ),
    ],
    ids=['misspelt', 'compile', 'FlexibleRunner', 'strategy', 'FSDP'],
)
def test_config_faults_of_distribution_and_compilation(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        check_config(Config(options))


def _run(folder: Path, path: Path, compile_options) -> dict:
    cfg = short_config(path, folder, batches=2, epochs=1)
    cfg.compile = compile_options
    build(cfg).train()
    return final_state(folder)


@pytest.mark.parametrize(
    'path',
    [FTCN, *(pytest.param(path, marks=pytest.mark.reliability) for path in (CKDN, MASKCO))],
    ids=lambda path: path.parent.name,
)
def test_compiled_loss_has_no_graph_break_and_trains_alike(tmp_path, path):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = _run(tmp_path / 'compiled', path, dict(backend='eager', fullgraph=True))
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] >= 1
    assert not differences(_run(tmp_path / 'plain', path, None), compiled)


@pytest.mark.parametrize(
    'path',
    [path for path in INSTANT if path.parent.name in REFUSED],
    ids=lambda path: path.parent.name,
)
def test_compilation_is_refused_with_the_reason_where_the_graph_breaks(tmp_path, path):
    with pytest.raises(ConfigError, match='compile: .* is not compiled, since .*; leave compile out'):
        _run(tmp_path, path, True)


@pytest.mark.reliability
@pytest.mark.parametrize('path', [path for path in INSTANT if path.parent.name in REFUSED[1:]], ids=lambda path: path.parent.name)
def test_graph_breaks_are_as_many_as_the_refusal_says(tmp_path, path):
    """Counted by torch's own counter in one step of the loss."""
    cfg = short_config(path, tmp_path, batches=1, epochs=1)
    runner = build(cfg)
    network, loss, counts = runner.model, runner.model.forward, []

    def counted(*args, mode: str = 'tensor', **kwargs):
        if mode == 'loss' and not counts:
            torch._dynamo.reset()
            counts.append(torch._dynamo.explain(loss)(*args, mode=mode, **kwargs).graph_break_count)
        return loss(*args, mode=mode, **kwargs)

    network.forward = counted
    runner.train()
    assert f'breaks in {counts[0]} places' in network.not_compiled_because
