"""The network gives the outputs of the official code, and keeps the method's invariants."""

import itertools
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from openmsra.engine.checkpoint.io import load_file, load_weights
from openmsra.errors import CheckpointError
from openmsra.ftcn import FTCN, products
from openmsra.ftcn.heads import TransformerHead
from openmsra.ftcn.network import AveragePool, MaxPool
from tests.references.ckdn_fill import fill_ckdn
from tests.references.oracle_fill import fill, oracle_input

ROOT = Path(__file__).resolve().parents[2]
ORACLES = json.loads((ROOT / 'tests/data/ftcn/oracles.json').read_text())
STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')
STAGES = {'stem': 's1', 's2': 's2', 'temporal_pool': 'pathway0_pool', 's3': 's3', 's4': 's4'}


def state(strong: bool = False) -> dict[str, torch.Tensor]:
    return {
        key: torch.from_numpy(np.asarray(fill_ckdn(key, shape) if key.endswith(STATISTICS) else fill(key, shape, strong)))
        for key, shape in ORACLES['keys']
    }


def convert(source: Path, target: Path) -> None:
    runpy.run_path(str(ROOT / 'tools/model_converters/ftcn_from_official.py'))['main']([str(source), str(target)])


def tiny(clip_len: int = 8, size: int = 64, head: dict | None = None, **backbone) -> FTCN:
    torch.manual_seed(0)
    model = FTCN(
        dict(depths=(1, 1, 1, 1), channels=4, **backbone),
        clip_len=clip_len,
        size=size,
        head=head or dict(dim=16, heads=2, head_dim=8, hidden=32),
    )
    model.init_weights()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):  # negative scales tell norm-pool from pool-norm
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model.eval()


@pytest.mark.parametrize('clip', ORACLES['clips'], ids=['normal', 'strong'])
def test_outputs_are_the_official_ones(clip):
    model = FTCN(dict(rewrite=False)).eval()
    model.load_state_dict(state(clip['strong']))
    seen = {}
    for name, module in STAGES.items():

        def keep(_module, _inputs, out, name=name):
            index = torch.tensor(clip['stages'][name]['flat_index'])
            seen[name] = out.mean(dtype=torch.float64).item(), out.flatten()[index], tuple(out.shape)

        getattr(model.resnet, module).register_forward_hook(keep)

    x = torch.from_numpy(oracle_input((1, 3, 32, 224, 224), clip['seed']) * clip['scale'] + clip['shift']).float()
    with torch.inference_mode():
        logit = model(x, mode='tensor')
    for name, expected in clip['stages'].items():
        mean, values, shape = seen[name]
        assert shape == tuple(expected['shape'])
        assert mean == pytest.approx(expected['mean'], rel=1e-5)
        np.testing.assert_allclose(values, expected['values'], rtol=1e-4, atol=2e-5)
    assert logit.shape == (1,)
    assert logit.item() == pytest.approx(clip['logit'], rel=1e-4)
    if not clip['strong']:  # one of the two is enough for the other way to compute the same
        return
    model.resnet.rewrite = True
    with torch.inference_mode():
        assert model(x, mode='tensor').item() == pytest.approx(clip['logit'], rel=1e-4)


def test_converter_is_strict(tmp_path):
    weights = {f'module.{key}': value for key, value in state().items()}
    torch.save(weights, tmp_path / 'official.pth')
    convert(tmp_path / 'official.pth', tmp_path / 'ours.pth')
    model = FTCN()
    load_weights(model, load_file(tmp_path / 'ours.pth'), 'ours.pth')
    assert sum(p.numel() for p in model.parameters()) == 14_765_889
    assert list(model.state_dict()) and set(model.state_dict()) == {key for key, _ in ORACLES['keys']}
    for fault in ('missing', 'unexpected', 'misshapen'):
        bad = dict(weights)
        key = 'module.resnet.head.time_T.cls_token'
        if fault == 'missing':
            del bad[key]
        else:
            bad['module.other' if fault == 'unexpected' else key] = torch.zeros(3)
        torch.save(bad, tmp_path / 'bad.pth')
        with pytest.raises(CheckpointError, match=r'other|cls_token'):
            convert(tmp_path / 'bad.pth', tmp_path / 'never.pth')
        assert not (tmp_path / 'never.pth').exists()


def test_no_convolution_mixes_positions():
    convolutions = [module for module in FTCN().modules() if isinstance(module, nn.Conv3d)]
    assert len(convolutions) == 1 + 3 * 13 + 3
    for module in convolutions:
        assert (module.kernel_size[1:], module.stride, module.padding[1:]) == ((1, 1), (1, 1, 1), (0, 0))


