"""Invariants of the model: what the query sees, where gradients go, and MoCo v2 as a special case."""

import numpy as np
import pytest
import torch

import openmsra.maskco  # noqa: F401 - registers the model
from openmsra.registry import MODELS

CONFIG = dict(
    type='MaskCo',
    backbone=dict(
        type='mmpretrain.ResNet_CIFAR',
        depth=18,
        base_channels=4,
        stem_channels=4,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
    ),
    neck=dict(type='mmpretrain.MoCoV2Neck', in_channels=16, hid_channels=16, out_channels=8, with_avg_pool=False),
    mph=dict(type='MaskPredictionHead', channels=16),
    queue_len=10,
    feat_dim=8,
)


def build(**options):
    torch.manual_seed(0)
    model = MODELS.build({**CONFIG, **options})
    model.init_weights()
    return model


def batch(count=4, negatives=2, regions=1):
    torch.manual_seed(1)
    corner = torch.rand(count, regions + negatives, 2) * 12
    boxes = torch.cat([corner, corner + 8 + 10 * torch.rand(count, regions + negatives, 2)], -1)
    views = [torch.randn(count, 3, 32, 32) for _ in range(2)]
    return views, dict(
        query=boxes[:, :regions].flip(0),
        key=boxes[:, :regions],
        negatives=boxes[:, regions:],
        valid=torch.ones(count, negatives, dtype=torch.bool),
        redraws=torch.zeros(count),
    )


def test_masked_pixels_cannot_leak():
    """What is under the mask changes the keys and not one bit of the queries."""
    model = build().eval()
    views, regions = batch()
    regions['query'] = regions['key']
    changed = [view.clone() for view in views]
    for i, box in enumerate(regions['query'][:, 0]):
        x1, y1, x2, y2 = (int(edge) for edge in (*box[:2].ceil(), *box[2:].floor()))
        for view in changed:
            view[i, :, y1:y2, x1:x2] += 3
    with torch.no_grad():
        before, after = (model.encode_queries(view[0], regions['query']) for view in (views, changed))
        keys = [model.encode_keys(view[1], regions)[0] for view in (views, changed)]
    assert torch.equal(before, after)
    assert (keys[0] - keys[1]).abs().amax((1, 2)).min() > 1e-4
    unmasked = build(mask=None).eval()
    with torch.no_grad():
        seen = [unmasked.encode_queries(view[0], regions['query']) for view in (views, changed)]
    assert (seen[0] - seen[1]).abs().max() > 1e-4


def test_head_starts_as_the_identity_and_equal_views_agree():
    model = build(mask=None).eval()
    views, regions = batch()
    features = model.backbone(views[0])[-1]
    assert torch.equal(model.mph(features), features)
    query = model.encode_queries(views[0], regions['key'])
    key = model.encode_keys(views[0], regions)[0]
    torch.testing.assert_close((query * key).sum(-1), torch.ones(4, 1))


def test_gradient_reaches_the_query_branch_only():
    model = build()
    losses = model.loss(*batch())
    losses['loss'].backward()
    assert all(p.grad is None and not p.requires_grad for p in model.encoder_k.parameters())
    assert not model.queue.requires_grad
    for weight in (model.backbone.conv1.weight, model.backbone.layer3[0].downsample[0].weight, model.neck.mlp[0].weight):
        assert weight.grad.abs().sum() > 0
    assert model.mph.blocks[-1].convs[-1].norm.weight.grad.abs().sum() > 0


def test_keys_are_queued_after_the_backward_pass():
    model = build()
    before = model.queue.clone()
    views, regions = batch()
    losses = model.loss(views, regions)
    assert torch.equal(model.queue, before)
    losses['loss'].backward()
    assert model.queue_ptr.item() == 4
    assert (model.queue[:, :4] != before[:, :4]).any(0).all()
    assert torch.equal(model.queue[:, 4:], before[:, 4:])
    torch.testing.assert_close(model.queue.norm(dim=0), torch.ones(10))


