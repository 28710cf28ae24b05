"""The network gives the outputs of the official code, and keeps the method's invariants."""

import argparse
import json
import logging
import re
import runpy
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import BaseDataElement
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from openmsra.ckdn import CKDN, CKDNLoss, CollapseWatchHook, elo_expectation
from openmsra.ckdn.data.transforms import ResizeCropPair, center_crop, resize_short_side, to_tensor
from openmsra.engine.checkpoint.io import load_file, load_weights
from openmsra.errors import CheckpointError, ConfigError, MissingFileError
from tests.references.ckdn_fill import fill_ckdn, synthetic_image
from tests.references.oracle_fill import oracle_input

ROOT = Path(__file__).resolve().parents[2]
ORACLES = json.loads((ROOT / 'tests/data/ckdn/oracles.json').read_text())
FIRST, SECOND = ORACLES['first'], ORACLES['second']
ROLES = ('restored', 'degraded', 'other', 'pristine')


@pytest.fixture(scope='module')
def state():
    return {key: torch.from_numpy(np.asarray(fill_ckdn(key, shape))) for key, shape, _ in ORACLES['keys']}


def filled(state, **options) -> CKDN:
    model = CKDN(**options)
    model.load_state_dict(state)
    return model.eval()


def image(spec: dict) -> torch.Tensor:
    return torch.from_numpy(oracle_input((1, 3, 288, 288), spec['seed']) * spec['scale'] + spec['shift']).float()


def convert(source: Path, target: Path) -> None:
    runpy.run_path(str(ROOT / 'tools/model_converters/ckdn_from_official.py'))['main']([str(source), str(target)])


def tiny(**options) -> CKDN:
    torch.manual_seed(0)
    model = CKDN(depth=18, base_channels=4, head_dim=16, dropout=0.0, **{'imagenet_weights': None, **options})
    model.init_weights()
    model.stage = 'score'
    return model


def batch(count: int = 2, size: int = 32) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {role: torch.randn(count, 3, size, size) for role in ROLES}


def samples(scores: list[float], others: list[float]) -> list[BaseDataElement]:
    return [BaseDataElement(gt_score=a, gt_other_score=b) for a, b in zip(scores, others)]


@torch.no_grad()
def test_four_outputs_equal_the_official_ones(state):
    model = filled(state)
    inputs = [torch.from_numpy(oracle_input((4, 3, 288, 288), seed)[:2]) for seed in range(4)]
    expected = torch.tensor(FIRST['outputs']['values'])[:2]
    torch.testing.assert_close(model.four_outputs(*inputs), expected, rtol=1e-5, atol=1e-6)
    copies = model.four_outputs(inputs[0], inputs[1], inputs[0], inputs[1])
    expected = torch.tensor(FIRST['outputs_when_pair2_is_copy_of_pair1'])[:2]
    torch.testing.assert_close(copies, expected, rtol=1e-5, atol=1e-6)
    lean = model(dict(restored=inputs[0], degraded=inputs[1]))
    torch.testing.assert_close(lean, copies[:, 0], rtol=1e-6, atol=0)


@torch.no_grad()
@pytest.mark.parametrize('pair', SECOND['pairs'])
def test_logit_equals_the_second_set(state, pair):
    logit = filled(state).score_logits(image(pair['restored']), image(pair['degraded']))
    assert float(logit) == pytest.approx(pair['logit'], rel=2e-5)


@torch.no_grad()
def test_training_mode_has_the_official_batch_statistics(state):
    oracle = SECOND['train']
    model = filled(state, dropout=0.0).train()
    names = ('restored1', 'degraded1', 'restored2', 'pristine1')
    outputs = model.four_outputs(*(torch.cat([image(spec) for spec in oracle['inputs'][name]]) for name in names))
    torch.testing.assert_close(outputs, torch.tensor(oracle['outputs']), rtol=1e-4, atol=1e-5)
    buffers = dict(model.named_buffers())
    for key, expected in oracle['buffers_after'].items():
        torch.testing.assert_close(buffers[key][:4], torch.tensor(expected['first4']), rtol=1e-4, atol=1e-5)
    for child, count in oracle['num_batches_tracked_after'].items():
        assert int(buffers[f'{child}.0.bn1.num_batches_tracked']) == count


