"""The rewritten network equals the plain one."""

import pytest
import torch
from torch import nn

from openmsra.ftcn import FTCN, fast, products


def network(**backbone) -> FTCN:
    torch.manual_seed(0)
    model = FTCN(dict(dict(depths=(2, 2, 2, 2), channels=4, rewrite=False), **backbone), dict(kind='average'))
    model.init_weights()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):  # negative scales tell norm-pool from pool-norm
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(stop_stage=2),
        dict(stop_stage=3),
        dict(stop_stage=5),
        dict(temporal_pool=False),
        dict(temporal=False),
        dict(overlapping_pool=False),
    ],
    ids=str,
)
@pytest.mark.parametrize('shape', [(8, 64, 64), (7, 70, 91), (2, 33, 50)], ids=str)
def test_equal_on_all_shapes(options, shape, monkeypatch):
    resnet = network(**options).resnet
    clips = torch.randn(2, 3, *shape)
    with torch.inference_mode():
        plain = resnet.features(clips)
        ours = fast.features(resnet, clips)
        monkeypatch.setattr(fast, 'POSITIONS', 1)  # one output row of one clip at a time
        torch.testing.assert_close(fast.features(resnet, clips), ours, rtol=1e-5, atol=1e-5 * plain.abs().max().item())
    assert plain.numel()
    assert ours.shape == plain.shape
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5 * plain.abs().max().item())


def test_paper_size_in_one_precision_and_the_other():
    resnet = network(depths=(1, 1, 1)).resnet
    clips = torch.randn(1, 3, 4, 224, 224)
    with torch.inference_mode():
        plain = resnet.features(clips)
        assert (fast.features(resnet, clips) - plain).abs().max() < 1e-5 * plain.abs().max()
        resnet.double()
        torch.testing.assert_close(fast.features(resnet, clips.double()), resnet.features(clips.double()), rtol=1e-12, atol=1e-11)


@torch.inference_mode()
def test_clips_and_weights_are_left_alone():
    resnet, clips = network().resnet, torch.randn(1, 3, 8, 64, 64)
    before = [clips.clone(), *(tensor.clone() for tensor in resnet.state_dict().values())]
    first, second = fast.features(resnet, clips), fast.features(resnet, clips)
    assert torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip(before, [clips, *resnet.state_dict().values()], strict=True))


def test_training_spatial_kernels_and_gradients_take_the_plain_form(monkeypatch):
    monkeypatch.setattr(fast, 'features', lambda *_: pytest.fail('rewritten'))
    clips = torch.randn(2, 3, 4, 32, 32)
    network(rewrite=True).resnet.features(clips)  # gradients are on
    with torch.no_grad():
        network(rewrite=True).train().resnet.features(clips)
        network(rewrite=True, spatial_kernels=(1, 1, 3, 1, 1)).resnet.features(clips)
        network(rewrite=True, r2plus1d=True).resnet.features(clips)
        with torch.autocast('cpu', torch.bfloat16):
            network(rewrite=True).resnet.features(clips)
        with pytest.raises(pytest.fail.Exception):
            network(rewrite=True).resnet.features(clips)


@pytest.mark.parametrize(('length', 'channels', 'frames'), [(1, 5, 3), (3, 8, 4), (5, 3, 6), (5, 7, 2), (5, 7, 1)])
def test_products_have_the_gradients_of_the_convolution(length, channels, frames):
    """Numerically, and those of PyTorch; also of kernels that are longer than the clip."""
    torch.manual_seed(0)
    ours = products.TemporalConv3d(channels, 4, (length, 1, 1), padding=(length // 2, 0, 0), bias=False).double()
    x = torch.randn(2, channels, frames, 2, 3, dtype=torch.double).contiguous(memory_format=products.FORMAT).requires_grad_()
    assert products.is_channels_last(x)
    assert torch.autograd.gradcheck(lambda x, w: torch.func.functional_call(ours, {'weight': w}, x), (x, ours.weight))
    plain = nn.functional.conv3d(x, ours.weight, padding=ours.padding)
    gradient = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, (x, ours.weight), gradient)
    assert products.is_channels_last(ours(x)), 'the next layer would take the slow form'
    torch.testing.assert_close(ours(x), plain, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(ours(x), (x, ours.weight), gradient), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(overlapping_pool=False, temporal_pool=False),
        dict(spatial_kernels=(1, 1, 3, 1, 1)),
        dict(spatial_pool='average'),
    ],
)
def test_a_training_step_has_the_gradients_of_the_plain_network(options, monkeypatch):
    steps = []
    called = []
    forward = products._Products.forward
    monkeypatch.setattr(products._Products, 'forward', lambda *args: called.append(1) or forward(*args))
    for rewrite in (False, True):
        resnet = network(rewrite=rewrite, **options).resnet.double().train()
        clips = torch.randn(2, 3, 8, 40, 32, dtype=torch.double, generator=torch.Generator().manual_seed(0), requires_grad=True)
        out = resnet.features(clips)
        out.square().sum().backward()
        steps.append([out, clips.grad, *(p.grad for p in resnet.parameters() if p.grad is not None), *resnet.buffers()])
        assert bool(called) == (rewrite and 'spatial_kernels' not in options)
    for plain, ours in zip(*steps, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9 * plain.abs().max().item())
