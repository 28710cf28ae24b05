"""``--deterministic`` on a device that is no CPU: no gradient of mmcv's that torch does not know to change from run to run.

Run by ``test_standin.py`` in a process of its own, since the device stays registered.
"""

import pytest
import torch
from mmcv.ops import RoIAlign as MMCVRoIAlign
from torch import nn

from openmsra.engine.deterministic import require_fixed_gradients
from openmsra.errors import ConfigError
from openmsra.maskco.regions import RegionPool
from openmsra.soft_teacher.roi_align import RoIAlign
from tests.standin.device import NAME, Accelerator


@pytest.fixture(autouse=True)
def _fixed():
    torch.use_deterministic_algorithms(True)
    with Accelerator():
        yield
    torch.use_deterministic_algorithms(False)


def _regions() -> torch.Tensor:
    corners = torch.rand(20, 2, generator=torch.Generator().manual_seed(0)) * 40
    return torch.cat([torch.arange(20)[:, None] % 2, corners, corners + 20], 1)


def test_roi_align_is_that_of_the_cpu_by_products(monkeypatch):
    x, rois, weights = torch.randn(2, 6, 16, 24), _regions(), torch.randn(20, 6, 7, 7)
    near, far = x.clone().requires_grad_(), x.to(NAME).requires_grad_()
    expected = MMCVRoIAlign(7, 1 / 4)(near, rois)
    (expected * weights).sum().backward()
    monkeypatch.setattr(MMCVRoIAlign, 'forward', None)
    for precision in (None, torch.bfloat16):
        far.grad = None
        with torch.autocast(NAME, dtype=precision, enabled=precision is not None):
            out = RoIAlign(7, 1 / 4)(far, rois.to(NAME))
        (out * weights.to(NAME)).sum().backward()
        torch.testing.assert_close(out.cpu(), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(far.grad.cpu(), near.grad, rtol=1e-4, atol=1e-5)


def test_pools_without_a_fixed_gradient_are_refused():
    x, rois = torch.randn(2, 6, 16, 24, device=NAME), _regions().to(NAME)
    with pytest.raises(RuntimeError, match="pool_mode='max'"):
        RoIAlign(7, 1 / 4, pool_mode='max')(x, rois)
    with pytest.raises(RuntimeError, match="mode='mmcv'"):
        RegionPool(mode='mmcv')(x, rois[:, 1:].unflatten(0, (2, 10)), 64)
    assert RoIAlign(7, 1 / 4, pool_mode='max')(x.cpu(), rois.cpu()).shape == (20, 6, 7, 7)


@pytest.mark.parametrize(
    ('layer', 'other'),
    [
        (MMCVRoIAlign(7, 1 / 4), RoIAlign(7, 1 / 4)),
        (RoIAlign(7, 1 / 4, pool_mode='max'), RoIAlign(7, 1 / 4)),
        (RegionPool(mode='mmcv'), RegionPool()),
    ],
    ids=['mmcv', 'max', 'maskco'],
)
def test_layers_without_a_fixed_gradient_are_named_before_a_training(layer, other):
    model = nn.Sequential(nn.Conv2d(3, 3, 1), layer)
    with pytest.raises(ConfigError, match=rf'1 layer.*{type(layer).__name__} \(1\)'):
        require_fixed_gradients(model, NAME)
    require_fixed_gradients(model, 'cpu')
    require_fixed_gradients(nn.Sequential(model[0], other), NAME)
    torch.use_deterministic_algorithms(False)
    require_fixed_gradients(model, NAME)