@torch.no_grad()
@pytest.mark.parametrize('case', FIRST['image_pairs']['cases'], ids=lambda case: f'{case["w"]}x{case["h"]}')
def test_image_pairs_through_the_official_preprocessing(state, case):
    crops = []
    for role, interpolation in (('restored', 'bicubic'), ('degraded', 'nearest')):
        picture = Image.fromarray(synthetic_image(case['h'], case['w'], case[f'{role}_seed']))
        resized = resize_short_side(picture, 329, interpolation)
        assert list(resized.size) == case['resized_wh']
        crops.append(center_crop(resized, 288))
        assert zlib.crc32(np.array(crops[-1]).tobytes()) == case[f'{role}_uint8_crc']
    model = filled(state)
    restored, degraded = (model.data_preprocessor.stack([to_tensor(crop)]) for crop in crops)
    assert float(model.score_logits(restored, degraded)) == pytest.approx(case['logit'], abs=1e-5)
    picture = Image.fromarray(synthetic_image(case['h'], case['w'], case['degraded_seed']))
    pair = dict(restored=picture, degraded=picture)
    degraded = model.data_preprocessor.stack([to_tensor(ResizeCropPair(ref_interp='bicubic')(pair)['degraded'])])
    score = float(model.score_logits(restored, degraded).sigmoid())
    assert score == pytest.approx(case['score_if_both_bicubic'], abs=1e-5)


