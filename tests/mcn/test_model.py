"""The model: baselines, scopes, statistics, negatives, bad input; two processes equal one."""

import copy
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement

import openmsra.mcn  # noqa: F401 - registers the model
from benchmarks.mcn_memory import CONFIGS, GIB, step_bytes
from openmsra.errors import NonFiniteLossError
from openmsra.mcn.hooks import AdaptationWatch
from openmsra.mcn.negatives import KeyQueue, MemoryBank
from openmsra.registry import MODELS
from tests.dist.gloo import run_on_processes
from tests.reliability import runs

TINY = dict(type='TinyVideoNet', widths=(4, 8), strides=((1, 2, 2), (2, 2, 2)), norm_cfg=dict(type='GN', num_groups=2))
BN = dict(TINY, norm_cfg=dict(type='BN3d'))
INNER = dict(rate=0.1)
INSTANT = Path(__file__).parents[2] / 'configs/mcn/mcn_tiny_1xb16-2e_motions_instant.py'


def build(**options):
    torch.manual_seed(0)
    config = dict(type='MCN', backbone=TINY, projection=dict(out_channels=6), meta_head=dict(channels=5), inner=INNER)
    model = MODELS.build(copy.deepcopy({**config, **options}))
    if model.meta_head is not None:
        torch.nn.init.normal_(model.meta_head.classifier[-1].weight, std=0.1)
    return model.train()


def batch(videos=8, clips=4, seed=1):
    samples = [BaseDataElement(video_id=number, gt_label=number % 3) for number in range(videos)]
    return torch.randn(videos, clips, 3, 4, 8, 8, generator=torch.Generator().manual_seed(seed)), samples


def step(model, videos=8, clips=4, seed=1):
    """Losses and the gradients of one iteration."""
    torch.manual_seed(seed)
    model.zero_grad()
    out = model.loss(*batch(videos, clips, seed))
    out['loss'].backward()
    return out, {name: value.grad.clone() for name, value in model.trained_parameters().items()}


def test_inner_rate_0_is_the_joint_baseline():
    joint, still = build(inner=None), build(inner=dict(rate=0.0))
    (one, gradients), (other, theirs) = step(joint), step(still)
    torch.testing.assert_close(one['loss'], other['loss'])
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, theirs[name], msg=name)


def test_stages_keep_the_order_of_the_sampler_on_request():
    """With 'disjoint' the first half of the videos is support, the second query; else they are dealt anew every time."""
    inputs, ids = torch.randn(8, 2, 3, 4, 8, 8), torch.arange(8)
    kept = build(query_videos='disjoint', shuffle_videos=False)
    support, query = kept._stages(inputs, ids)
    assert support['ids'].tolist() == [[[0, 1, 2, 3]] * 2] and query['ids'].tolist() == [[[4, 5, 6, 7]] * 2]
    torch.testing.assert_close(support['clips'][0], inputs[:4].transpose(0, 1))
    dealt = build(query_videos='disjoint')
    assert {tuple(dealt._stages(inputs, ids)[0]['ids'].flatten().tolist()) for _ in range(5)} != {(0, 1, 2, 3) * 2}


def test_contrastive_baseline_has_no_meta_branch():
    model = build(inner=None, meta_head=None)
    out, _ = step(model)
    torch.testing.assert_close(out['loss'], 2 * out['contrast'])
    assert not any(name.startswith('meta_head') for name in model.state_dict())


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(tasks=4),
        dict(query_videos='disjoint'),
        dict(tasks=2, inner=dict(rate=0.1, wise='batch')),
        dict(hard_pairs=True),
        dict(same_view=False),
        dict(inner=dict(rate=0.1, order='first', steps=2)),
        dict(negatives=dict(kind='queue', length=7)),
        dict(tasks=2, negatives=dict(kind='bank', capacity=9)),
        dict(backbone=BN, tasks=2),
    ],
)
def test_every_mode_steps_and_changes_nothing_but_its_state(options):
    model = build(**options)
    before = copy.deepcopy(model.state_dict())
    clips = 2 if options.get('query_videos') == 'disjoint' else 4
    out, gradients = step(model, clips=clips)
    assert all(torch.isfinite(value).all() for value in out.values())
    assert all(gradient.abs().max() > 0 for gradient in gradients.values())
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    state = ('iteration', 'negatives.', 'running_', 'num_batches_tracked')
    assert all(any(part in name for part in state) for name in changed), changed


