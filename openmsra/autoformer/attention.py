"""Self-attention with factorised 2-D relative position, in a form that one fused kernel computes (sec. 3.2; iRPE).

    S[i,j] = s (<Q_i, K_j> + <Q_i, R_K[i,j]>),   A = softmax(S),   O_i = sum_j A[i,j] (V_j + R_V[i,j])
    R[i,j] = T_v[row_j - row_i] + T_h[col_j - col_i];  any pair with the class token: T_v[0] + T_h[0]

R depends on a key only through its row, its column, and whether it is the class token. With the constant indicator
U (N, F), F = Gh + Gw + 1, of these three, the two sums become ordinary attention over longer vectors:

    S = s [Q, Q_R] [K, U]^T     with Q_R[i, f] = <Q_i, R_K of feature f seen from i>
    A [V, U] = [A V, A U]       and sum_j A[i,j] R_V[i,j] = sum_f (A U)[i, f] (R_V of feature f seen from i)

so no N x N x head_dim table exists and a fused kernel serves relative values too. For the class token as query R is
the same for all keys: on keys it shifts a softmax row (no effect), on values it adds T_v[0] + T_h[0] times the row sum.

Shapes: B batch, h heads, G = (Gh, Gw) patch grid, n = Gh Gw patches, N = n + 1 tokens (class token first), d head_dim,
F features (in U padded with zeros to a multiple of 8, which kernels prefer), R = 2Gh + 2Gw - 1 relative vectors (padded
to a multiple of 16).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openmsra.autoformer.attention_cpu import ExplicitRelativeAttention


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
        indicator = torch.zeros(rows * columns + 1, _multiple(rows + columns + 1, 8))
        indicator[0, rows + columns] = 1
        indicator[torch.arange(1, rows * columns + 1), row] = 1
        indicator[torch.arange(1, rows * columns + 1), rows + column] = 1
        self.register_buffer('indicator', indicator, persistent=False)  # U (N, F)

    def _selection(self) -> Tensor:
        """Which rows of the two stacked tables make each relative vector: those of all offsets that occur, clipped."""
        zero_row, table_rows, first = self.max_distance + 1, 2 * self.max_distance + 2, 0
        selection = torch.zeros(_multiple(self.class_vector + 1, 16), 2 * table_rows)
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
        features = products.gather(-1, _per_head(self.seen, products))
        return F.pad(features, (0, self.indicator.shape[1] - features.shape[-1], 1, 0))

    def value_sum(self, sums: Tensor, vectors: Tensor) -> Tensor:
        """sum_f (A U)[i, f] R_V[f seen from i], (B, h, N, d), from A U (B, h, N, F)."""
        rows, features = self.grid[0], self.seen.shape[1]
        patches = sums[:, :, 1:, :features]
        per_vector = _per_head(patches.new_zeros(patches.shape[2], len(vectors)), patches)
        per_vector = per_vector.scatter(-1, _per_head(self.seen, patches), patches)
        # the class query sees one vector everywhere: its row sum is that over key rows plus the class key
        row_sum = sums[:, :, :1, :rows].sum(-1, keepdim=True) + sums[:, :, :1, features - 1 : features]
        class_query = F.pad(row_sum, (self.class_vector, len(vectors) - self.class_vector - 1))
        return torch.cat([class_query, per_vector], 2) @ vectors


def _per_head(constant: Tensor, like: Tensor) -> Tensor:
    """A (rows, columns) constant for every image and head of ``like`` (B, h, ...), without a copy.

    The sizes are read one by one: traced for export, a slice of a shape would become a constant batch size.
    """
    return constant.expand(like.shape[0], like.shape[1], -1, -1)


def _multiple(size: int, of: int) -> int:
    return size + -size % of


def relative_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    index: RelativePositionIndex | None,
    key_tables: tuple[Tensor, Tensor] | None,
    value_tables: tuple[Tensor, Tensor] | None,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """Attention with optional relative positions on keys and values, through one fused kernel.

    Args:
        query, key, value: (B, h, N, d).
        index: the relative positions of the grid; ``None`` only without tables.
        key_tables, value_tables: (vertical, horizontal), each (2P + 2, d), or ``None``.
        scale: s.
        dropout: of the attention weights; relative values get the dropped weights, as in the official code.

    Returns:
        (B, h, N, d).
    """
    head_dim = query.shape[-1]
    key_vectors = index.vectors(*key_tables).to(query.dtype) if key_tables is not None else None
    value_vectors = index.vectors(*value_tables).to(query.dtype) if value_tables is not None else None
    if key_vectors is not None and value_vectors is not None and not dropout and _trains_on_cpu(query):
        return ExplicitRelativeAttention.apply(query, key, value, key_vectors, value_vectors, index, scale)
    if key_vectors is not None or value_vectors is not None:
        features = _per_head(index.indicator.to(key.dtype), key)
    if key_vectors is not None:
        query = torch.cat([query, index.query_features(query, key_vectors)], -1)
        key = torch.cat([key, features], -1)
    if value_vectors is not None:
        value = torch.cat([value, features], -1)
    out = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=scale)
    if value_vectors is None:
        return out
    return out[..., :head_dim] + index.value_sum(out[..., head_dim:], value_vectors)


def _trains_on_cpu(query: Tensor) -> bool:
    """Whether the explicit gradient serves: there is a gradient, and in a precision that autocast does not change."""
    return query.device.type == 'cpu' and query.requires_grad and query.dtype in (torch.float32, torch.float64)
