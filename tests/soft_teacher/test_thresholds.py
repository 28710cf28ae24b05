"""Thresholds by class against counting one by one, and in the whole step."""

import copy

import pytest
import torch
from mmengine.structures import InstanceData

from openmsra.engine.checkpoint.io import load_weights
from openmsra.soft_teacher.extensions.class_thresholds import BINS, ClassThresholds
from openmsra.soft_teacher.hooks import plain_detector
from openmsra.soft_teacher.settings import read_settings


def _found(labels: list[int], scores: list[float]) -> InstanceData:
    return InstanceData(labels=torch.tensor(labels, dtype=torch.long), scores=torch.tensor(scores))


def test_means_and_thresholds_by_hand():
    thresholds = ClassThresholds(3, share=0.5, momentum=0.9)
    thresholds.see_labels([_found([0, 0, 1], [1.0] * 3), _found([0], [1.0])])
    assert thresholds.objects.tolist() == [1.5, 0.5, 0]
    thresholds.see_labels([_found([0], [1.0])])
    assert thresholds.objects.tolist() == [1.25, 0.25, 0], 'the plain mean of both batches'
    thresholds.see_candidates([_found([0, 0, 1], [0.4, 0.6025, 0.6025]), _found([0, 2], [0.8025, 1.0])])
    # 0.625, 0.125 and 0 per image are wanted; from 0.6025 on class 0 has 1 per image, from 0.8025 on 0.5
    assert thresholds.values().tolist() == pytest.approx([0.605, 0.605, 1.0])


@pytest.mark.parametrize('share', [0.3, 1.0])
def test_thresholds_against_counting(share):
    classes, images = 4, 6
    generator = torch.Generator().manual_seed(1)
    truth = [torch.randint(0, classes, (3,), generator=generator) for _ in range(images)]
    found = [
        _found(torch.randint(0, classes, (12,), generator=generator).tolist(), torch.rand(12, generator=generator).tolist())
        for _ in range(images)
    ]
    thresholds = ClassThresholds(classes, share, momentum=1.0)
    for k in range(0, images, 2):
        thresholds.see_labels([InstanceData(labels=own) for own in truth[k : k + 2]])
        thresholds.see_candidates(found[k : k + 2])
    for label, value in enumerate(thresholds.values().tolist()):
        wanted = share * sum((own == label).sum().item() for own in truth)
        scores = torch.cat([own.scores[own.labels == label] for own in found]).tolist()
        assert sum(score >= value for score in scores) <= wanted + 1e-4, 'no more boxes than objects are expected'
        one_bin_lower = sum(score >= value - 1 / BINS for score in scores)
        assert value == 0 or one_bin_lower > wanted - 1e-4, 'and no threshold higher than needed'


def test_a_class_below_the_fixed_score_is_taught(build, batch):
    """Fixed at 1 nothing passes; by class some candidates do, none below the first threshold, and the state is saved."""
    model = build(rpn_pseudo_thr=1.0, cls_pseudo_thr=1.0, class_thresholds='prior', prior_share=10.0)
    losses = model.loss(*copy.deepcopy(batch))
    assert losses['unsup_boxes_cls'] > 0 and losses['unsup_boxes_cls'] == losses['unsup_boxes_rpn']
    assert model.class_thresholds.objects.tolist() == [0.5, 0.5, 0.5] and model.class_thresholds.updates.tolist() == [1, 1]
    by_class = model.class_thresholds.values()
    for own, chosen in zip(model.pseudo_labels.instances, model.unsup_branch.select_for_cls(model.pseudo_labels), strict=True):
        kept = [score for score, label in zip(own.scores.tolist(), own.labels.tolist()) if score > by_class[label]]
        assert chosen.scores.tolist() == kept
    other = build(seed=1, class_thresholds='prior', prior_share=10.0)
    load_weights(other, model.state_dict(), 'prior.pth')
    assert torch.equal(other.class_thresholds.values(), by_class)
    load_weights(other, plain_detector(build(seed=2).state_dict()), 'plain.pth')


def test_thresholds_only_become_lower(build, batch):
    """So few candidates that the prior alone would raise them: the fixed score stays the ceiling."""
    found = []
    for settings in (dict(), dict(class_thresholds='prior', prior_share=1e-6)):
        torch.manual_seed(3)
        found.append(build(**settings).loss(*copy.deepcopy(batch))['unsup_boxes_cls'].item())
    assert found[0] == found[1] > 0


def test_share_is_checked():
    with pytest.raises(ValueError, match='prior_share=0'):
        read_settings(dict(prior_share=0))