def test_statistics_are_those_of_the_support_clips_at_theta_and_move_once():
    model = build(backbone=BN, tasks=2)
    still = build(backbone=BN, tasks=2, inner=None)
    step(model)
    step(still)
    for name, value in model.named_buffers():
        torch.testing.assert_close(value, dict(still.named_buffers())[name], msg=name)
    assert model.backbone.layers[0].bn.num_batches_tracked == 1
    reference = build(backbone=BN)
    torch.manual_seed(1)
    order = torch.randperm(8)
    clips = batch()[0][order]
    layer = reference.backbone.layers[0]
    moved = []
    for task in range(2):  # running statistics move by the mean over tasks
        layer.bn.reset_running_stats()
        layer(clips[4 * task : 4 * task + 4, :2].movedim(1, 0).flatten(0, 1))
        moved.append(layer.bn.running_var.clone())
    torch.testing.assert_close(model.backbone.layers[0].bn.running_var, sum(moved) / 2)


@pytest.mark.parametrize('scope, still', [('heads', 'backbone'), ('last', 'backbone.layers.0'), (['^projection'], 'meta_head')])
def test_scopes(scope, still):
    model = build(inner=dict(rate=0.1, scope=scope))
    adapted = model.inner.adapted
    assert adapted and not any(name.startswith(still) for name in adapted)
    _, gradients = step(model)
    assert all(gradient.abs().max() > 0 for gradient in gradients.values())  # the others still get the outer gradient


def test_scope_that_matches_nothing_is_named():
    with pytest.raises(ValueError, match=r"'backbone\.layer9' matches no parameter.*backbone\.layers"):
        build(inner=dict(rate=0.1, scope='backbone.layer9'))


def test_labels_are_not_read():
    model, other = build(), build()
    clips, samples = batch()
    torch.manual_seed(0)
    one = model.loss(clips, samples)['loss']
    for sample in samples:
        sample.gt_label = 99
    torch.manual_seed(0)
    assert torch.equal(one, other.loss(clips, samples)['loss'])


def test_warm_up_is_contrastive_alone():
    model = build(warmup_iters=1)
    out, gradients = step(model)
    torch.testing.assert_close(out['loss'], 2 * out['contrast'])
    assert gradients['meta_head.fc.weight'].abs().max() == 0
    assert step(model)[1]['meta_head.fc.weight'].abs().max() > 0


@pytest.mark.parametrize(
    'options',
    [
        dict(backbone=BN),
        dict(backbone=BN, tasks=2),
        dict(inner=dict(rate=0.1, steps=2), tasks=2),
        dict(backbone=BN, inner=dict(rate=0.1, order='first')),
        dict(backbone=BN, inner=dict(rate=0.1, scope='last')),
        dict(backbone=BN, inner=None),
        dict(backbone=BN, tasks=2, inner=dict(rate=0.1, wise='batch')),
        dict(backbone=BN, negatives=dict(kind='queue', length=7)),
        dict(backbone=dict(type='VideoResNet', kind='r2plus1d', blocks=(1, 1, 1, 1))),
        dict(backbone=dict(type='S3D')),
    ],
)
def test_recomputed_activations_change_neither_gradients_nor_statistics(options):
    options = dict(dict(backbone=TINY, gain_interval=10**6), **options)
    kept = build(**options).double()
    again = build(**{**options, 'backbone': dict(options['backbone'], recompute=True)}).double()
    again.load_state_dict(kept.state_dict())
    results = []
    for model in (kept, again):
        model.iteration += 1  # no gain
        tiny = options['backbone']['type'] == 'TinyVideoNet'
        clips, samples = batch(4 if tiny else 2, 4)
        shape = (4, 8, 8) if tiny else (8, 32, 32)
        clips = torch.nn.functional.interpolate(clips.flatten(0, 1), shape).unflatten(0, (-1, 4)).double()
        torch.manual_seed(3)
        out = model.loss(clips, samples)
        out['loss'].backward()
        results.append((out['loss'], model.trained_parameters(), dict(model.named_buffers())))
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-12, rtol=1e-10)
    # batch norm over four values makes 1e-9 of the largest gradient from 1e-15 of the clips
    largest = max(float(parameter.grad.abs().max()) for parameter in results[0][1].values())
    for name, parameter in results[0][1].items():
        torch.testing.assert_close(parameter.grad, results[1][1][name].grad, atol=1e-8 * largest, rtol=1e-7, msg=name)
    for name, value in results[0][2].items():
        torch.testing.assert_close(value, results[1][2][name], atol=1e-10, rtol=1e-8, msg=name)


def test_recomputed_activations_under_bfloat16():
    gradients = []
    for recompute in (False, True):
        model = build(backbone=dict(BN, recompute=recompute))
        torch.manual_seed(3)
        with torch.autocast('cpu', torch.bfloat16):
            out = model.loss(*batch())
        out['loss'].backward()
        gradients.append({name: value.grad for name, value in model.trained_parameters().items()})
    for name, gradient in gradients[0].items():
        assert (gradient - gradients[1][name]).norm() < 0.02 * gradient.norm(), name


