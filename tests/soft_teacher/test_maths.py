"""Geometry, jitter and soft weights: against loops over single numbers and the numbers of the paper's code."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from openmsra.soft_teacher.geometry import project_boxes, view_to_view, wide_enough
from openmsra.soft_teacher.losses import background_weights, box_uncertainty, jitter_boxes, soft_cls_loss
from tests.references import soft_teacher as reference

SCALE_2 = np.diag([2.0, 2, 1])
STRONG = np.array([[-1.0, 0, 150], [0, 1, 0], [0, 0, 1]]) @ np.diag([1.5, 1.5, 1])


def _random_matrix(rng: np.random.Generator) -> np.ndarray:
    matrix = np.eye(3) + rng.normal(size=(3, 3)) * [[0.3, 0.3, 20], [0.3, 0.3, 20], [1e-4, 1e-4, 0]]
    return matrix


def _random_boxes(rng: np.random.Generator, count: int) -> torch.Tensor:
    corner = rng.uniform(0, 80, (count, 2))
    return torch.from_numpy(np.hstack([corner, corner + rng.uniform(0.2, 60, (count, 2))])).float()


def test_weak_to_strong_and_back():
    weak = project_boxes(torch.tensor([[10.0, 20, 30, 60]]), torch.from_numpy(SCALE_2))
    assert weak.tolist() == [[20, 40, 60, 120]]
    strong = project_boxes(weak, view_to_view(SCALE_2, STRONG), (120, 150))
    assert strong.tolist() == [[105, 30, 135, 90]]
    torch.testing.assert_close(project_boxes(strong, view_to_view(STRONG, SCALE_2)), weak, atol=1e-3, rtol=0)


@pytest.mark.parametrize('count', [0, 1, 17])
@pytest.mark.parametrize('shape', [None, (60, 90)])
def test_projection_equals_the_loop(count, shape):
    rng = np.random.default_rng(count)
    boxes, source, target = _random_boxes(rng, count), _random_matrix(rng), _random_matrix(rng)
    matrix = view_to_view(source, target)
    expected = [reference.project_box(box, (target @ np.linalg.inv(source)).tolist(), shape) for box in boxes.tolist()]
    got = project_boxes(boxes, matrix, shape)
    torch.testing.assert_close(got, torch.tensor(expected).reshape(-1, 4), atol=2e-4, rtol=1e-5)


def test_rotation_is_a_hull_and_no_round_trip():
    c = np.sqrt(0.5)
    turn = np.array([[c, -c, 0], [c, c, 0], [0, 0, 1]])
    square = torch.tensor([[0.0, 0, 10, 10]])
    turned = project_boxes(square, view_to_view(np.eye(3), turn))
    assert (turned[0, 2] - turned[0, 0]).item() == pytest.approx(14.1421, abs=1e-3)
    back = project_boxes(turned, view_to_view(turn, np.eye(3)))[0]
    assert (back[2] - back[0]).item() == pytest.approx(20, abs=1e-3)
    assert (back[:2] <= 0).all() and (back[2:] >= 10).all()


def test_autocast_changes_no_bit():
    rng = np.random.default_rng(1)
    boxes, matrix = _random_boxes(rng, 9) * 12, view_to_view(_random_matrix(rng), _random_matrix(rng))
    with torch.autocast('cpu', torch.bfloat16):
        half = project_boxes(boxes, matrix, (800, 1216))
    assert torch.equal(half, project_boxes(boxes, matrix, (800, 1216)))


def test_singular_view_is_named():
    with pytest.raises(ValueError, match='singular'):
        view_to_view(np.zeros((3, 3)), np.eye(3))


def test_boxes_out_of_the_view_are_degenerate():
    outside = project_boxes(torch.tensor([[200.0, 5, 260, 20], [5, 5, 20, 30]]), torch.eye(3), (100, 100))
    assert wide_enough(outside, (0.01, 0.01)).tolist() == [False, True]


@pytest.mark.parametrize('norm, value', [('axis', 0.0707107), ('mean_side', 0.0471405)])
def test_uncertainty_of_two_refinements(norm, value):
    refined = torch.tensor([[[0.0, 0, 10, 20]], [[2.0, 0, 12, 20]]])
    assert box_uncertainty(refined, norm).item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize('norm', ['axis', 'mean_side'])
@pytest.mark.parametrize('times, count', [(2, 1), (10, 0), (7, 13)])
def test_uncertainty_equals_the_loop(norm, times, count):
    boxes = _random_boxes(np.random.default_rng(times), count)
    refined = jitter_boxes(boxes, times, 0.1)
    expected = [reference.uncertainty(refined[:, i].tolist(), norm) for i in range(count)]
    assert box_uncertainty(refined, norm).shape == (count,)
    np.testing.assert_allclose(box_uncertainty(refined, norm), expected, atol=1e-6)


def test_uncertainty_does_not_see_place_and_scale():
    refined = jitter_boxes(torch.tensor([[10.0, 10, 40, 90]]), 10, 0.06)
    torch.testing.assert_close(box_uncertainty(refined * 3 + 50), box_uncertainty(refined), atol=1e-6, rtol=1e-4)
    assert box_uncertainty(refined[:1].expand(10, 1, 4)).item() == 0


@pytest.mark.parametrize('dist, mean, tolerance', [('normal', 0.0583596, 0.0003), ('uniform', 0.0342, 0.001)])
def test_spread_of_an_idle_refiner(dist, mean, tolerance):
    torch.manual_seed(0)
    boxes = torch.tensor([[0.0, 0, 400, 60]]).expand(20000, 4)
    assert box_uncertainty(jitter_boxes(boxes, 10, 0.06, dist)).mean().item() == pytest.approx(mean, abs=tolerance)


def test_quantiles_and_a_contracting_refiner():
    torch.manual_seed(0)
    boxes = torch.tensor([[0.0, 0, 300, 200]]).expand(20000, 4)
    jittered = jitter_boxes(boxes, 10, 0.06)
    spread = box_uncertainty(jittered)
    np.testing.assert_allclose(spread.quantile(torch.tensor([0.01, 0.5, 0.99])), [0.0428, 0.0582, 0.0752], atol=1e-3)
    passed = {k: (box_uncertainty(boxes + (1 - k) * (jittered - boxes)) < 0.02).float().mean().item() for k in (0.5, 0.7, 0.8)}
    assert passed[0.5] == pytest.approx(0.003, abs=0.003)
    assert passed[0.7] == pytest.approx(0.88, abs=0.02)
    assert passed[0.8] > 0.999


def test_uniform_jitter_stays_within_its_bounds():
    boxes = torch.tensor([[10.0, 10, 10.2, 60]])
    offset = jitter_boxes(boxes, 1000, 0.06, 'uniform') - boxes
    assert offset.abs().amax((0, 1)).tolist() == pytest.approx([0.06, 3, 0.06, 3], rel=0.02)


@pytest.mark.parametrize('norm, value', [('joint', 1.88), ('separate', 3.466667)])
def test_soft_loss_of_four_regions(norm, value):
    loss = soft_cls_loss(torch.tensor([1.0, 2, 3, 4]), torch.tensor([1, 0.9, 0.5, 0.1]), torch.tensor([1, 0, 0, 0]).bool(), norm)
    assert loss.item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize('norm', ['joint', 'separate'])
@pytest.mark.parametrize('regions, foreground', [(1, 0), (1, 1), (30, 0), (30, 8)])
def test_soft_loss_equals_the_loop(norm, regions, foreground):
    torch.manual_seed(regions + foreground)
    logits, classes = torch.randn(regions, 4), 3
    labels = torch.cat([torch.randint(classes, (foreground,)), torch.full((regions - foreground,), classes)])
    background = torch.rand(regions)
    weights = torch.where(labels < classes, 1.0, background)
    entropy = F.cross_entropy(logits, labels, reduction='none')
    expected = reference.soft_loss(logits.tolist(), labels.tolist(), background.tolist(), norm)
    assert soft_cls_loss(entropy, weights, labels < classes, norm).item() == pytest.approx(expected, rel=1e-5)


def test_soft_loss_at_its_ends():
    entropy = torch.tensor([1.0, 2, 3], requires_grad=True)
    nothing = soft_cls_loss(entropy[:0], entropy[:0], torch.zeros(0, dtype=torch.bool))
    nothing.backward()
    assert nothing.item() == 0
    assert soft_cls_loss(entropy, torch.full((3,), 0.1), torch.zeros(3, dtype=torch.bool)).item() == pytest.approx(0.6)
    assert soft_cls_loss(entropy, torch.tensor([1.0, 0, 0]), torch.tensor([1, 0, 0]).bool()).item() == 1


def test_reliability_modes():
    teacher, student, iou = torch.tensor([0.9, 0.2]), torch.tensor([0.6, 0.3]), torch.tensor([0.1, 0.4])
    values = {
        mode: background_weights(mode, teacher, student, iou).tolist()
        for mode in ('teacher', 'student', 'pred_diff', 'iou', 'reverse_iou', 'none')
    }
    assert values == dict(
        teacher=pytest.approx([0.9, 0.2]),
        student=pytest.approx([0.6, 0.3]),
        pred_diff=pytest.approx([0.7, 0.9]),
        iou=pytest.approx([0.1, 0.4]),
        reverse_iou=pytest.approx([0.9, 0.6]),
        none=[1, 1],
    )
