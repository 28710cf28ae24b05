"""Attention with the naive N x N x head_dim table of relative positions (AutoFormer sec. 3.2, spec of the official code)."""

import torch
from torch import Tensor


def table_index(grid: tuple[int, int], max_distance: int) -> tuple[Tensor, Tensor]:
    """Rows (N, N) of the vertical and the horizontal table, by two loops over tokens; 0 for pairs with the class token."""
    patches = [(row, column) for row in range(grid[0]) for column in range(grid[1])]
    size = len(patches) + 1
    vertical, horizontal = torch.zeros(size, size, dtype=torch.long), torch.zeros(size, size, dtype=torch.long)
    for i, (row_i, column_i) in enumerate(patches, start=1):
        for j, (row_j, column_j) in enumerate(patches, start=1):
            vertical[i, j] = min(max(row_j - row_i, -max_distance), max_distance) + max_distance + 1
            horizontal[i, j] = min(max(column_j - column_i, -max_distance), max_distance) + max_distance + 1
    return vertical, horizontal


def naive_attention(
    query: Tensor, key: Tensor, value: Tensor, index: tuple[Tensor, Tensor], key_tables, value_tables, scale: float
) -> Tensor:
    """(B, h, N, d) -> (B, h, N, d), with every relative vector looked up for every pair."""
    scores = query @ key.transpose(-2, -1)
    if key_tables is not None:
        table = key_tables[0][index[0]] + key_tables[1][index[1]]  # (N, N, d)
        scores = scores + torch.einsum('bhid,ijd->bhij', query, table)
    weights = (scale * scores).softmax(-1)
    out = weights @ value
    if value_tables is not None:
        table = value_tables[0][index[0]] + value_tables[1][index[1]]
        out = out + torch.einsum('bhij,ijd->bhid', weights, table)
    return out
