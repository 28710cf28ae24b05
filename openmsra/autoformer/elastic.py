"""Layers whose smaller versions are leading slices of the largest (weight entanglement, sec. 3.2).

The sizes of a slice travel with each call, as the width of the input or as an argument: layers remember nothing, so that a
slice cannot go stale, nothing is copied, and a layer that runs again in the backward pass (activation checkpointing) runs
with the sizes of its first time.
"""

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from openmsra.autoformer.relative_position import RelativePositionIndex
from openmsra.autoformer.space import SearchSpace
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
    """All rows and as many leading columns as the input has channels."""

    def forward(self, x: Tensor) -> Tensor:
        return leading_products(x, self.weight, self.bias[None])[0]


class ElasticLayerNorm(nn.LayerNorm):
    """Normalises over the channels that the input has."""

    def __init__(self, features: int) -> None:
        super().__init__(features, eps=LN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[-1]
        return F.layer_norm(x, (width,), self.weight[:width], self.bias[:width], self.eps)


class ElasticPatchEmbed(nn.Module):
    """Patch embedding with the leading ``embed_dim`` output channels."""

    def __init__(self, in_channels: int, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dim, patch_size, patch_size)

    def forward(self, images: Tensor, embed_dim: int) -> Tensor:
        return (
            F.conv2d(images, self.proj.weight[:embed_dim], self.proj.bias[:embed_dim], self.proj.stride)
            .flatten(2)
            .transpose(1, 2)
        )


class ElasticAttention(Attention):
    """Attention with the first ``num_heads`` heads.

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

    def role_weights(self, num_heads: int, embed_dim: int) -> tuple[tuple[Tensor, ...], Tensor]:
        """Weights of Q, K and V, views (q, e), and their biases (3, q)."""
        width = num_heads * self.head_dim
        return leading_views(self.qkv.weight, 3, width, embed_dim), self._role_biases(width)

    def _role_biases(self, width: int) -> Tensor:
        return self.qkv.bias[: 3 * width].view(3, width) if self.bias_layout == 'prefix' else self.qkv.bias.view(-1, 3)[:width].T

    def forward(self, x: Tensor, index: RelativePositionIndex, num_heads: int) -> Tensor:
        heads = (num_heads, self.head_dim)
        roles = leading_products(x, self.qkv.weight, self._role_biases(num_heads * self.head_dim))
        out = self.attend(*(role.unflatten(-1, heads).transpose(1, 2) for role in roles), index)
        if self.scale_output:
            out = out * (self.proj.out_features / out.shape[-1])
        return leading_products(out, self.proj.weight, self.proj.bias[None, : x.shape[-1]])[0]


class ElasticMlp(Mlp):
    """MLP with the first ``int(mlp_ratio * embed_dim)`` hidden channels; its dropout shrinks with the width."""

    def __init__(self, embed_dim: int, hidden_dim: int, drop_rate: float, scale_output: bool) -> None:
        super().__init__(embed_dim, hidden_dim, drop_rate)
        self.scale_output = scale_output

    def forward(self, x: Tensor, mlp_ratio: float) -> Tensor:
        embed_dim = x.shape[-1]
        hidden_dim = int(embed_dim * mlp_ratio)
        x = gelu(leading_products(x, self.fc1.weight, self.fc1.bias[None, :hidden_dim])[0])
        x = F.dropout(x, self.drop.p * embed_dim / self.fc1.in_features, self.training)
        x = leading_products(x, self.fc2.weight, self.fc2.bias[None, :embed_dim])[0]
        if self.scale_output:
            x = x * (self.fc1.out_features / self.fc1.in_features) / (hidden_dim / embed_dim)
        return x


class ElasticBlock(nn.Module):
    """A transformer block of which each call uses a slice: as wide as its input, with the heads and MLP ratio it is given.

    Args:
        space: gives the size of the whole block.
        max_distance, roles, drop_path, attn_drop_rate: see :class:`~openmsra.autoformer.vit.Block`.
        drop_rate: dropout at full width; a slice has active / full width of it, as in the official code.
        bias_layout, scale_output: see :class:`~openmsra.autoformer.supernet.AutoFormerSupernet`.
    """

    def __init__(
        self,
        space: SearchSpace,
        max_distance: int,
        roles: str,
        drop_path: float,
        drop_rate: float,
        attn_drop_rate: float,
        bias_layout: str,
        scale_output: bool,
    ) -> None:
        super().__init__()
        embed_dim, hidden_dim = space.super_embed_dim, int(space.super_embed_dim * space.super_mlp_ratio)
        self.norm1, self.norm2 = ElasticLayerNorm(embed_dim), ElasticLayerNorm(embed_dim)
        self.attn = ElasticAttention(
            embed_dim, space.super_num_heads, space.head_dim, max_distance, roles, attn_drop_rate, bias_layout, scale_output
        )
        self.mlp = ElasticMlp(embed_dim, hidden_dim, drop_rate, scale_output)
        self.embed_dim, self.drop_rate, self.drop_path = embed_dim, drop_rate, DropPath(drop_path)

    def forward(self, x: Tensor, index: RelativePositionIndex, num_heads: int, mlp_ratio: float) -> Tensor:
        x = x + self.drop_path(self._drop(self.attn(self.norm1(x), index, num_heads)))
        return x + self.drop_path(self._drop(self.mlp(self.norm2(x), mlp_ratio)))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.drop_rate * x.shape[-1] / self.embed_dim, self.training)
