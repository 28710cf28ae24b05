"""The rewritten network equals the plain one."""

import pytest
import torch
from torch import nn

from openmsra.ftcn import FTCN, fast


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
