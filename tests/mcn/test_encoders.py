"""Encoders: published parameter counts and map sizes; classifier and accuracy on top."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement

import openmsra.mcn  # noqa: F401 - registers the models
from openmsra.engine.checkpoint.io import save_file
from openmsra.errors import CheckpointError
from openmsra.mcn.evaluation.accuracy import VideoAccuracy
from openmsra.mcn.export import rename_old
from openmsra.registry import MODELS

TINY = dict(type='TinyVideoNet', widths=(4, 8), strides=((1, 2, 2), (2, 2, 2)), norm_cfg=dict(type='BN3d'))


@pytest.mark.parametrize(
    'options, parameters, shape',
    [
        (dict(type='VideoResNet', kind='r3d'), 33_166_272, (512, 2, 7, 7)),
        (dict(type='VideoResNet', kind='r2plus1d'), 31_300_125, (512, 2, 7, 7)),
        (dict(type='S3D'), 7_910_048, (1024, 2, 3, 3)),
    ],
)
def test_counts_and_maps(options, parameters, shape):
    with torch.device('meta'):
        net = MODELS.build(options)
        features = net(torch.empty(1, 3, 16, 112, 112))
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
    assert features.shape[1:] == shape and net.feat_dim == shape[0]
    assert any(name.startswith(net.last_stage.replace('[45]', '5')) for name in net.state_dict())


def test_stages_of_r3d_have_the_published_sizes():
    with torch.device('meta'):
        net = MODELS.build(dict(type='VideoResNet'))
    counts = [sum(p.numel() for p in part.parameters()) for part in (net.stem, net.layer1, net.layer2, net.layer3, net.layer4)]
    assert counts == [28_352, 442_880, 1_557_760, 6_228_480, 24_908_800]


def classifier(**options):
    torch.manual_seed(0)
    return MODELS.build(dict(type='VideoClassifier', backbone=TINY, num_classes=3, **options))


def test_frozen_classifier_trains_its_head_alone():
    model = classifier(frozen=True, dropout=0.0).train()
    samples = [BaseDataElement(gt_label=k) for k in (0, 2)]
    clips = torch.randn(2, 2, 3, 4, 8, 8)
    before = model.backbone.layers[0].bn.running_mean.clone()
    loss = model(clips, samples, mode='loss')['loss']
    loss.backward()
    assert torch.equal(model.backbone.layers[0].bn.running_mean, before)
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    logits = model(clips)
    by_hand = -sum(logits[v, c].log_softmax(-1)[(0, 2)[v]] for v in (0, 1) for c in (0, 1)) / 4
    torch.testing.assert_close(loss, by_hand)
    scored = model(clips, samples, mode='predict')
    torch.testing.assert_close(scored[1].pred_score, logits[1].softmax(-1).mean(0))


def test_pretrained_encoder_is_loaded_strictly(tmp_path):
    donor = MODELS.build(dict(type='VideoEncoder', backbone=TINY))
    state = {name: value for name, value in donor.state_dict().items() if name.startswith('backbone.')}
    save_file(dict(state_dict=state), tmp_path / 'encoder.pth')
    model = classifier(pretrained=str(tmp_path / 'encoder.pth'))
    model.init_weights()
    torch.testing.assert_close(model.backbone.layers[0].conv.weight, donor.backbone.layers[0].conv.weight)
    state.pop('backbone.layers.0.conv.weight')
    save_file(dict(state_dict=state), tmp_path / 'partial.pth')
    with pytest.raises(CheckpointError, match='layers.0.conv.weight'):
        classifier(pretrained=str(tmp_path / 'partial.pth')).init_weights()


def test_accuracy():
    metric = VideoAccuracy(topk=(1, 2, 5))
    scores = [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7]]
    metric.process({}, [dict(gt_label=label, pred_score=torch.tensor(row)) for label, row in zip((0, 1, 0), scores, strict=True)])
    figures = metric.compute_metrics(metric.results)
    assert figures == pytest.approx(dict(top1=100 / 3, top2=200 / 3, mean_class=25))
    metric.results.append((0, np.array([np.nan] * 3)))
    with pytest.raises(FloatingPointError, match='diverged'):
        metric.compute_metrics(metric.results)


GOLDEN = json.loads((Path(__file__).parents[1] / 'references/mcn_encoders.json').read_text())
ENCODERS = {'r3d': dict(type='VideoResNet'), 'r2plus1d': dict(type='VideoResNet', kind='r2plus1d'), 's3d': dict(type='S3D')}


def _by_name(name, shape):
    """Values that follow from the old name of a weight."""
    rng = np.random.default_rng(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), 'big'))
    if name.endswith('running_var'):
        return rng.uniform(0.5, 1.5, shape)
    if len(shape) > 1:
        return rng.normal(size=shape) * (2 / np.prod(shape[1:])) ** 0.5
    return rng.uniform(0.8, 1.2, shape) if name.endswith('weight') else rng.normal(size=shape) * 0.1


@pytest.mark.parametrize('name', ENCODERS)
def test_torchvisions_networks_equal_our_old_ones_on_the_same_weights(name):
    """Outputs recorded from the encoders of before, whose weights come in through the documented renaming.

    They were recorded in float32; here it is float64, so that the machine does not matter. In training the last layers normalise
    over 2 to 8 values a channel, which magnifies the rounding of what was recorded.
    """
    net, golden = MODELS.build(ENCODERS[name]).double(), GOLDEN[name]
    old = {old_name: torch.from_numpy(np.asarray(_by_name(old_name, tuple(shape)))) for old_name, shape in golden['weights']}
    state = rename_old({f'backbone.{key}': value for key, value in old.items()})
    counters = {key: value for key, value in net.state_dict().items() if key.endswith('num_batches_tracked')}
    net.load_state_dict({key.removeprefix('backbone.'): value for key, value in state.items()} | counters, strict=True)
    clips = torch.from_numpy(np.random.default_rng(5).normal(size=(2, 3, 8, 32, 32)).astype(np.float32)).double()
    for mode, rtol in (('eval', 2e-5), ('train', 1e-3)):
        with torch.no_grad():
            features = net.train(mode == 'train')(clips)
        found = [features.mean(), features.std(), *features.flatten()[:: features.numel() // 7][:7]]
        np.testing.assert_allclose(found, golden[mode], rtol=rtol, atol=1e-6)
        assert list(features.shape) == golden['shape']
    again = rename_old({f'backbone.{key}': value for key, value in net.state_dict().items()})
    assert list(again) == [f'backbone.{key}' for key in net.state_dict()], 'names of today stay'


def test_torchvisions_weights_are_the_supervised_start(tmp_path):
    """A file of torchvision's, with its classifier, into a classifier of ours: the same pooled features."""
    from torchvision.models.video import r2plus1d_18

    theirs = r2plus1d_18(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / 'r2plus1d_18-91a641e6.pth')
    model = MODELS.build(
        dict(
            type='VideoClassifier',
            backbone=ENCODERS['r2plus1d'],
            num_classes=3,
            pretrained=str(tmp_path / 'r2plus1d_18-91a641e6.pth'),
        )
    )
    model.init_weights()
    theirs.fc = torch.nn.Identity()
    clips = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.eval().backbone(clips).mean((2, 3, 4)), theirs(clips))