def test_moco_v2_is_the_special_case_and_equals_mmpretrain():
    """Without mask, head and regions: first loss and gradients of mmpretrain's MoCo v2 on the same weights."""
    ours = build(region='view', mask=None, mph=None)
    neck = {**CONFIG['neck'], 'with_avg_pool': True}
    head = dict(type='mmpretrain.ContrastiveHead', temperature=0.2, loss=dict(type='mmpretrain.CrossEntropyLoss'))
    theirs = MODELS.build(
        dict(
            type='mmpretrain.MoCo',
            backbone=CONFIG['backbone'],
            neck=neck,
            head=head,
            queue_len=12,
            feat_dim=8,
            data_preprocessor=dict(type='mmpretrain.SelfSupDataPreprocessor'),
        )
    )
    ours.queue = torch.nn.functional.normalize(torch.randn(8, 12), dim=0)
    for part in ('backbone', 'neck'):
        getattr(theirs, part).load_state_dict(getattr(ours, part).state_dict())
    theirs.queue.copy_(ours.queue)
    views, regions = batch()
    losses = ours.loss(views, regions)['loss'], theirs.loss(views, [])['loss']
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-6)
    for loss in losses:
        loss.backward()
    for name, parameter in theirs.backbone.named_parameters():
        torch.testing.assert_close(ours.backbone.get_parameter(name).grad, parameter.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.queue, theirs.queue, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    'options',
    [
        dict(mph_side='both', global_weight=1.0),
        dict(mph=None),
        dict(mask='learned'),
        dict(mask='blur'),
        dict(hardest=3),
        dict(mph=dict(type='MaskPredictionHead', channels=16, kernel=1)),
    ],
)
def test_options_train(options):
    model = build(**options)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    views, regions = batch(negatives=0)
    regions['query'] = regions['key']
    losses = []
    for _ in range(24):
        loss = model.loss([views[0], views[0]], regions)['loss']
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    # the loss rises until the queue holds nothing but keys of these images, then training brings it down
    assert np.isfinite(losses).all() and losses[-1] < 0.93 * losses[4], losses
    if options.get('mask') == 'learned':
        assert model.fill.abs().sum() > 0
    if options.get('mph_side') == 'both':
        assert len(model.encoder_k) == 4


def test_symmetric_loss_is_the_mean_of_both_directions():
    views, regions = batch()
    regions |= dict(query_negatives=regions['negatives'].flip(1) + 1, query_valid=regions['valid'])
    turned = dict(
        query=regions['key'],
        key=regions['query'],
        negatives=regions['query_negatives'],
        valid=regions['valid'],
        redraws=regions['redraws'],
    )
    model = build(symmetric=True)
    both = model.loss(views, regions)['loss']
    single = [build().loss(*pair)['loss'].item() for pair in ((views, regions), (views[::-1], turned))]
    assert both.item() == pytest.approx(np.mean(single), abs=1e-5)
    both.backward()
    assert model.queue_ptr.item() == 8
    with pytest.raises(ValueError, match='both_views=True'):
        build(symmetric=True).loss(*batch())


def test_global_term_is_moco_v2_beside_the_regions():
    """With no mask the view term equals the loss of MoCo v2 with the same weights and queue."""
    model, views, plain = (
        build(global_weight=0.5, mask=None, mph=None),
        build(region='view', mask=None, mph=None),
        build(mask=None, mph=None),
    )
    for other in (views, plain):
        other.load_state_dict(
            dict(other.state_dict(), **{name: value for name, value in model.state_dict().items() if name in other.state_dict()})
        )
    views.neck.load_state_dict(model.global_neck.state_dict())
    views.encoder_k[1].load_state_dict(model.encoder_k[-1].state_dict())
    views.queue.copy_(model.global_queue)
    losses = [net.loss(*batch())['loss'] for net in (model, plain, views)]
    assert losses[0].item() == pytest.approx(losses[1].item() + 0.5 * losses[2].item(), abs=1e-5)
    losses[0].backward()
    assert model.global_queue_ptr.item() == model.queue_ptr.item() == 4
    assert model.global_neck.mlp[0].weight.grad.abs().sum() > 0
    assert not torch.equal(model.global_queue, model.queue)


def test_similar_regions_of_the_image_can_be_left_out():
    views, regions = batch()
    regions['negatives'][:, 0] = regions['key'][:, 0]  # the positive itself
    kept, left_out = build(negative_similarity=0.999), build()
    figures = [model.loss(views, regions) for model in (kept, left_out)]
    assert figures[0]['same_image_similarity'] < figures[1]['same_image_similarity']
    regions['valid'][:, 0] = False
    assert figures[0]['loss'].item() == pytest.approx(build().loss(views, regions)['loss'].item(), abs=1e-6)


