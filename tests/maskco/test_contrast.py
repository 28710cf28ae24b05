"""InfoNCE, queue and momentum update against their formulas."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from openmsra.common.contrastive import info_nce
from openmsra.maskco.contrast import logits_of
from tests.references import maskco_contrast as reference

ONE = torch.ones(1, 1, dtype=torch.bool)


def _unit(*shape):
    return F.normalize(torch.randn(*shape, dtype=torch.double), dim=-1)


def _loss(q, k, queue, negatives=(), valid=True):
    rows = torch.tensor([negatives], dtype=torch.float).view(1, len(negatives), 2)
    logits = logits_of(torch.tensor([[q]]), torch.tensor([[k]]), torch.tensor(queue).T, rows, ONE & valid, 0.2)
    return info_nce(logits).item()


def test_by_hand():
    case = ((1.0, 0.0), (0.8, 0.6), ((0.0, 1.0), (-1.0, 0.0)))
    assert _loss(*case) == pytest.approx(0.0182711, abs=1e-6)
    assert _loss(*case, ((0.6, 0.8),)) == pytest.approx(0.3266517, abs=1e-6)
    assert _loss(*case, ((0.6, 0.8),), False) == pytest.approx(0.0182711, abs=1e-6)


@pytest.mark.parametrize('negatives', [0, 4])
def test_nothing_similar_and_perfect(negatives):
    queue, valid = torch.zeros(2, 65536).double(), torch.ones(1, negatives, dtype=torch.bool)
    q, others = torch.tensor([[[1.0, 0.0]]]).double(), torch.zeros(1, negatives, 2).double()
    nothing = info_nce(logits_of(q, torch.zeros_like(q), queue, others, valid, 0.2)).item()
    assert nothing == pytest.approx({0: 11.0903701, 4: 11.0904312}[negatives], abs=1e-7)
    perfect = info_nce(logits_of(q, q, queue, others, valid, 0.2)).item()
    assert perfect == pytest.approx({0: 6.0926169, 4: 6.0926778}[negatives], abs=1e-7)


@pytest.mark.parametrize('batch, regions, length, negatives', [(1, 1, 1, 0), (3, 1, 7, 4), (2, 3, 5, 1)])
def test_equals_the_slow_reference(batch, regions, length, negatives):
    torch.manual_seed(batch)
    q, k, n = _unit(batch, regions, 6), _unit(batch, regions, 6), _unit(batch, negatives, 6)
    queue, valid = _unit(length, 6).T, torch.rand(batch, negatives) < 0.5
    ours = info_nce(logits_of(q, k, queue, n, valid, 0.2)).item()
    slow = reference.info_nce(*(x.numpy() for x in (q, k, queue, n, valid)), 0.2)
    assert ours == pytest.approx(slow, abs=1e-9)
    shuffled = queue[:, torch.randperm(length)]
    assert info_nce(logits_of(q, k, shuffled, n, valid, 0.2)).item() == pytest.approx(ours, abs=1e-9)


def test_only_the_hardest_keys():
    torch.manual_seed(0)
    q, k, queue, none = _unit(3, 1, 6), _unit(3, 1, 6), _unit(9, 6).T, torch.zeros(3, 0)
    logits = logits_of(q, k, queue, none[..., None].expand(3, 0, 6), none.bool(), 0.2, hardest=4)
    for row, query in zip(logits, q[:, 0], strict=True):
        similar = sorted((query @ queue).tolist(), reverse=True)
        assert row[1:].tolist() == pytest.approx([value / 0.2 for value in similar[:4]])


def test_gradient_is_finite_at_the_ends():
    for sign in (1, -1):
        q = torch.tensor([[[1.0, 0.0]]], requires_grad=True)
        info_nce(logits_of(q, sign * q.detach(), -sign * q.detach()[0].T, torch.zeros(1, 0, 2), ONE[:, :0], 0.2)).backward()
        assert torch.isfinite(q.grad).all()


def test_reference_has_the_simplest_value():
    q = np.array([[[1.0, 0.0]]])
    assert reference.info_nce(q, q, np.zeros((2, 1)), [[]], [[]], 1.0) == pytest.approx(math.log(1 + math.exp(-1)))
