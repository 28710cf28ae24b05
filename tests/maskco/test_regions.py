"""Masks and RoIAlign."""

import numpy as np
import pytest
import torch

from openmsra.maskco.regions import RegionPool, box_mask, ellipse_mask, fill_mask
from tests.references import maskco_contrast as reference

MODES = ['matrix', pytest.param('mmcv', marks=pytest.mark.full)]


@pytest.mark.parametrize('mode', MODES)
def test_half_pixel_coordinates(mode):
    """A map that holds its columns' centres gives the centre of the box; the legacy convention is off by 0.5."""
    features = (torch.arange(7.0) + 0.5).expand(1, 1, 7, 7)
    boxes = torch.tensor([[[56.0, 56, 112, 112], [112, 56, 168, 112]]])
    pooled = RegionPool(mode=mode)(features, boxes, 224)
    assert pooled.flatten().tolist() == pytest.approx([2.625, 4.375], abs=1e-5)


@pytest.mark.parametrize('mode', MODES)
def test_flip_and_whole_map(mode):
    torch.manual_seed(0)
    features, boxes = torch.randn(2, 5, 7, 7), torch.tensor([[[30.0, 40, 130, 190]], [[0, 5, 60, 220]]])
    flipped = boxes.clone()
    flipped[..., [0, 2]] = 224 - boxes[..., [2, 0]]
    pool = RegionPool(mode=mode)
    torch.testing.assert_close(pool(features.flip(-1), flipped, 224), pool(features, boxes, 224), atol=1e-5, rtol=0)
    whole = RegionPool(samples=7, mode=mode)(features, torch.tensor([[[0.0, 0, 224, 224]]] * 2), 224)
    torch.testing.assert_close(whole[:, 0], features.mean((2, 3)), atol=1e-6, rtol=0)


@pytest.mark.full
@pytest.mark.parametrize('bins', [1, 3])
def test_matrices_equal_the_compiled_operator(bins):
    torch.manual_seed(0)
    features = torch.randn(3, 4, 6, 6, requires_grad=True)
    corner = torch.rand(3, 5, 2) * 60
    corner[0, 0] = 0
    boxes = torch.cat([corner, corner + 1 + torch.rand(3, 5, 2) * (95 - corner)], -1)
    grads = []
    outputs = [RegionPool(bins, mode=mode)(features, boxes, 96) for mode in ('matrix', 'mmcv')]
    for output in outputs:
        grads.append(torch.autograd.grad(output.square().sum(), features)[0])
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=0)
    torch.testing.assert_close(*grads, atol=1e-4, rtol=0)


@pytest.mark.parametrize('mode', MODES)
def test_coordinates_stay_exact_under_bfloat16(mode):
    """A ramp tells where a region lies: at 200 pixels bfloat16 knows only whole ones."""
    ramp = torch.arange(56.0).expand(1, 1, 56, 56)
    boxes = torch.tensor([[[200.4, 8.0, 208.4, 16.0]]])
    pooled = RegionPool(mode=mode)(ramp.bfloat16(), boxes, 224)
    assert pooled.dtype == torch.bfloat16
    assert float(pooled) == pytest.approx(204.4 / 4 - 0.5, abs=0.13)


def test_mask_equals_the_slow_reference():
    torch.manual_seed(0)
    images, boxes = torch.randn(4, 3, 16, 16), torch.rand(4, 2, 4) * 10
    boxes[..., 2:] += boxes[..., :2].clamp(max=5)
    boxes[0, 0] = torch.tensor([2.0, 3, 8, 9])
    ours = fill_mask(images, box_mask(boxes, 16), 'mean')
    for image, box, out in zip(images, boxes, ours, strict=True):
        np.testing.assert_array_equal(out.numpy(), reference.masked(image.numpy(), box.tolist(), 0))


@pytest.mark.parametrize('fill', ['mean', 'image_mean', 'noise', 'learned'])
def test_fill_shows_nothing_of_what_it_hides(fill):
    mask = box_mask(torch.tensor([[[3.2, 4.0, 9.1, 12.0]]]), 16)
    images = torch.randn(1, 3, 16, 16)
    changed = torch.where(mask, torch.randn_like(images), images)
    outputs = []
    for image in (images, changed):
        torch.manual_seed(3)
        outputs.append(fill_mask(image, mask, fill, torch.tensor([1.0, 2, 3])))
    assert torch.equal(*outputs)
    assert torch.equal(torch.where(mask, 0.0, outputs[0]), torch.where(mask, 0.0, images))


def test_ellipse_covers_pi_quarters_of_its_box_and_nothing_outside():
    boxes = torch.tensor([[[10.0, 20, 90, 60]], [[0, 0, 100, 100]]])
    mask = ellipse_mask(boxes, 100)
    assert not (mask & ~box_mask(boxes, 100)).any()
    shares = mask.sum((1, 2, 3)) / torch.tensor([80 * 40, 100 * 100])
    assert shares.tolist() == pytest.approx([np.pi / 4] * 2, rel=0.01)
    assert mask[0, 0, 40, 50] and not mask[0, 0, 21, 11]


def test_unknown_mode():
    with pytest.raises(ValueError, match="valid are 'matrix'"):
        RegionPool(mode='legacy')