def test_several_regions_average_over_regions():
    """Without masks, which would hide both at once, the loss of two regions is the mean of the losses of each."""
    model = build(mask=None).eval()
    views, regions = batch(regions=2, negatives=0)
    with torch.no_grad():
        both = model.loss(views, regions)['loss']
        single = []
        for number in range(2):
            model.load_state_dict(build(mask=None).state_dict())
            one = dict(regions, query=regions['query'][:, number : number + 1], key=regions['key'][:, number : number + 1])
            single.append(float(model.loss(views, one)['loss']))
    assert float(both) == pytest.approx(np.mean(single), abs=1e-5)
    assert abs(single[0] - single[1]) > 1e-3


def test_parameter_counts_of_the_paper_sizes():
    model = MODELS.build(
        dict(
            type='MaskCo',
            backbone=dict(type='mmpretrain.ResNet', depth=50),
            neck=dict(type='mmpretrain.MoCoV2Neck', in_channels=2048, hid_channels=2048, out_channels=128, with_avg_pool=False),
            mph=dict(type='MaskPredictionHead', channels=2048),
            queue_len=16,
        )
    )
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert sizes['backbone'] == 23_508_032
    assert sizes['mph'] == 8_925_184
    assert sizes['neck'] == 4_458_624
    assert sizes['encoder_k'] == 27_966_656


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(region='patch'), "'box', 'view'"),
        (dict(mask_shape='star'), "'box', 'ellipse'"),
        (dict(mask='black'), 'image_mean'),
        (dict(mph=None, mph_side='both'), 'without a mask prediction head'),
        (dict(queue_len=0), 'positive'),
        (dict(momentum=0.001), 'share of the key encoder that is kept'),
        (dict(hardest=11), 'at most queue_len'),
        (dict(region='view', global_weight=1.0), "for region='box'"),
    ],
)
def test_options_that_contradict(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_random_state_is_numpys():
    from openmsra.maskco.data.transforms import TwoRegionViews

    image = np.random.default_rng(0).integers(0, 255, (80, 90, 3), np.uint8)
    runs = []
    for _ in range(2):
        np.random.seed(5)
        runs.append(TwoRegionViews()(dict(img=image)))
    np.testing.assert_array_equal(runs[0]['views'], runs[1]['views'])
    assert not np.array_equal(TwoRegionViews()(dict(img=image))['views'], runs[0]['views'])


def test_moco_v2_of_mmpretrain_is_converted(tmp_path):
    from openmsra.apis import init_model
    from openmsra.engine.checkpoint.io import save_file
    from openmsra.engine.config.files import load_config
    from openmsra.errors import CheckpointError
    from tools.model_converters.maskco_from_mmpretrain import main as convert

    config = 'configs/maskco/mocov2_r18-tiny_1xb64-24e_digits_mini.py'
    cfg = load_config(config).model
    head = dict(type='mmpretrain.ContrastiveHead', temperature=0.2, loss=dict(type='mmpretrain.CrossEntropyLoss'))
    theirs = MODELS.build(
        dict(
            type='mmpretrain.MoCo',
            backbone=cfg.backbone,
            neck=dict(cfg.neck, with_avg_pool=True),
            head=head,
            queue_len=1024,
            feat_dim=64,
            data_preprocessor=dict(type='mmpretrain.SelfSupDataPreprocessor'),
        )
    )
    torch.nn.init.normal_(theirs.encoder_k.module[1].mlp[0].weight)
    save_file(dict(state_dict=theirs.state_dict()), tmp_path / 'theirs.pth')
    convert([str(tmp_path / 'theirs.pth'), str(tmp_path / 'ours.pth'), '--config', config])
    ours = init_model(config, tmp_path / 'ours.pth')
    images = torch.randn(2, 3, 32, 32)
    theirs.eval()
    with torch.no_grad():
        assert torch.equal(ours(images)[-1], theirs.backbone(images)[-1])
        views = dict(key=torch.zeros(2, 1, 4), negatives=torch.zeros(2, 0, 4))
        key = torch.nn.functional.normalize(theirs.encoder_k(images)[0], dim=1)
        torch.testing.assert_close(ours.encode_keys(images, views)[0][:, 0], key, atol=1e-5, rtol=0)
    assert torch.equal(ours.queue, theirs.queue)
    with pytest.raises(CheckpointError, match='of another shape'):
        convert([str(tmp_path / 'theirs.pth'), str(tmp_path / 'no.pth')])
