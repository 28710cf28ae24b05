"""Both branches, tasks and heads against loops and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F

from openmsra.mcn.heads import COMBINATIONS, FeatureCombination, MetaHead, Projection
from openmsra.mcn.losses import contrast_in_batch, contrast_with_stored, same_video_loss
from openmsra.mcn.tasks import derangements, group_size, hardest_others, split_stages
from tests.references import mcn as reference


def unit(*shape):
    return F.normalize(torch.randn(*shape, dtype=torch.double), dim=-1)


@pytest.mark.parametrize('same_view', [True, False])
@pytest.mark.parametrize('n', [1, 2, 5])
def test_in_batch_equals_the_loop(n, same_view):
    torch.manual_seed(n)
    for _ in range(20):
        first, second = unit(n, 6), unit(n, 6)
        ours = contrast_in_batch(first, second, 0.2, same_view).item()
        assert ours == pytest.approx(reference.in_batch(first.numpy(), second.numpy(), 0.2, same_view), abs=1e-9)
        order = torch.randperm(n)
        assert contrast_in_batch(first[order], second[order], 0.2, same_view).item() == pytest.approx(ours, abs=1e-9)


def test_in_batch_closed_forms():
    same = torch.tensor([[1.0, 0.0]]).double().expand(4, 2)
    assert contrast_in_batch(same, same, 0.07).item() == pytest.approx(math.log(2 * 4 - 1))
    assert contrast_in_batch(same, same, 0.07, same_view=False).item() == pytest.approx(math.log(4))
    apart = torch.eye(4).double()
    e = math.exp(1 / 0.5)
    assert contrast_in_batch(apart, apart, 0.5, same_view=False).item() == pytest.approx(-math.log(e / (e + 3)))
    assert contrast_in_batch(apart, apart, 0.5).item() == pytest.approx(-math.log(e / (e + 6)))


def test_stored_negatives_equal_the_loop_and_leave_out_the_own_video():
    torch.manual_seed(0)
    queries, positives, stored, own = unit(3, 5), unit(3, 5), unit(7, 5), torch.rand(3, 7) < 0.3
    slow = (
        sum(
            reference.info_nce(
                queries[i].numpy(), positives[i].numpy(), [stored[j].numpy() for j in range(7) if not own[i, j]], 0.1
            )
            for i in range(3)
        )
        / 3
    )
    assert contrast_with_stored(queries, positives, stored.T, own, 0.1).item() == pytest.approx(slow, abs=1e-9)
    equal = unit(1, 5).expand(3, 5)
    nobody = torch.zeros(3, 7, dtype=torch.bool)
    loss = contrast_with_stored(equal, equal, equal[:1].expand(7, 5).T, nobody, 0.1)
    assert loss.item() == pytest.approx(math.log(1 + 7))


def test_pair_loss():
    loss, accuracy = same_video_loss(torch.zeros(5), torch.zeros(5))
    assert loss.item() == pytest.approx(math.log(2))
    loss, accuracy = same_video_loss(torch.tensor([2.0, -1.0]), torch.tensor([-3.0]))
    by_hand = ((math.log1p(math.exp(-2)) + math.log1p(math.exp(1))) / 2 + math.log1p(math.exp(-3))) / 2
    assert loss.item() == pytest.approx(by_hand)
    assert accuracy.item() == pytest.approx(0.75)


@pytest.mark.parametrize('size', [2, 3, 17, 64])
def test_derangements_pair_every_video_once_and_never_with_itself(size):
    for seed in range(10):
        others = derangements(5, size, torch.Generator().manual_seed(seed))
        assert (others.sort(1).values == torch.arange(size)).all()
        assert (others != torch.arange(size)).all()
    with pytest.raises(ValueError, match='at least 2'):
        derangements(5, 1)


def test_hardest_other_is_never_the_own_video():
    torch.manual_seed(0)
    first, second = unit(6, 4), unit(6, 4)
    for i, j in enumerate(hardest_others(first, second).tolist()):
        assert j == max((k for k in range(6) if k != i), key=lambda k: float(first[i] @ second[k]))  # noqa: B023


def test_stages_hold_the_right_clips():
    clips = torch.arange(12)[:, None] * 10 + torch.arange(4)  # video v, clip c: 10 v + c
    support, query = split_stages(clips, 3, 'same')
    assert support.shape == (3, 2, 4)
    assert support[1].tolist() == [[40, 50, 60, 70], [41, 51, 61, 71]]
    assert query[1].tolist() == [[42, 52, 62, 72], [43, 53, 63, 73]]
    support, query = split_stages(clips[:, :2], 3, 'disjoint')
    assert support[1].tolist() == [[40, 50], [41, 51]]
    assert query[1].tolist() == [[60, 70], [61, 71]]
    with pytest.raises(ValueError, match='needs 4 clips'):
        split_stages(clips[:, :2], 3, 'same')


@pytest.mark.parametrize('videos, tasks, kind', [(1, 1, 'same'), (4, 4, 'same'), (7, 2, 'same'), (2, 1, 'disjoint')])
def test_one_video_in_a_task_is_an_error(videos, tasks, kind):
    with pytest.raises(ValueError, match='cannot form'):
        group_size(videos, tasks, kind)


@pytest.mark.parametrize('kind', COMBINATIONS)
def test_combinations(kind):
    torch.manual_seed(0)
    a, b = torch.randn(3, 4), torch.randn(3, 4)
    combine = FeatureCombination(4, kind)
    pair = combine(a, b)
    assert pair.shape == (3, combine.out_channels)
    if kind == 'gated':
        weight = torch.sigmoid(torch.cat([a, b], 1) @ combine.gate.weight.T + combine.gate.bias)
        expected = torch.cat([weight * a + (1 - weight) * b, (a - b).abs()], 1)
    else:
        products = torch.cat([(a - b).abs(), a * b], 1)
        expected = {'absdiff_prod': products, 'concat': torch.cat([a, b], 1), 'mean': (a + b) / 2}[kind]
    torch.testing.assert_close(pair, expected)
    assert torch.allclose(pair, combine(b, a)) == combine.symmetric


@pytest.mark.parametrize('kind', COMBINATIONS)
def test_meta_head_is_symmetric_scale_free_and_starts_at_log_2(kind):
    torch.manual_seed(0)
    head, features = MetaHead(6, 4, kind, hidden=5), torch.randn(2, 3, 6)
    a, b = (head.embed(x) for x in features)
    assert same_video_loss(head.score(a, b), head.score(a, b[[1, 2, 0]]))[0].item() == pytest.approx(math.log(2))
    torch.nn.init.normal_(head.classifier[-1].weight)
    torch.testing.assert_close(head.score(a, b), head.score(b, a))
    torch.testing.assert_close(head.embed(7 * features[0]), a)


def test_concat_with_a_linear_classifier_is_refused():
    with pytest.raises(ValueError, match='cannot tell pairs apart'):
        MetaHead(6, 4, 'concat')


def test_projection_kinds():
    assert [type(layer).__name__ for layer in Projection(6, 4)] == ['Linear', 'ReLU', 'Linear']
    assert [type(layer).__name__ for layer in Projection(6, 4, 'linear')] == ['Linear']
    with pytest.raises(ValueError, match='cubic'):
        Projection(6, 4, 'cubic')