@torch.inference_mode()
def test_one_position_reaches_only_the_cells_whose_pools_cover_it():
    model = tiny()
    x = torch.randn(1, 3, 8, 64, 64)
    before = model.resnet.features(x)
    changed_any = False
    for row, column in ((0, 63), (13, 14), (31, 32), (46, 5)):
        moved = x.clone()
        moved[..., row, column] += 50
        changed = (model.resnet.features(moved) != before).any(dim=2).any(dim=1)[0]
        for i, j in changed.nonzero().tolist():
            assert 16 * i - 2 <= row <= 16 * i + 15 and 16 * j - 2 <= column <= 16 * j + 15
            changed_any = True
    assert changed_any


@torch.inference_mode()
def test_tiles_may_be_shuffled():
    model = tiny(overlapping_pool=False)
    x = torch.randn(1, 3, 8, 64, 64)
    tiles = x.unflatten(4, (4, 16)).unflatten(3, (4, 16)).permute(3, 5, 0, 1, 2, 4, 6).flatten(0, 1)
    mixed = tiles[torch.randperm(16)].unflatten(0, (4, 4)).permute(2, 3, 4, 0, 5, 1, 6).flatten(5, 6).flatten(3, 4)
    assert not torch.equal(x, mixed)
    torch.testing.assert_close(model(x), model(mixed), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_tokens_see_the_frames_of_the_receptive_field():
    torch.manual_seed(0)
    model = FTCN(dict(depths=(3, 4, 6), channels=2), dict(kind='average'))
    model.init_weights()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.constant_(module.weight, 0.5)
            nn.init.constant_(module.bias, 0.1)
    model = model.eval().double()
    x = torch.randn(1, 3, 64, 16, 16, dtype=torch.float64)
    before = model.resnet.features(x)
    for frame, first, last in ((0, 0, 7), (16, 0, 15), (17, 1, 16), (33, 9, 24), (47, 16, 31)):
        moved = x.clone()
        moved[:, :, frame] += 100
        changed = (model.resnet.features(moved) != before).any(dim=1).flatten(2).any(dim=2)[0].nonzero().flatten()
        assert changed.tolist() == list(range(first, last + 1))


@pytest.mark.parametrize('patch, tokens', [('time', 4), ('spatial', 16), ('all', 64)])
def test_patch_types(patch, tokens):
    model = tiny(head=dict(patch=patch, dim=16, heads=2, head_dim=8, hidden=32))
    head, seen = model.resnet.head, []
    assert head.time_T.pos_embedding.shape == (1, tokens + 1, 16)
    head.time_T.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    features = torch.randn(2, model.resnet.channels, 4, 4, 4)
    head(features)
    expected = {
        'time': torch.stack([features[:, :, t].flatten(2).mean(-1) for t in range(4)], dim=1),
        'spatial': torch.stack([features[..., i, j].mean(-1) for i in range(4) for j in range(4)], dim=1),
        'all': torch.stack([features[:, :, t, i, j] for t in range(4) for i in range(4) for j in range(4)], dim=1),
    }
    torch.testing.assert_close(seen[0], expected[patch])
    with pytest.raises(ValueError, match='clip_len and size'):
        model(torch.randn(1, 3, 16, 128, 128))


@pytest.mark.parametrize('patch', ['random', 'random_avg'])
def test_random_positions(patch):
    torch.manual_seed(0)
    head = TransformerHead(8, (4, 5, 6), patch, dim=8, depth=1, heads=2, head_dim=4, hidden=8, dropout=0.0, count=3)
    x, seen = torch.randn(2, 8, 4, 5, 6), []
    head.time_T.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    head.eval()(x)
    inner = x[..., 1:-1, 1:-1]
    expected = x[..., 2, 3] if patch == 'random' else inner.mean(dim=(3, 4))
    torch.testing.assert_close(seen[0].transpose(1, 2), expected)
    head.train()(x)
    choices = itertools.combinations(inner.flatten(3).unbind(3), 1 if patch == 'random' else 3)
    means = torch.stack([torch.stack(choice).mean(0) for choice in choices])
    assert (means - seen[1].transpose(1, 2)).flatten(1).abs().amax(1).min() < 1e-6
    head(x)
    assert not torch.equal(seen[1], seen[2])


@pytest.mark.parametrize(
    'options',
    [
        dict(stop_stage=2),
        dict(stop_stage=3),
        dict(stop_stage=5),
        dict(temporal_pool=False),
        dict(temporal=False),
        dict(spatial_kernels=(7, 3, 3, 3, 3)),
        dict(spatial_kernels=(7, 3, 3, 3, 3), r2plus1d=True),
        dict(spatial_kernels=(1, 1, 3, 1, 1)),
    ],
)
def test_options_run_and_keep_the_announced_shape(options):
    model = tiny(**options)
    clips = torch.randn(2, 3, 8, 64, 64)
    assert tuple(model.resnet.features(clips).shape[2:]) == model.resnet.output_shape(8, 64)
    model(clips).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize('training', [True, False])
def test_scores_of_mixed_precision_are_float32(training):
    model = tiny().train(training)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        logits = model(torch.randn(4, 3, 8, 64, 64))
        samples = model(torch.randn(4, 3, 8, 64, 64), mode='predict')
    assert logits.dtype == torch.float32
    assert any(sample.pred_score != float(torch.tensor(sample.pred_score).bfloat16()) for sample in samples)


def test_bad_options_are_refused():
    for options in (
        dict(backbone=dict(stop_stage=1)),
        dict(backbone=dict(spatial_kernels=(1, 2, 1, 1, 1))),
        dict(head=dict(kind='mean')),
        dict(head=dict(patch='frame')),
    ):
        with pytest.raises(ValueError, match='must be'):
            FTCN(**options)
    with pytest.raises(ValueError, match='shape'):
        tiny()(torch.randn(3, 8, 64, 64))


@pytest.mark.parametrize(
    'sizes', [((1, 2, 2),), ((1, 3, 3), (1, 2, 2), (0, 1, 1)), ((2, 1, 1),)], ids=['picture', 'overlapping', 'time']
)
@pytest.mark.parametrize('layout', [torch.contiguous_format, products.FORMAT], ids=['', 'channels-last'])
def test_max_pools_in_two_dimensions_are_those_in_three(sizes, layout):
    """With many ties, whose gradient goes to one of them."""
    x = torch.randint(-2, 3, (2, 3, 4, 8, 6)).float().contiguous(memory_format=layout).requires_grad_()
    y = x.detach().contiguous().requires_grad_()
    ours, theirs = MaxPool(*sizes)(x), torch.nn.MaxPool3d(*sizes)(y)
    assert torch.equal(ours, theirs) and ours.is_contiguous(memory_format=layout)
    weights = torch.randn_like(ours)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    assert torch.equal(x.grad, y.grad) and x.grad.any()


@pytest.mark.parametrize('sizes', [((1, 2, 2),), ((1, 3, 3), (1, 2, 2), (0, 1, 1))], ids=['picture', 'overlapping'])
def test_average_pools_in_two_dimensions_are_those_in_three(sizes):
    x = torch.randn(2, 3, 4, 8, 6)
    theirs = torch.nn.AvgPool3d(*sizes, count_include_pad=False)(x)
    torch.testing.assert_close(AveragePool(*sizes)(x), theirs)
    last = AveragePool(*sizes)(x.contiguous(memory_format=products.FORMAT))
    torch.testing.assert_close(last, theirs)
    assert products.is_channels_last(last), 'all layers behind it would take the slow form'


def test_average_pools_see_no_order_of_neighbouring_pixels():
    """A checkerboard of two pixels that averages to grey: the network without spatial kernels cannot tell it from grey."""
    grey = torch.full((1, 3, 8, 32, 32), 0.5)
    board = grey + 0.5 * (1 - 2 * ((torch.arange(32)[:, None] + torch.arange(32)) % 2))
    changes = {}
    for pool in ('max', 'average'):
        torch.manual_seed(0)
        model = FTCN(dict(depths=(1, 1, 1), channels=8, spatial_pool=pool), dict(kind='average'), clip_len=8, size=32).eval()
        model.init_weights()
        stem = model.resnet.s1.pathway0_stem
        with torch.no_grad():
            values = [stem.bn(stem.conv(clip)) for clip in (grey, board)]
        changes[pool] = float((values[0] - values[1]).abs().max())
    assert changes['average'] < 1e-5 < 0.01 < changes['max']


def test_unknown_pools_are_named():
    with pytest.raises(ValueError, match='spatial_pool must be one of max, average'):
        FTCN(dict(spatial_pool='median'), dict(kind='average'))


def test_no_layer_lacks_a_deterministic_gradient_on_cuda():
    lacking = (torch.nn.MaxPool3d, torch.nn.AdaptiveAvgPool3d, torch.nn.AvgPool3d)  # see torch.use_deterministic_algorithms
    model = tiny()
    assert not [
        name
        for name, module in model.named_modules()
        if isinstance(module, lacking) and not isinstance(module, (MaxPool, AveragePool))
    ]