def test_recomputing_makes_a_recipe_fit():
    config = CONFIGS / 'mcn_r3d-18_8xb8-300e_ucf101.py'
    kept, again = step_bytes(config, {'model.backbone.recompute': False}), step_bytes(config)
    assert again < 0.75 * kept and again < 8 * GIB


@pytest.mark.reliability
@pytest.mark.parametrize('data, memory', [('ucf101', 24), ('k400', 80)])
@pytest.mark.parametrize('encoder', ['r3d-18', 'r2plus1d-18', 's3d'])
def test_every_recipe_fits_its_gpu_with_a_margin(encoder, data, memory):
    (config,) = CONFIGS.glob(f'mcn_{encoder}_*_{data}.py')
    assert step_bytes(config) < 0.6 * memory * GIB


def test_queue_is_fed_after_the_loss_and_the_key_encoder_follows():
    model = build(negatives=dict(kind='queue', length=40, momentum=0.5))
    model.init_weights()
    untouched = model.negatives.vectors.clone()
    step(model)
    written = (model.negatives.vectors != untouched).any(0)
    assert written[:32].all() and not written[32:].any()  # 8 videos with 4 clips
    assert sorted(model.negatives.ids[0, :32].tolist()) == sorted(list(range(8)) * 4)
    assert all(parameter.grad is None for parameter in model.encoder_k.parameters())
    with torch.no_grad():
        model.backbone.layers[0].conv.weight.add_(1)
    gap = model.backbone.layers[0].conv.weight - model.encoder_k[0].layers[0].conv.weight
    step(model)
    torch.testing.assert_close(model.backbone.layers[0].conv.weight - model.encoder_k[0].layers[0].conv.weight, gap / 2)


def _keys(rank: int, world_size: int) -> np.ndarray:
    model = build(backbone=BN, negatives=dict(kind='queue', length=7))
    torch.manual_seed(rank)
    return model._keys(batch(4)[0][2 * rank : 2 * rank + 2]).numpy()


