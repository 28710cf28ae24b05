"""RoIAlign by products against mmcv's operator, in float64."""

import pytest
import torch
from mmcv.ops import RoIAlign as MMCVRoIAlign
from torch import nn

from openmsra.soft_teacher.roi_align import RoIAlign, use_products

IMAGE = (96.0, 64.0)


def regions(count: int = 60) -> torch.Tensor:
    """Of two images, of all sizes; some leave the image, one has no extent and one is far outside."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=generator, dtype=torch.double) * torch.tensor([*IMAGE]) - 8
    side = torch.rand(count, 2, generator=generator, dtype=torch.double) ** 3 * 80
    side[0] = 0
    corner[1] = 500
    images = torch.randint(2, (count, 1), generator=generator).double()
    return torch.cat([images, corner, corner + side], 1)


@pytest.mark.parametrize('options', [dict(), dict(sampling_ratio=2), dict(aligned=False), dict(output_size=(3, 5))], ids=str)
@pytest.mark.parametrize('channels_last', [False, True])
def test_values_and_gradients_are_those_of_mmcv(options, channels_last):
    options = dict(dict(output_size=7, spatial_scale=1 / 4), **options)
    x = torch.randn(2, 6, 16, 24, dtype=torch.double, generator=torch.Generator().manual_seed(1)).requires_grad_()
    given = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    sides = [layer(**options)(value, regions()) for layer, value in ((RoIAlign, given), (MMCVRoIAlign, x))]
    torch.testing.assert_close(*sides, rtol=1e-10, atol=1e-12)
    assert sides[0].is_contiguous() and not sides[0][1].any() and sides[0][2].any()
    weights = torch.randn_like(sides[1])
    gradients = [torch.autograd.grad((side * weights).sum(), x)[0] for side in sides]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_single_precision():
    x, rois = torch.randn(2, 6, 16, 24), regions().float()
    torch.testing.assert_close(RoIAlign(7, 1 / 4)(x, rois), MMCVRoIAlign(7, 1 / 4)(x, rois), rtol=1e-4, atol=1e-5)


def test_mixed_precision_does_not_reach_the_products():
    x, rois = torch.randn(2, 6, 16, 24).requires_grad_(), regions().float()
    expected = torch.autograd.grad(RoIAlign(7, 1 / 4)(x, rois).square().sum(), x)
    with torch.autocast('cpu', torch.bfloat16):
        out = RoIAlign(7, 1 / 4)(x, rois)
        assert out.dtype == torch.float32
        torch.testing.assert_close(torch.autograd.grad(out.square().sum(), x), expected)


def test_the_rest_is_left_to_mmcv(monkeypatch):
    x, rois = torch.randn(2, 6, 16, 24), regions().float()
    expected = MMCVRoIAlign(7, 1 / 4, pool_mode='max')(x, rois)
    monkeypatch.setattr('openmsra.soft_teacher.roi_align._RoIAlign', None)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(RoIAlign(7, 1 / 4, pool_mode='max')(given, rois), expected, rtol=0, atol=0)
    assert RoIAlign(7, 1 / 4)(x, rois[:0]).shape == (0, 6, 7, 7)


def test_layers_of_a_network_are_replaced():
    network = nn.ModuleList([MMCVRoIAlign(7, 1 / 4), nn.Identity()])
    use_products(network)
    assert type(network[0]) is RoIAlign and network[0].output_size == (7, 7)
