"""The heads of FTCN: the temporal transformer (section 3.3) and the average. Modules carry the names of the released weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCHES = ('time', 'spatial', 'all', 'random', 'random_avg')


class Attention(nn.Module):
    """Multi-head self-attention (B, N, C) with a fused projection without bias and scale 1 / sqrt(head_dim)."""

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_dim, dim), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.to_qkv(x).chunk(3, dim=-1))
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Residual(nn.Module):
    """x + fn(x)."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(x)


class PreNorm(nn.Module):
    """fn(LayerNorm(x))."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(self.norm(x))


class MLP(nn.Module):
    """Linear, GELU, linear with dropout behind both."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Encoder(nn.Module):
    """Pre-norm transformer layers without a final norm."""

    def __init__(self, dim: int, depth: int, heads: int, head_dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                Residual(PreNorm(dim, Attention(dim, heads, head_dim, dropout))),
                Residual(PreNorm(dim, MLP(dim, hidden, dropout))),
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class TemporalTransformer(nn.Module):
    """Class token, learned positions, encoder, linear (section 3.3): tokens (B, N, C) to logits (B,)."""

    def __init__(
        self, channels: int, tokens: int, dim: int, depth: int, heads: int, head_dim: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        if dim != channels:
            self.patch_to_embedding = nn.Linear(channels, dim)
        self.pos_embedding = nn.Parameter(torch.randn(1, tokens + 1, dim))
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.dropout = nn.Dropout(dropout)
        self.transformer = Encoder(dim, depth, heads, head_dim, hidden, dropout)
        self.mlp_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        if tokens.shape[1] + 1 != self.pos_embedding.shape[1]:
            expected = self.pos_embedding.shape[1] - 1
            raise ValueError(f'{tokens.shape[1]} tokens for {expected} positions: clips differ from clip_len and size.')
        if hasattr(self, 'patch_to_embedding'):
            tokens = self.patch_to_embedding(tokens)
        x = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        x = self.transformer(self.dropout(x + self.pos_embedding))
        return self.mlp_head(x[:, 0]).flatten()


class TransformerHead(nn.Module):
    """Feature map (B, C, T, H, W) to tokens to a logit (B,).

    Args:
        patch: 'time' averages over space (T tokens), 'spatial' over time (HW tokens), 'all' keeps THW tokens. 'random' takes
            one position, drawn for each batch in training, the middle one else; 'random_avg' averages ``count`` positions
            that are drawn in training, all but those of the border else (T tokens each).
        count: positions of 'random_avg'.
    """

    def __init__(
        self,
        channels: int,
        shape: Sequence[int],
        patch: str = 'time',
        dim: int = 1024,
        depth: int = 1,
        heads: int = 16,
        head_dim: int = 64,
        hidden: int = 2048,
        dropout: float = 0.1,
        count: int = 16,
    ) -> None:
        super().__init__()
        if patch not in PATCHES:
            raise ValueError(f'patch must be one of {", ".join(PATCHES)}, got {patch!r}')
        frames, rows, columns = shape
        tokens = {'spatial': rows * columns, 'all': frames * rows * columns}.get(patch, frames)
        self.patch, self.count = patch, count
        self.time_T = TemporalTransformer(channels, tokens, dim, depth, heads, head_dim, hidden, dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.patch == 'time':
            x = x.mean(dim=(3, 4))
        elif self.patch == 'spatial':
            x = x.mean(dim=2)
        elif self.patch.startswith('random'):
            x = x.flatten(3)[..., self._positions(*x.shape[3:])].mean(dim=-1)
        return self.time_T(x.flatten(2).transpose(1, 2))

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Indices into the flattened map, without its border where there is more."""
        grid = torch.arange(rows * columns).view(rows, columns)
        inner = grid[1:-1, 1:-1].flatten() if min(rows, columns) > 2 else grid.flatten()
        if self.training:
            return inner[torch.randperm(len(inner))[: 1 if self.patch == 'random' else self.count]]
        return inner if self.patch == 'random_avg' else grid[rows // 2, columns // 2].view(1)


class AverageHead(nn.Module):
    """Average over time and space, dropout, linear: (B, C, T, H, W) to a logit (B,)."""

    def __init__(self, channels: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(self.dropout(x.mean(dim=(2, 3, 4)))).flatten()
