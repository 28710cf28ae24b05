"""Self-attention with factorised 2-D relative position, in a form that one fused kernel computes (sec. 3.2; iRPE).

    S[i,j] = s (<Q_i, K_j> + <Q_i, R_K[i,j]>),   A = softmax(S),   O_i = sum_j A[i,j] (V_j + R_V[i,j])
    R[i,j] = T_v[row_j - row_i] + T_h[col_j - col_i];  any pair with the class token: T_v[0] + T_h[0]

R depends on a key only through its row, its column, and whether it is the class token. With the constant indicator
U (N, F), F = Gh + Gw + 1, of these three, the two sums become ordinary attention over longer vectors:

    S = s [Q, Q_R] [K, U]^T     with Q_R[i, f] = <Q_i, R_K of feature f seen from i>
    A [V, U] = [A V, A U]       and sum_j A[i,j] R_V[i,j] = sum_f (A U)[i, f] (R_V of feature f seen from i)

so no N x N x head_dim table exists and a fused kernel serves relative values too. For the class token as query R is
the same for all keys: on keys it shifts a softmax row (no effect), on values it adds T_v[0] + T_h[0] times the row sum.

Shapes: B batch, h heads, G = (Gh, Gw) patch grid, n = Gh Gw patches, N = n + 1 tokens (class token first), d head_dim.
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
        # table rows of all offsets that occur: -(G-1) .. G-1, clipped
        for name, size in (('table_rows_v', rows), ('table_rows_h', columns)):
            offsets = torch.arange(1 - size, size).clamp(-max_distance, max_distance) + max_distance + 1
            self.register_buffer(name, offsets, persistent=False)
        row, column = torch.arange(rows).repeat_interleave(columns), torch.arange(columns).repeat(rows)
        vertical = torch.arange(rows) - row[:, None] + rows - 1
        horizontal = torch.arange(columns) - column[:, None] + columns - 1 + 2 * rows - 1
        class_token = torch.full((rows * columns, 1), 2 * (rows + columns) - 2)
        # (n, F): which of the 2Gh-1 + 2Gw-1 + 1 relative vectors a patch sees in each feature
        self.register_buffer('seen', torch.cat([vertical, horizontal, class_token], 1), persistent=False)
        indicator = torch.zeros(rows * columns + 1, rows + columns + 1)
        indicator[0, -1] = 1
        indicator[torch.arange(1, rows * columns + 1), row] = 1
        indicator[torch.arange(1, rows * columns + 1), rows + column] = 1
        self.register_buffer('indicator', indicator, persistent=False)  # U (N, F)

    def vectors(self, vertical: Tensor, horizontal: Tensor) -> Tensor:
        """All relative vectors (2Gh-1 + 2Gw-1 + 1, d) from the tables (2P+2, d); the class token's is last."""
        class_token = (vertical[0] + horizontal[0])[None]
        return torch.cat([vertical[self.table_rows_v], horizontal[self.table_rows_h], class_token])

    def query_features(self, query: Tensor, vectors: Tensor) -> Tensor:
        """Q_R (B, h, N, F) of queries (B, h, N, d); zero for the class token, where it has no effect."""
        products = query[:, :, 1:] @ vectors.T
        return F.pad(products.gather(-1, _per_head(self.seen, products)), (0, 0, 1, 0))

    def value_sum(self, sums: Tensor, vectors: Tensor) -> Tensor:
        """sum_f (A U)[i, f] R_V[f seen from i], (B, h, N, d), from A U (B, h, N, F)."""
        rows = self.grid[0]
        patches = sums[:, :, 1:]
        per_vector = _per_head(patches.new_zeros(patches.shape[2], len(vectors)), patches)
        per_vector = per_vector.scatter(-1, _per_head(self.seen, patches), patches)
        # the class query sees one vector everywhere: its row sum is that over key rows plus the class key
        row_sum = sums[:, :, :1, :rows].sum(-1, keepdim=True) + sums[:, :, :1, -1:]
        class_query = F.pad(row_sum, (len(vectors) - 1, 0))
        return torch.cat([class_query, per_vector], 2) @ vectors


def _per_head(constant: Tensor, like: Tensor) -> Tensor:
    """A (rows, columns) constant for every image and head of ``like`` (B, h, ...), without a copy.

    The sizes are read one by one: traced for export, a slice of a shape would become a constant batch size.
    """
    return constant.expand(like.shape[0], like.shape[1], -1, -1)


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
    if key_tables is None and value_tables is None:
        return _attend(query, key, value, scale, dropout)
    features = _per_head(index.indicator.to(key.dtype), key)
    if key_tables is not None:
        query = torch.cat([query, index.query_features(query, index.vectors(*key_tables).to(query.dtype))], -1)
        key = torch.cat([key, features], -1)
    if value_tables is None:
        return _attend(query, key, value, scale, dropout)
    out = _attend(query, key, torch.cat([value, features], -1), scale, dropout)
    vectors = index.vectors(*value_tables).to(out.dtype)
    return out[..., :head_dim] + index.value_sum(out[..., head_dim:], vectors)


def _attend(query: Tensor, key: Tensor, value: Tensor, scale: float, dropout: float) -> Tensor:
    """softmax(s Q K^T) V.

    The fused kernel, except for training on the CPU: its backward pass there takes 1.4 times as long as that of two
    matrix products around a softmax, at the 197 tokens of a 224-pixel image.
    """
    if query.device.type == 'cpu' and query.requires_grad:
        shape = query.shape[:2]
        query, key_t, value = query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2), value.flatten(0, 1)
        scores = torch.baddbmm(query.new_empty(()), query, key_t, beta=0, alpha=scale)
        weights = F.dropout(scores.softmax(-1), dropout, training=dropout > 0)
        return (weights @ value).unflatten(0, shape)
    return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=scale)
