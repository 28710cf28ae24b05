"""The factorised relative attention equals the naive table, in value and gradient."""

import pytest
import torch

from openmsra.autoformer.attention import relative_attention
from openmsra.autoformer.relative_position import RelativePositionIndex
from tests.references.autoformer_attention import naive_attention, table_index

GRIDS = [((1, 1), 2), ((3, 3), 1), ((4, 4), 4), ((2, 5), 3), ((5, 2), 9), ((14, 14), 14)]


def _case(grid, max_distance, dtype=torch.float64):
    torch.manual_seed(grid[0] * 31 + grid[1])
    tokens, dim = grid[0] * grid[1] + 1, 8
    qkv = [torch.randn(2, 3, tokens, dim, dtype=dtype, requires_grad=True) for _ in range(3)]
    tables = [torch.randn(2 * max_distance + 2, dim, dtype=dtype, requires_grad=True) for _ in range(4)]
    return qkv, tables


@pytest.mark.parametrize(('grid', 'max_distance'), GRIDS)
@pytest.mark.parametrize('roles', ['kv', 'k', 'v', ''])
def test_equals_the_naive_table(grid, max_distance, roles):
    qkv, tables = _case(grid, max_distance)
    key_tables = (tables[0], tables[1]) if 'k' in roles else None
    value_tables = (tables[2], tables[3]) if 'v' in roles else None
    index = RelativePositionIndex(grid, max_distance)
    ours = relative_attention(*qkv, index, key_tables, value_tables, scale=0.3)
    naive = naive_attention(*qkv, table_index(grid, max_distance), key_tables, value_tables, scale=0.3)
    torch.testing.assert_close(ours, naive, atol=1e-12, rtol=1e-10)
    weight = torch.randn_like(naive)
    inputs = [*qkv, *(key_tables or ()), *(value_tables or ())]
    for mine, reference in zip(
        torch.autograd.grad((ours * weight).sum(), inputs), torch.autograd.grad((naive * weight).sum(), inputs), strict=True
    ):
        torch.testing.assert_close(mine, reference, atol=1e-11, rtol=1e-9)


def test_dropped_weights_reach_the_relative_values():
    """With value tables alone and V = 0, the output is a sum over the kept weights only."""
    grid = (3, 3)
    (query, key, value), tables = _case(grid, 3, torch.float32)
    index = RelativePositionIndex(grid, 3)
    ones = torch.ones_like(tables[2]) / 2  # every relative vector is 1, so the output is the row sum
    zeros = torch.zeros_like(value)
    torch.manual_seed(0)
    sums = relative_attention(query, key, zeros, index, None, (ones, ones), scale=0.3, dropout=0.5)
    torch.manual_seed(0)
    expected = relative_attention(query, key, torch.ones_like(value), index, None, (ones * 0, ones * 0), 0.3, dropout=0.5)
    torch.testing.assert_close(sums, expected)
    assert (sums - 1).abs().max() > 0.1


def test_no_large_table_is_built():
    """The biggest tensor of a 14 x 14 grid is far below N x N x d."""
    (query, key, value), tables = _case((14, 14), 14, torch.float32)
    index = RelativePositionIndex((14, 14), 14)
    sizes = []

    class Spy(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            sizes.extend(value.numel() for value in torch.utils._pytree.tree_leaves(out) if isinstance(value, torch.Tensor))
            return out

    with Spy(), torch.no_grad():
        relative_attention(query, key, value, index, tables[:2], tables[2:], scale=0.3)
    assert max(sizes) < 197 * 197 * 8
