"""The momentum update and its ramp, against closed forms."""

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from openmsra.common.ema import ema_update, ramped_momentum


def _norms(source_mean: float = 3.0) -> tuple[nn.BatchNorm1d, nn.BatchNorm1d]:
    target, source = nn.BatchNorm1d(2).double(), nn.BatchNorm1d(2).double()
    nn.init.zeros_(target.weight)
    source.running_mean.fill_(source_mean)
    source.num_batches_tracked.fill_(7)
    return target, source


@pytest.mark.parametrize('momentum, steps, value', [(0.999, 1, 0.001), (0.999, 1000, 0.632305), (0.99, 100, 1 - 0.99**100)])
def test_target_closes_the_gap(momentum, steps, value):
    target, source = _norms()
    for _ in range(steps):
        ema_update(target, source, momentum)
    assert target.weight[0].item() == pytest.approx(value, abs=1e-6)
    assert source.weight.tolist() == [1, 1]


def test_ends_are_exact():
    target, source = nn.Linear(5, 5), nn.Linear(5, 5)
    before = target.weight.clone()
    ema_update(target, source, 1.0)
    assert torch.equal(target.weight, before)
    ema_update(target, source, 0.0)
    assert torch.equal(target.weight, source.weight)


@pytest.mark.parametrize('buffers, mean', [('copy', 3.0), ('ema', 0.75), ('keep', 0.0)])
def test_buffers(buffers, mean):
    target, source = _norms()
    ema_update(target, source, 0.75, buffers)
    assert target.running_mean.tolist() == [mean, mean]
    assert target.num_batches_tracked == 7


def test_frozen_statistics_are_copied_in_one_operation_each_type():
    target, source = (nn.Sequential(*(nn.BatchNorm1d(2) for _ in range(20))) for _ in range(2))
    for k, norm in enumerate(source):
        norm.running_var.fill_(k)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        ema_update(target, source, 0.5)
    calls = {event.key: event.count for event in profiled.key_averages() if event.key.startswith('aten::')}
    assert calls['aten::_foreach_copy_'] == 2 and calls['aten::_foreach_lerp_'] == 1
    assert [norm.running_var.tolist() for norm in target] == [[k, k] for k in range(20)]


def test_ramp_without_warm_up_is_the_running_mean():
    target, source = nn.Linear(1, 1, bias=False).double(), nn.Linear(1, 1, bias=False).double()
    seen = []
    for t in range(6):
        nn.init.constant_(source.weight, t)
        ema_update(target, source, ramped_momentum(t, 0.999))
        seen.append(target.weight.item())
    assert seen == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5])


def test_ramp_values():
    assert [ramped_momentum(t, 0.999) for t in range(4)] == pytest.approx([0, 1 / 2, 2 / 3, 3 / 4])
    assert ramped_momentum(998, 0.999) == pytest.approx(998 / 999) and ramped_momentum(998, 0.999) < 0.999
    assert ramped_momentum(999, 0.999) == 0.999 == ramped_momentum(10**6, 0.999)
    assert ramped_momentum(0, 0.999, 100) == 0
    assert ramped_momentum(100, 0.999, 100) == pytest.approx(0.497512, abs=1e-6)


def test_every_difference_is_listed():
    with pytest.raises(ValueError, match=r'1\.bias: only in the source.*0\.weight: target \(3, 2\), source \(4, 2\)'):
        ema_update(
            nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(2, 3, bias=False)),
            nn.Sequential(nn.Linear(2, 4, bias=False), nn.Linear(2, 3)),
            0.5,
        )
    with pytest.raises(ValueError, match='momentum'):
        ema_update(nn.Linear(1, 1), nn.Linear(1, 1), 1.5)