def test_losses_and_gradients_equal_the_official_ones(state):
    check = FIRST['loss_check']
    t1, t2 = torch.tensor(check['t1']), torch.tensor(check['t2'])
    torch.testing.assert_close(elo_expectation(t1, t2), torch.tensor(check['t3']), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(elo_expectation(t1, t2) + elo_expectation(t2, t1), torch.ones(4))
    dr, fr, nr, diff = torch.tensor(FIRST['outputs']['values']).unbind(1)
    model = filled(state)
    terms = {**model.losses.ranking(nr, t1, t2), **model.losses.scoring(dr, t1, fr, diff)}
    names = dict(loss_dr='dr', loss_fr='fr', loss_rank='rank_half', loss_kd='distill_30')
    for name, key in names.items():
        assert float(terms[name]) == pytest.approx(check[key], rel=1e-5)
    crops = [torch.from_numpy(oracle_input((4, 3, 288, 288), seed)[:2, :, :96, :96].copy()) for seed in range(4)]
    for stage, key in (('rank', 'grad_check_stage1'), ('score', 'grad_check_stage2')):
        model.zero_grad()
        model.stage = stage
        losses = model.loss(dict(zip(ROLES, crops)), samples(check['t1'][:2], check['t2'][:2]))
        loss = sum(value for name, value in losses.items() if name.startswith('loss'))
        loss.backward()
        assert float(loss) == pytest.approx(FIRST[key]['loss'], rel=1e-4)
        parameters = dict(model.named_parameters())
        for name, norm in FIRST[key]['grad_norm'].items():
            assert float(parameters[name].grad.norm()) == pytest.approx(norm, rel=1e-3)
        unused = {name.partition('.')[0] for name, value in parameters.items() if value.grad is None}
        assert unused == set(FIRST[key]['params_without_grad_or_zero'])


@pytest.mark.parametrize('prefix', ['', 'module.', 'module.module.'])
def test_converter_then_init_model(state, tmp_path, prefix, caplog):
    from openmsra.apis import init_model

    source, target = tmp_path / 'official.pth', tmp_path / 'ours.pth'
    torch.save(dict(state_dict={prefix + k: v for k, v in state.items()}, args=argparse.Namespace(lr=0.16)), source)
    convert(source, target)
    (config,) = ROOT.glob('configs/ckdn/ckdn_r50_*pipal.py')
    model = init_model(config, target)
    assert sum(p.numel() for p in model.parameters()) == 6_919_041
    inputs = dict(zip(('restored', 'degraded'), (torch.from_numpy(oracle_input((4, 3, 288, 288), i)[:1]) for i in (0, 1))))
    assert float(model(inputs, mode='tensor')) == pytest.approx(FIRST['scores'][0], rel=1e-5)


def test_converter_lists_wrong_keys_and_writes_nothing(state, tmp_path):
    wrong = {key: value for key, value in state.items() if key != 'csp.0.conv1.weight'} | {'extra': torch.ones(1)}
    torch.save(dict(state_dict=wrong), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'(?s)missing.*csp\.0\.conv1\.weight.*extra'):
        convert(tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert not (tmp_path / 'b.pth').exists()


def test_parameter_counts(state):
    model = filled(state)
    assert sum(p.numel() for p in model.parameters()) == 13_387_650
    assert list(model.state_dict()) and len(model.state_dict()) == 290
    model.prepare_inference()
    assert sum(p.numel() for p in model.parameters()) == 6_919_041


@torch.no_grad()
def test_multiply_adds():
    with torch.device('meta'):
        model, image = CKDN().eval(), torch.empty(1, 3, 288, 288)
        for run, expected in (
            (lambda: model.four_outputs(image, image, image, image), 10.309e9),
            (lambda: model.score_logits(image, image), 4.302e9),
        ):
            with FlopCounterMode(display=False) as counter:
                run()
            assert counter.get_total_flops() / 2 == pytest.approx(expected, rel=1e-4)


def test_alignment_alone_reaches_only_the_reference_branch():
    gradients = {}
    for detach in ('none', 'pristine', 'degraded'):
        model, inputs = tiny(detach=detach).eval(), batch()
        features = model.embed_restored(inputs['restored'])
        model._both_references(features, inputs['degraded'], inputs['pristine'])[2].sum().backward()
        touched = {name.partition('.')[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert touched == {'dte_1', 'dte_2'}
        gradients[detach] = model.dte_1.weight.grad
    torch.testing.assert_close(gradients['none'], gradients['pristine'] + gradients['degraded'])
    assert not torch.allclose(gradients['none'], gradients['pristine'])


@torch.no_grad()
def test_equal_branches_see_only_the_difference():
    model = tiny(equal_branches=True).eval()
    inputs = batch(3)
    scores = model(dict(restored=inputs['restored'], degraded=inputs['restored']))
    torch.testing.assert_close(scores, scores[:1].expand(3), rtol=0, atol=0)
    assert not torch.equal(model(inputs), model(dict(restored=inputs['degraded'], degraded=inputs['restored'])))
    first, second = model.embed_restored(inputs['restored']), model.embed_restored(inputs['other'])
    both_ways = sum(model.logits(gap, auxiliary=True).sigmoid() for gap in (first - second, second - first))
    assert (both_ways - 1).abs().max() > 1e-4  # unlike the Elo expectation, the pairwise output is not antisymmetric


@torch.no_grad()
def test_batch_independence_in_evaluation_and_joint_statistics_in_training():
    model, inputs = tiny().eval(), batch(3)
    alone = torch.cat([model({role: value[i : i + 1] for role, value in inputs.items()}) for i in range(3)])
    torch.testing.assert_close(model(inputs), alone, rtol=1e-5, atol=1e-6)
    model.train()
    joint = model.four_outputs(*(inputs[role] for role in ROLES))[:, 0]
    split = model.logits(model.embed_restored(inputs['restored']) - model.embed_reference(inputs['degraded'])).sigmoid()
    assert (joint - split).abs().max() > 1e-4


def test_thirty_steps_overfit_eight_pairs():
    torch.manual_seed(0)
    model, inputs = CKDN(dropout=0.0, distil=False, imagenet_weights=None), batch(8)
    model.init_weights()
    model.stage = 'score'
    labels = samples([0.1, 0.9, 0.3, 0.7, 0.2, 0.8, 0.4, 0.6], [0.5] * 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    losses = []
    for _ in range(30):
        loss = model.loss(inputs, labels)['loss_dr']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]


def test_loss_of_a_restoration_network_moves_the_restored_image_only():
    loss, inputs = CKDNLoss(tiny()), batch()
    restored, degraded = inputs['restored'].requires_grad_(), inputs['degraded'].requires_grad_()
    loss.train()
    assert not loss.metric.training
    loss(restored, degraded).backward()
    assert restored.grad.abs().sum() > 0
    assert degraded.grad is None
    assert all(parameter.grad is None for parameter in loss.metric.parameters())


@torch.no_grad()
def test_the_distance_of_the_references_is_symmetric_and_quadratic():
    model, inputs = tiny().eval(), batch()
    features = model.embed_restored(inputs['restored'])
    forward = model._both_references(features, inputs['degraded'], inputs['pristine'])[2]
    backward = model._both_references(features, inputs['pristine'], inputs['degraded'])[2]
    torch.testing.assert_close(forward, backward)
    expected = (model.embed_reference(inputs['degraded']) - model.embed_reference(inputs['pristine'])).square().mean((1, 2, 3))
    torch.testing.assert_close(forward, expected)
    model.embed_reference = lambda image, embed=model.embed_reference: 3 * embed(image)
    torch.testing.assert_close(model._both_references(features, inputs['degraded'], inputs['pristine'])[2], 9 * forward)


def test_unlabelled_pairs_take_part_in_the_alignment_only():
    model, inputs = tiny(), batch()
    model.eval()
    labels = samples([0.2, 0.6], [0.5, 0.5])
    plain = model.loss(inputs, labels)
    same = model.loss(dict(inputs, extra_degraded=inputs['pristine'], extra_pristine=inputs['pristine']), labels)
    for name in ('loss_dr', 'loss_fr', 'diff', 'diff_by_spread'):
        torch.testing.assert_close(same[name], plain[name])
    torch.testing.assert_close(same['loss_kd'], plain['loss_kd'] / 2)  # the pairs added have no distance
    swapped = dict(inputs, extra_degraded=inputs['pristine'], extra_pristine=inputs['degraded'])
    torch.testing.assert_close(model.loss(swapped, labels)['loss_kd'], plain['loss_kd'])
    with pytest.raises(ValueError, match='extra_pristine'):
        model.loss(dict(inputs, extra_degraded=inputs['pristine']), labels)


def test_the_spread_of_the_references_is_their_variance_over_the_batch():
    model, inputs = tiny().eval(), batch(4)
    features = model.embed_reference(inputs['pristine']).detach()
    expected = torch.stack([(f - features.mean(0)).square() for f in features]).mean()
    losses = model.loss(inputs, samples([0.2] * 4, [0.5] * 4))
    assert float(losses['diff_by_spread'] * expected) == pytest.approx(float(losses['diff']), rel=1e-4)


@torch.no_grad()
def test_the_local_scores_of_one_position_are_the_score():
    model, inputs = tiny().eval(), batch(2, 64)
    local = model.local_logits(inputs['restored'], inputs['degraded'])
    assert local.shape == (2, 8, 8)
    features = model.csp(model.embed_restored(inputs['restored']) - model.embed_reference(inputs['degraded']))
    torch.testing.assert_close(local[1, 3, 5], model.fc_(features[1, :, 3, 5]).squeeze())
    small = {role: image[..., :8, :8] for role, image in inputs.items()}  # one position is left of 8 x 8 pixels
    torch.testing.assert_close(
        model.local_logits(small['restored'], small['degraded']).flatten(),
        model.score_logits(small['restored'], small['degraded']),
    )


def resnet_weights(model: CKDN) -> dict[str, torch.Tensor]:
    """Weights of Q and C under the names that they have in a ResNet."""
    names = {'qse_1': 'conv1', 'qse_2': 'layer1', 'csp': 'layer2'}
    return {
        key.replace(part, name, 1): value
        for key, value in model.state_dict().items()
        for part, name in names.items()
        if key.startswith(f'{part}.')
    }


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_imagenet_weights_start_all_parts_and_lacking_ones_are_named(tmp_path, prefix):
    weights, file = resnet_weights(tiny()), tmp_path / 'resnet.pth'
    torch.save(dict(state_dict={prefix + key: value for key, value in weights.items()}), file)
    model = tiny(imagenet_weights=str(file))
    state = model.state_dict()
    for part, name in (('dte_1', 'conv1'), ('dte_2', 'layer1'), ('aux_csp', 'layer2')):
        keys = [key for key in weights if key.startswith(f'{name}.')]
        assert keys and all(torch.equal(state[key.replace(name, part, 1)], weights[key]) for key in keys)
    torch.save({key: value for key, value in weights.items() if key != 'layer2.0.conv1.weight'}, file)
    with pytest.raises(CheckpointError, match=r'csp.*0\.conv1\.weight'):
        model.init_weights()
    torch.save(resnet_weights(CKDN(depth=18, head_dim=16)), file)
    with pytest.raises(CheckpointError, match=r'conv1\.weight has the shape \(64, 3, 7, 7\), qse_1 of this model \(4, 3, 7, 7\)'):
        model.init_weights()


def test_the_file_of_the_official_code_counts_no_batches(tmp_path):
    """torchvision's first ResNet-50 is older than ``num_batches_tracked``."""
    weights = {key: value for key, value in resnet_weights(tiny()).items() if not key.endswith('num_batches_tracked')}
    torch.save(weights, tmp_path / 'resnet.pth')
    state = tiny(imagenet_weights=str(tmp_path / 'resnet.pth')).state_dict()
    assert torch.equal(state['dte_2.0.bn1.weight'], weights['layer1.0.bn1.weight'])
    assert state['dte_2.0.bn1.num_batches_tracked'] == 0


def test_the_plain_comparator_takes_the_branches_only(tmp_path):
    weights = resnet_weights(tiny())
    torch.save(weights, tmp_path / 'resnet.pth')
    state = tiny(comparator='plain', imagenet_weights=str(tmp_path / 'resnet.pth')).state_dict()
    assert torch.equal(state['dte_2.1.conv2.weight'], weights['layer1.1.conv2.weight'])


@pytest.mark.parametrize(
    'name, options', [('resnet50', {}), ('resnet34', dict(depth=34)), ('vgg16_bn', dict(backbone='vgg16_bn'))]
)
def test_without_imagenet_weights_nothing_trains(name, options, monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    message = rf'(?s)checkpoints/{name}-\w+\.pth.*models\.{name}\(weights=.*imagenet_weights=None'
    with pytest.raises(MissingFileError, match=message):
        CKDN(**options).init_weights()


def test_a_training_without_stages_is_refused():
    model = CKDN(depth=18, base_channels=4, head_dim=16, imagenet_weights=None)
    with pytest.raises(ConfigError, match='TwoStageHook'):
        model.loss(batch(), samples([0.2, 0.6], [0.5, 0.5]))


def test_a_collapse_is_named_once_an_epoch(caplog):
    hub = MessageHub('test_a_collapse')
    runner = SimpleNamespace(message_hub=hub, epoch=0, logger=logging.getLogger('ckdn'))
    watch = CollapseWatchHook(share=0.1)
    for epoch, spread in ((0, 2.0), (0, 0.21), (0, 0.19), (0, 0.1), (1, 0.1), (1, 2.0), (2, 19.0), (2, 21.0)):
        runner.epoch = epoch
        watch.after_train_iter(runner, 0, outputs=dict(spread=torch.tensor(spread), diff=torch.tensor(0.005)))
    watch.after_train_iter(runner, 0, outputs=dict(loss_rank=1.0))
    words = [re.search(r'T is (\w+).* is (\S+), (\S+) times', record.message).groups() for record in caplog.records]
    assert words == [('collapsing', '0.19', '0.095'), ('collapsing', '0.1', '0.05'), ('running', '21', '10.5')]
    again = CollapseWatchHook(share=0.1)  # of a resumed training
    again.after_train_iter(runner, 0, outputs=dict(spread=torch.tensor(0.1), diff=torch.tensor(0.005)))
    assert len(caplog.records) == 4


def test_branch_and_comparator_are_cut_out_of_other_networks(tmp_path):
    from torchvision import models

    torch.manual_seed(0)
    source = models.mobilenet_v3_small(weights=None)
    torch.save(source.state_dict(), tmp_path / 'mobilenet.pth')
    options = dict(backbone='mobilenet_v3_small', cuts=(2, 5), head_dim=16, dropout=0.0)
    model = CKDN(**options, imagenet_weights=str(tmp_path / 'mobilenet.pth'))
    model.init_weights()
    model.eval()
    inputs = batch(2, 64)
    features = [source.eval().features[:2](inputs[role]) for role in ('restored', 'degraded')]
    expected = model.fc_(source.features[2:5](features[0] - features[1]).mean(dim=(2, 3))).sigmoid().flatten()
    torch.testing.assert_close(model(inputs), expected)
    model.train()
    model.stage = 'score'
    losses = model.loss(inputs, samples([0.2, 0.8], [0.5, 0.5]))
    sum(value for name, value in losses.items() if name.startswith('loss')).backward()
    touched = {name.partition('.')[0] for name, p in model.named_parameters() if p.grad is not None}
    assert touched == {'qse_1', 'dte_1', 'csp', 'fc_'}
    expected = model.eval()(inputs)
    model.prepare_inference()
    model.fold_batch_norms()
    torch.testing.assert_close(model(inputs), expected, rtol=1e-4, atol=1e-5)
    for change, message in (
        (dict(backbone='mobilenet_v4'), 'Did you mean'),
        (dict(backbone='resnet50'), 'chosen by depth'),
        (dict(cuts=(5, 40)), 'within the 13 layers'),
    ):
        with pytest.raises(ValueError, match=message):
            CKDN(**dict(options, **change))


def test_the_four_outputs_need_both_references():
    with pytest.raises(ValueError, match='official_stages'):
        CKDN(official_stages=True, reference='none')


@torch.no_grad()
@pytest.mark.parametrize('comparator', ['residual', 'plain'])
def test_folded_batch_norms_score_the_same_and_cannot_be_trained(comparator):
    model, inputs = tiny(comparator=comparator), batch()
    with pytest.raises(RuntimeError, match='(?i)eval'):
        tiny().fold_batch_norms()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for value in (module.running_mean, module.running_var, module.weight, module.bias):
                value.copy_(torch.rand_like(value) + 0.5)
    model.eval()
    expected = model.score_logits(inputs['restored'], inputs['degraded'])
    model.prepare_inference()
    model.fold_batch_norms()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    torch.testing.assert_close(model.score_logits(inputs['restored'], inputs['degraded']), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(RuntimeError, match='load the checkpoint again'):
        model.train()


def test_scores_and_distances_of_mixed_precision_are_float32():
    model, inputs = tiny(), batch(4)
    with torch.autocast('cpu', torch.bfloat16):
        features = model.embed_restored(inputs['restored'])
        dr, fr, diff, spread = model._both_references(features, inputs['degraded'], inputs['pristine'])
        scores = model.eval()(inputs)
    assert features.dtype == torch.bfloat16
    for values in (dr, fr, diff, spread, scores):
        assert values.dtype == torch.float32
        assert not torch.equal(values, values.bfloat16().float())


def test_refused_inputs():
    with pytest.raises(ValueError, match='one of'):
        CKDN(reference='pristin')
    with pytest.raises(ValueError, match='lack'):
        tiny().eval()(dict(restored=torch.randn(1, 3, 32, 32)))


def test_checkpoint_with_an_unknown_object_is_refused(tmp_path, state):
    torch.save(dict(state_dict=state, args=argparse.Namespace(a=1)), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='refused'):
        load_weights(CKDN(), load_file(tmp_path / 'a.pth'), 'a.pth')
