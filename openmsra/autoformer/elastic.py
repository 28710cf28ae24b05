"""Layers whose smaller versions are leading slices of the largest (weight entanglement, sec. 3.2).

The sizes of the active version are plain integers; slices are views taken in ``forward``, so they cannot go stale and
nothing is copied.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openmsra.autoformer.attention import RelativePositionIndex
from openmsra.autoformer.vit import LN_EPS, Attention, Mlp, gelu


class _LeadingBlock(torch.autograd.Function):
    """``weight[:rows, :columns]`` as a view, with one zero-filled gradient where two chained slices would make two."""

    @staticmethod
    def forward(ctx, weight: Tensor, rows: int, columns: int) -> Tensor:
        ctx.shape = weight.shape
        return weight[:rows, :columns]

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        rows, columns = ctx.shape
        return F.pad(gradient, (0, columns - gradient.shape[1], 0, rows - gradient.shape[0])), None, None


def leading_block(weight: Tensor, rows: int, columns: int) -> Tensor:
    """The leading ``rows`` x ``columns`` of a matrix, sharing its storage."""
    return weight if weight.shape == (rows, columns) else _LeadingBlock.apply(weight, rows, columns)


class ElasticLinear(nn.Linear):
    """Leading ``out_active`` rows and as many leading columns as the input has channels."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.out_active = out_features

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, leading_block(self.weight, self.out_active, x.shape[-1]), self.bias[: self.out_active])


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
        self, embed_dim: int, num_heads: int, head_dim: int, max_distance: int, roles: str, dropout: float,
        bias_layout: str, scale_output: bool,
    ) -> None:  # fmt: skip
        super().__init__(embed_dim, num_heads, head_dim, max_distance, roles, dropout)
        self.bias_layout, self.scale_output = bias_layout, scale_output
        self.heads_active = num_heads

    def role_weights(self, embed_dim: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Views (q, e) of the weights and (q,) of the biases of Q, K and V."""
        width = self.heads_active * self.head_dim
        weights = self.qkv.weight.unflatten(0, (-1, 3))[:width, :, :embed_dim].unbind(1)
        if self.bias_layout == 'prefix':
            return weights, self.qkv.bias[: 3 * width].view(3, width).unbind(0)
        return weights, self.qkv.bias.view(-1, 3)[:width].unbind(1)

    def forward(self, x: Tensor, index: RelativePositionIndex) -> Tensor:
        embed_dim, rows = x.shape[-1], 3 * self.heads_active * self.head_dim
        bias = self.qkv.bias[:rows]
        if self.bias_layout == 'prefix':  # bring the bias into the order of the rows
            bias = bias.view(3, -1).T.flatten()
        # the three roles of the first heads are the first rows: one product, then (B, N, h, d, 3) -> 3 x (B, h, N, d)
        qkv = F.linear(x, leading_block(self.qkv.weight, rows, embed_dim), bias)
        roles = qkv.unflatten(-1, (self.heads_active, self.head_dim, 3)).permute(4, 0, 2, 1, 3)
        out = self.attend(*roles.unbind(0), index)
        width = out.shape[-1]
        if self.scale_output:
            out = out * (self.proj.out_features / width)
        return F.linear(out, leading_block(self.proj.weight, embed_dim, width), self.proj.bias[:embed_dim])


class ElasticMlp(Mlp):
    """MLP with the first ``hidden_active`` hidden channels."""

    def __init__(self, embed_dim: int, hidden_dim: int, dropout: float, scale_output: bool) -> None:
        super().__init__(embed_dim, hidden_dim, dropout)
        self.hidden_active, self.scale_output = hidden_dim, scale_output

    def forward(self, x: Tensor) -> Tensor:
        embed_dim, hidden = x.shape[-1], self.hidden_active
        x = self.drop(gelu(F.linear(x, leading_block(self.fc1.weight, hidden, embed_dim), self.fc1.bias[:hidden])))
        x = F.linear(x, leading_block(self.fc2.weight, embed_dim, hidden), self.fc2.bias[:embed_dim])
        if self.scale_output:
            x = x * (self.fc1.out_features / self.fc1.in_features) / (hidden / embed_dim)
        return x
