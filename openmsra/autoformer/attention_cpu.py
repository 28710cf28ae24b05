"""The attention of :mod:`openmsra.autoformer.attention` with its gradient written out, for training on a CPU.

There the generic operators lose time on copies, on gradients of constants and on fresh memory; this function needs
about three quarters of theirs. Maths and symbols are those of that module:

    forward    X = [Q, Q_R], Y = [K, U], Z = [V, U];   A = softmax(s X Y^T);   A Z = [A V, A U];   O = A V + (A U) R_V
    backward   dV = A^T dO;   dA = [dO, dO R_V^T] Z^T;   dS = A * (dA - rowsum(A * dA));   dX = s dS Y;   dK = s dS^T Q

Products with relative vectors are taken with all R of them at once; ``seen`` picks those that a query sees.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from openmsra.autoformer.relative_position import RelativePositionIndex


class ExplicitRelativeAttention(torch.autograd.Function):
    """Attention with relative positions on keys and values, without dropout."""

    @staticmethod
    def forward(
        ctx,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_vectors: Tensor,
        value_vectors: Tensor,
        index: RelativePositionIndex,
        scale: float,
    ) -> Tensor:
        """See ``relative_attention``; the vectors are (R, d)."""
        dim, ctx.index, ctx.scale = query.shape[-1], index, scale
        x = _with_seen_products(query, key_vectors, index)
        y, z = _with_indicator(key, index), _with_indicator(value, index)
        weights = _scaled_product(x.flatten(0, 1), y.flatten(0, 1).transpose(1, 2), scale)
        torch.softmax(weights, -1, out=weights)
        out = (weights @ z.flatten(0, 1)).view_as(z)
        sums = _per_vector(out, dim, index)
        sums[:, :, 0, index.class_vector] = 1  # the class query sees one vector everywhere, and its weights sum to 1
        _rows(out, dim).addmm_(_rows(sums), value_vectors)
        ctx.save_for_backward(x, y, z, weights, sums, key_vectors, value_vectors)
        return out[..., :dim]

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of query, key, value and both sets of vectors."""
        x, y, z, weights, sums, key_vectors, value_vectors = ctx.saved_tensors
        dim, shape = gradient.shape[-1], gradient.shape
        d_out = _with_seen_products(gradient, value_vectors, ctx.index)
        d_value = weights.transpose(1, 2) @ d_out.flatten(0, 1)[..., :dim]
        d_scores = (d_out.flatten(0, 1) @ z.flatten(0, 1).transpose(1, 2)).mul_(weights)
        d_scores.addcmul_(weights, d_scores.sum(-1, keepdim=True), value=-1)
        d_x = _scaled_product(d_scores, y.flatten(0, 1), ctx.scale).view_as(x)
        d_key = _scaled_product(d_scores.transpose(1, 2), x.flatten(0, 1)[..., :dim], ctx.scale)
        d_products = _per_vector(d_x, dim, ctx.index)
        _rows(d_x, dim).addmm_(_rows(d_products), key_vectors)
        d_key_vectors, d_value_vectors = _rows(d_products).T @ _rows(x, dim), _rows(sums).T @ _rows(d_out, dim)
        return d_x[..., :dim], d_key.view(shape), d_value.view(shape), d_key_vectors, d_value_vectors, None, None


def _with_seen_products(x: Tensor, vectors: Tensor, index: RelativePositionIndex) -> Tensor:
    """[x, products of x with the vectors that it sees in each feature], (B, h, N, d + F); none for the class token."""
    dim, features = x.shape[-1], index.seen.shape[1]
    out = x.new_empty(*x.shape[:3], dim + index.indicator.shape[1])
    out[..., :dim], out[..., dim:] = x, 0
    products = (_rows(out, dim) @ vectors.T).view(*x.shape[:3], -1)
    out[:, :, 1:, dim : dim + features] = products[:, :, 1:].gather(-1, index.seen.expand(*x.shape[:2], -1, -1))
    return out


def _with_indicator(x: Tensor, index: RelativePositionIndex) -> Tensor:
    """[x, U], (B, h, N, d + F)."""
    dim = x.shape[-1]
    out = x.new_empty(*x.shape[:3], dim + index.indicator.shape[1])
    out[..., :dim], out[..., dim:] = x, index.indicator
    return out


def _per_vector(x: Tensor, dim: int, index: RelativePositionIndex) -> Tensor:
    """The features of x (B, h, N, d + F), each at the vector that is seen there, (B, h, N, R)."""
    out = x.new_zeros(*x.shape[:3], len(index.selection))
    features = x[:, :, 1:, dim : dim + index.seen.shape[1]]
    out[:, :, 1:].scatter_(-1, index.seen.expand(*x.shape[:2], -1, -1), features)
    return out


def _rows(x: Tensor, dim: int | None = None) -> Tensor:
    """All tokens of all heads as the rows of a matrix, and their first ``dim`` channels."""
    return x.view(-1, x.shape[-1])[:, :dim]


def _scaled_product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    return torch.baddbmm(a.new_empty(()), a, b, beta=0, alpha=scale)
