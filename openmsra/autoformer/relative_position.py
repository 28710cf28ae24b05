"""Where every patch stands relative to every other: the constants of 2-D relative position for one grid (sec. 3.2; iRPE).

Symbols and shapes are those of :mod:`openmsra.autoformer.attention`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RelativePositionIndex(nn.Module):
    """The constant part of relative position for one patch grid; shared by all layers.

    Args:
        grid: (Gh, Gw) patches.
        max_distance: P; offsets beyond it are clipped. Tables have 2P + 2 rows: 0 for the class token, P + 1 for
            offset 0.
    """

    def __init__(self, grid: tuple[int, int], max_distance: int) -> None:
        super().__init__()
        rows, columns = grid
        self.grid, self.max_distance = grid, max_distance
        self.class_vector = 2 * (rows + columns) - 2  # the last of the R vectors
        self.register_buffer('selection', self._selection(), persistent=False)  # (R, 2 (2P + 2))
        row, column = torch.arange(rows).repeat_interleave(columns), torch.arange(columns).repeat(rows)
        vertical = torch.arange(rows) - row[:, None] + rows - 1
        horizontal = torch.arange(columns) - column[:, None] + columns - 1 + 2 * rows - 1
        class_token = torch.full((rows * columns, 1), self.class_vector)
        # (n, F): which of the R relative vectors a patch sees in each feature
        self.register_buffer('seen', torch.cat([vertical, horizontal, class_token], 1), persistent=False)
        indicator = torch.zeros(rows * columns + 1, _rounded_up(rows + columns + 1, 8))
        indicator[0, rows + columns] = 1
        indicator[torch.arange(1, rows * columns + 1), row] = 1
        indicator[torch.arange(1, rows * columns + 1), rows + column] = 1
        self.register_buffer('indicator', indicator, persistent=False)  # U (N, F)

    def _selection(self) -> Tensor:
        """Which rows of the two stacked tables make each relative vector: those of all offsets that occur, clipped."""
        zero_row, table_rows, first = self.max_distance + 1, 2 * self.max_distance + 2, 0
        selection = torch.zeros(_rounded_up(self.class_vector + 1, 16), 2 * table_rows)
        for table, size in enumerate(self.grid):
            offsets = torch.arange(1 - size, size)
            table_row = offsets.clamp(-self.max_distance, self.max_distance) + zero_row + table * table_rows
            selection[first + torch.arange(2 * size - 1), table_row] = 1
            first += 2 * size - 1
        selection[self.class_vector, [0, table_rows]] = 1
        return selection

    def vectors(self, vertical: Tensor, horizontal: Tensor) -> Tensor:
        """All relative vectors (R, d) from the tables (2P + 2, d)."""
        return self.selection.to(vertical.dtype) @ torch.cat([vertical, horizontal])

    def query_features(self, query: Tensor, vectors: Tensor) -> Tensor:
        """Q_R (B, h, N, F) of queries (B, h, N, d); zero for the class token, where it has no effect."""
        products = query[:, :, 1:] @ vectors.T
        features = products.gather(-1, per_head(self.seen, products))
        return F.pad(features, (0, self.indicator.shape[1] - features.shape[-1], 1, 0))

    def value_sum(self, sums: Tensor, vectors: Tensor) -> Tensor:
        """sum_f (A U)[i, f] R_V[f seen from i], (B, h, N, d), from A U (B, h, N, F)."""
        rows, features = self.grid[0], self.seen.shape[1]
        patches = sums[:, :, 1:, :features]
        per_vector = per_head(patches.new_zeros(patches.shape[2], len(vectors)), patches)
        per_vector = per_vector.scatter(-1, per_head(self.seen, patches), patches)
        # the class query sees one vector everywhere: its row sum is that over key rows plus the class key
        row_sum = sums[:, :, :1, :rows].sum(-1, keepdim=True) + sums[:, :, :1, features - 1 : features]
        class_query = F.pad(row_sum, (self.class_vector, len(vectors) - self.class_vector - 1))
        return torch.cat([class_query, per_vector], 2) @ vectors


def per_head(constant: Tensor, like: Tensor) -> Tensor:
    """A (rows, columns) constant for every image and head of ``like`` (B, h, ...), without a copy.

    The sizes are read one by one: traced for export, a slice of a shape would become a constant batch size.
    """
    return constant.expand(like.shape[0], like.shape[1], -1, -1)


def _rounded_up(size: int, multiple: int) -> int:
    return size + -size % multiple
