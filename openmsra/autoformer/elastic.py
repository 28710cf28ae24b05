"""Layers whose smaller versions are leading slices of the largest (weight entanglement, sec. 3.2).

The sizes of the active version are plain integers; slices are views taken in ``forward``, so they cannot go stale and
nothing is copied.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from openmsra.autoformer.attention import RelativePositionIndex
from openmsra.autoformer.vit import LN_EPS, Attention, Mlp, gelu


class _LeadingProducts(torch.autograd.Function):
    """See :func:`leading_products`. Backward writes the gradient of a slice straight into that of the whole matrix, where
    slicing operators would fill a whole matrix with zeros and copy into it once per slice."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, weight)
        return tuple(map(F.linear, [x] * len(bias), leading_views(weight, *bias.shape, x.shape[-1]), bias))

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        (roles, rows, columns), dtype = (len(gradients), gradients[0].shape[-1], x.shape[-1]), gradients[0].dtype
        d_weight = torch.empty_like(weight)
        d_weight[roles * rows :], d_weight[: roles * rows, columns:] = 0, 0
        flat_x, d_x, d_bias = x.reshape(-1, columns).to(dtype), None, []
        parts = zip(leading_views(weight, roles, rows, columns), leading_views(d_weight, roles, rows, columns), strict=True)
        for gradient, (part, d_part) in zip(gradients, parts, strict=True):
            gradient = gradient.reshape(-1, rows)
            if dtype == weight.dtype:
                torch.mm(gradient.T, flat_x, out=d_part)
            else:  # autocast: the product is in low precision, the parameter is not
                d_part.copy_(gradient.T @ flat_x)
            d_x = gradient @ part.to(dtype) if d_x is None else d_x.addmm_(gradient, part.to(dtype))
            d_bias.append(gradient.sum(0))
        return d_x.view_as(x), d_weight, torch.stack(d_bias)


def leading_views(weight: Tensor, roles: int, rows: int, columns: int) -> tuple[Tensor, ...]:
    """The leading (rows, columns) of each of ``roles`` matrices whose rows take turns in ``weight``; views, no copies."""
    return weight.unflatten(0, (-1, roles))[:rows, :, :columns].unbind(1)


def leading_products(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """Products (..., rows) of x (..., columns) with the leading part of each of the interleaved matrices in ``weight``.

    Args:
        x: (..., columns).
        weight: (roles * all rows, all columns), row ``roles * j + k`` being row j of matrix k.
        bias: (roles, rows).
    """
    return _LeadingProducts.apply(x, weight, bias)


class ElasticLinear(nn.Linear):
    """Leading ``out_active`` rows and as many leading columns as the input has channels."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.out_active = out_features

    def forward(self, x: Tensor) -> Tensor:
        return leading_products(x, self.weight, self.bias[None, : self.out_active])[0]


class ElasticLayerNorm(nn.LayerNorm):
    """Normalises over the channels that the input has."""

    def __init__(self, features: int) -> None:
        super().__init__(features, eps=LN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[-1]
        return F.layer_norm(x, (width,), self.weight[:width], self.bias[:width], self.eps)


class ElasticPatchEmbed(nn.Module):
    """Patch embedding with the leading ``out_active`` output channels."""

    def __init__(self, in_channels: int, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dim, patch_size, patch_size)
        self.out_active = embed_dim

    def forward(self, images: Tensor) -> Tensor:
        weight, bias = self.proj.weight[: self.out_active], self.proj.bias[: self.out_active]
        return F.conv2d(images, weight, bias, self.proj.stride).flatten(2).transpose(1, 2)


class ElasticAttention(Attention):
    """Attention with the first ``heads_active`` heads.

    The rows of ``qkv.weight`` interleave the roles: row 3j belongs to Q, 3j + 1 to K, 3j + 2 to V, so head k keeps its
    rows in every version that has it. The official code does not interleave the bias (its entry changes role with the
    number of heads): layout 'prefix', needed for its checkpoints; 'interleaved' treats the bias like the weight.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        head_dim: int,
        max_distance: int,
        roles: str,
        dropout: float,
        bias_layout: str,
        scale_output: bool,
    ) -> None:
        super().__init__(embed_dim, num_heads, head_dim, max_distance, roles, dropout)
        self.bias_layout, self.scale_output = bias_layout, scale_output
        self.heads_active = num_heads

    def role_weights(self, embed_dim: int) -> tuple[tuple[Tensor, ...], Tensor]:
        """Weights of Q, K and V, views (q, e), and their biases (3, q)."""
        width = self.heads_active * self.head_dim
        return leading_views(self.qkv.weight, 3, width, embed_dim), self._role_biases(width)

    def _role_biases(self, width: int) -> Tensor:
        return self.qkv.bias[: 3 * width].view(3, width) if self.bias_layout == 'prefix' else self.qkv.bias.view(-1, 3)[:width].T

    def forward(self, x: Tensor, index: RelativePositionIndex) -> Tensor:
        heads = (self.heads_active, self.head_dim)
        roles = leading_products(x, self.qkv.weight, self._role_biases(self.heads_active * self.head_dim))
        out = self.attend(*(role.unflatten(-1, heads).transpose(1, 2) for role in roles), index)
        if self.scale_output:
            out = out * (self.proj.out_features / out.shape[-1])
        return leading_products(out, self.proj.weight, self.proj.bias[None, : x.shape[-1]])[0]


class ElasticMlp(Mlp):
    """MLP with the first ``hidden_active`` hidden channels."""

    def __init__(self, embed_dim: int, hidden_dim: int, dropout: float, scale_output: bool) -> None:
        super().__init__(embed_dim, hidden_dim, dropout)
        self.hidden_active, self.scale_output = hidden_dim, scale_output

    def forward(self, x: Tensor) -> Tensor:
        embed_dim, hidden = x.shape[-1], self.hidden_active
        x = self.drop(gelu(leading_products(x, self.fc1.weight, self.fc1.bias[None, :hidden])[0]))
        x = leading_products(x, self.fc2.weight, self.fc2.bias[None, :embed_dim])[0]
        if self.scale_output:
            x = x * (self.fc1.out_features / self.fc1.in_features) / (hidden / embed_dim)
        return x