def test_keys_of_two_devices_are_shuffled_for_batch_norm():
    """The vectors of the momentum encoder whose BatchNorm sees the clips of both devices mixed, in their places."""
    model, clips = build(backbone=BN, negatives=dict(kind='queue', length=7)), batch(4)[0].flatten(0, 1)
    torch.manual_seed(0)
    order = torch.randperm(16)
    expected = torch.zeros(16, 6)
    with torch.no_grad():
        for share in order.view(2, 8):
            expected[share] = torch.nn.functional.normalize(model.encoder_k[1](model.encoder_k[0](clips[share]).mean((2, 3, 4))))
    found = np.concatenate(run_on_processes(_keys, 2)).reshape(16, 6)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_queue_and_bank_alone():
    queue = KeyQueue(2, 5)
    for start in (0, 2, 4):
        queue.update(torch.tensor([start, start + 1]), torch.full((2, 1, 2), float(start)))
    assert queue.ids[0].tolist() == [5, 1, 2, 3, 4]
    assert queue.vectors[0].tolist() == [4, 0, 2, 2, 4]
    bank = MemoryBank(2, 3, momentum=0.5)
    bank.update(torch.tensor([70, 71]), torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
    again = MemoryBank(2, 3, momentum=0.0)
    again.load_state_dict(bank.state_dict())
    again.update(torch.tensor([72, 70]), torch.tensor([[[0.0, -1.0]], [[-1.0, 0.0]]]))  # grown and reordered
    assert again.ids.tolist() == [70, 71, 72] and again.known == 3
    rows = torch.stack([torch.tensor([-1.0, 0]), bank.vectors[:, 1], torch.tensor([0, -1.0])])
    torch.testing.assert_close(again.vectors.T, rows)
    with pytest.raises(ValueError, match='capacity above its 3 rows'):
        again.update(torch.tensor([73]), torch.ones(1, 1, 2))
    assert MemoryBank(2, 9, draws=4).stored()[0].shape == (2, 4)


@pytest.mark.parametrize(
    'options, word',
    [
        (dict(query_videos='other'), 'query_videos'),
        (dict(temperature=0.0), 'temperature'),
        (dict(negatives=dict(kind='none')), 'kind'),
        (dict(negatives=dict(kind='batch', length=3)), 'no further options'),
        (dict(negatives=dict(kind='queue', length=0)), 'at least 1'),
    ],
)
def test_options_that_cannot_be(options, word):
    with pytest.raises(ValueError, match=word):
        build(**options)


def test_float16_and_sync_bn_are_refused():
    model = build()
    with torch.autocast('cpu', torch.float16), pytest.raises(ValueError, match='float16.*bfloat16'):
        model.loss(*batch())
    model.backbone.layers[0].bn = torch.nn.SyncBatchNorm(4)
    with pytest.raises(ValueError, match='SyncBN cannot be differentiated twice'):
        model.loss(*batch())


def test_bfloat16_steps():
    model = build()
    torch.manual_seed(1)
    with torch.autocast('cpu', torch.bfloat16):
        out = model.loss(*batch())
    out['loss'].backward()
    torch.manual_seed(1)
    exact = build().loss(*batch())['loss']
    assert out['loss'].dtype == torch.float32 and out['loss'].item() == pytest.approx(exact.item(), rel=0.02)
    assert all(value.grad.isfinite().all() for value in model.trained_parameters().values())


def test_overfits_and_adapting_pays():
    model = build(inner=dict(rate=0.05), tasks=1, gain_interval=1)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    gains = []
    for _ in range(80):
        out, _ = step(model)
        optimiser.step()
        gains.append(float(out['gain']))
    assert float(out['contrast']) < 0.3
    assert sum(gains) / len(gains) > 0


@pytest.mark.parametrize('parts, warned', [((3, 5), True), ((3, 8), False)])
def test_watch_counts_the_clips_of_all_data_sets(parts, warned):
    """A queue of 17 keys, videos of two clips in two lists."""
    runner, lists = MagicMock(world_size=2), []
    for videos in parts:
        lists.append(MagicMock(clips=2, **{'__len__.return_value': videos}))
    runner.train_dataloader.dataset = SimpleNamespace(datasets=lists)
    runner.model = build(inner=None, negatives=dict(kind='queue', length=17))
    AdaptationWatch().before_train(runner)
    assert runner.logger.warning.called == warned


def test_inner_step_that_diverges_ends_the_run_on_all_processes_and_is_named(tmp_path):
    """Of two processes one alone diverges."""
    for answer in run_on_processes(_diverging, 2, tmp_path):
        assert 'loss is nan on process 1' in answer['error'] and 'on process 0' not in answer['error']
        assert 'the inner step diverges: the loss is ' in answer['error'] and 'lower model.inner.rate' in answer['error']
        assert not answer['stepped']


def _diverging(rank: int, world_size: int, folder) -> dict:
    cfg = runs.short_config(INSTANT, folder, batches=2, epochs=1)
    cfg.model.inner.rate = 1e38 if rank else 1e-3
    runner, error = runs.build(cfg), ''
    try:
        runner.train()
    except NonFiniteLossError as raised:
        error = str(raised)
    return dict(error=error, stepped=bool(runner.optim_wrapper.optimizer.state))  # momentum, from the first step on


def test_watch_names_an_inner_rate_that_harms():
    runner, watch = MagicMock(), AdaptationWatch(patience=3)
    for gain in (-1.0, -1.0, 0.5, -1.0, -1.0):
        watch.after_train_iter(runner, 0, None, dict(gain=torch.tensor(gain)))
    runner.logger.warning.assert_not_called()
    watch.after_train_iter(runner, 0, None, dict(gain=torch.tensor(-0.25)))
    assert 'worse 3 measurements in a row (now by 0.25)' in runner.logger.warning.call_args[0][0]


def _both_kinds(rank: int, world_size: int) -> list[dict[str, np.ndarray]]:
    return [_gradients(rank, world_size, kind) for kind in ('batch', 'queue')]


def _gradients(rank: int, world_size: int, kind: str) -> dict[str, np.ndarray]:
    """Gradients of 4 tasks in all, and what was stored, on ``world_size`` processes."""
    from mmengine.model import MMDistributedDataParallel

    negatives = dict(kind=kind, length=24) if kind == 'queue' else dict(kind=kind)
    model = build(tasks=4 // world_size, negatives=negatives, gain_interval=10**6).double()
    model.iteration += 1
    ddp = MMDistributedDataParallel(model, broadcast_buffers=False)
    clips, samples = batch(8)
    share = 8 // world_size
    mine = slice(rank * share, (rank + 1) * share)
    torch.randperm = lambda count, **_: torch.arange(count)  # groups in the order of the list
    torch.manual_seed(0)
    ddp(clips[mine].double(), samples[mine], mode='loss')['loss'].backward()
    stored = dict(model.negatives.named_buffers()) if kind == 'queue' else {}
    stored |= {name: value.grad for name, value in model.trained_parameters().items()}
    return {name: value.numpy() for name, value in stored.items()}


def test_two_processes_equal_one():
    """Two videos a task, so that the only derangement is the exchange and no draw can differ."""
    (single,) = run_on_processes(_both_kinds, 1)
    first, second = run_on_processes(_both_kinds, 2)
    for one, left, right in zip(single, first, second, strict=True):
        for name, value in one.items():
            assert np.array_equal(left[name], right[name]), name
            if name not in ('vectors', 'ids'):
                np.testing.assert_allclose(left[name], value, atol=1e-10, rtol=1e-6, err_msg=name)
            else:  # support keys of all processes come before query keys of all processes
                np.testing.assert_allclose(np.sort(left[name]), np.sort(value), atol=1e-10)
