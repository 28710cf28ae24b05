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
from torch import Tensor

from openmsra.autoformer.attention_cpu import ExplicitRelativeAttention
from openmsra.autoformer.relative_position import RelativePositionIndex, per_head


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
        features = per_head(index.indicator.to(key.dtype), key)
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
