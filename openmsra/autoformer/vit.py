"""A plain vision transformer with AutoFormer's layers: what an extracted sub-network is, and how it trains.

Shape legend: B batch, N = n + 1 tokens, e width, h heads, d head_dim, f MLP width, K classes.
"""

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn

from openmsra.autoformer.attention import relative_attention
from openmsra.autoformer.losses import targets_of
from openmsra.autoformer.relative_position import RelativePositionIndex
from openmsra.autoformer.space import Arch, normalize
from openmsra.engine.checkpoint.io import load_file, load_weights
from openmsra.registry import MODELS

LN_EPS = 1e-5


def gelu(x: Tensor) -> Tensor:
    """Exact (erf) GELU, in float32 as in the official code."""
    return F.gelu(x.float()).to(x.dtype)


class RelativeTables(nn.Module):
    """The vertical and horizontal table of one role (keys or values), each (2P + 2, d)."""

    def __init__(self, max_distance: int, head_dim: int) -> None:
        super().__init__()
        self.vertical = nn.Parameter(torch.empty(2 * max_distance + 2, head_dim))
        self.horizontal = nn.Parameter(torch.empty(2 * max_distance + 2, head_dim))

    def forward(self) -> tuple[Tensor, Tensor]:
        return self.vertical, self.horizontal


class Attention(nn.Module):
    """Self-attention (B, N, e) -> (B, N, e); rows of ``qkv`` are all of Q, all of K, all of V."""

    def __init__(self, embed_dim: int, num_heads: int, head_dim: int, max_distance: int, roles: str, dropout: float):
        super().__init__()
        width = num_heads * head_dim
        self.num_heads, self.head_dim, self.dropout = num_heads, head_dim, dropout
        self.qkv = nn.Linear(embed_dim, 3 * width)
        self.proj = nn.Linear(width, embed_dim)
        self.rel_pos_k = RelativeTables(max_distance, head_dim) if 'k' in roles else None
        self.rel_pos_v = RelativeTables(max_distance, head_dim) if 'v' in roles else None

    def forward(self, x: Tensor, index: RelativePositionIndex) -> Tensor:
        # reshape and not unflatten: exported to ONNX, the latter fixes the batch size
        qkv = self.qkv(x).reshape(x.shape[0], x.shape[1], 3, self.num_heads, self.head_dim)
        return self.proj(self.attend(*qkv.permute(2, 0, 3, 1, 4).unbind(0), index))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, index: RelativePositionIndex) -> Tensor:
        """Heads (B, h, N, d) -> concatenated heads (B, N, h d)."""
        out = relative_attention(
            query,
            key,
            value,
            index,
            self.rel_pos_k() if self.rel_pos_k is not None else None,
            self.rel_pos_v() if self.rel_pos_v is not None else None,
            scale=self.head_dim**-0.5,
            dropout=self.dropout if self.training else 0.0,
        )
        return out.transpose(1, 2).flatten(2)


class Mlp(nn.Module):
    """fc2(gelu(fc1(x)))."""

    def __init__(self, embed_dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, embed_dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.drop(gelu(self.fc1(x))))


class Block(nn.Module):
    """Pre-norm transformer block: x + attention(norm1(x)), then x + mlp(norm2(x))."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float,
        head_dim: int,
        max_distance: int,
        roles: str,
        drop_path: float = 0.0,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=LN_EPS)
        self.attn = Attention(embed_dim, num_heads, head_dim, max_distance, roles, attn_drop_rate)
        self.norm2 = nn.LayerNorm(embed_dim, eps=LN_EPS)
        self.mlp = Mlp(embed_dim, int(embed_dim * mlp_ratio), drop_rate)
        self.drop, self.drop_path = nn.Dropout(drop_rate), DropPath(drop_path)

    def forward(self, x: Tensor, index: RelativePositionIndex) -> Tensor:
        x = x + self.drop_path(self.drop(self.attn(self.norm1(x), index)))
        return x + self.drop_path(self.drop(self.mlp(self.norm2(x))))


class PatchEmbed(nn.Module):
    """Patches to tokens: images (B, C, H, W) -> (B, n, e), row by row."""

    def __init__(self, in_channels: int, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dim, patch_size, patch_size)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


def patches_to_tokens(patches: Tensor, cls_token: Tensor, pos_embed: Tensor | None) -> Tensor:
    """The class token before the patches, and absolute positions on both.

    Args:
        patches: (B, n, e).
        cls_token: (1, 1, E) with E >= e; its leading e channels count.
        pos_embed: (1, N, E), likewise; ``None`` without absolute positions.

    Returns:
        (B, N, e).
    """
    embed_dim = patches.shape[-1]
    # the batch size is read from the shape and not with len: traced for export, that would become a constant
    tokens = torch.cat([cls_token[..., :embed_dim].expand(patches.shape[0], -1, -1), patches], 1)
    return tokens if pos_embed is None else tokens + pos_embed[..., :embed_dim]


def resize_pos_embed(pos_embed: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Interpolate absolute positions (1, 1 + n, e) bicubically to another grid; the class token's stays."""
    if old == new:
        return pos_embed
    patches = pos_embed[:, 1:].transpose(1, 2).unflatten(-1, old)
    patches = F.interpolate(patches, size=new, mode='bicubic', align_corners=False)
    return torch.cat([pos_embed[:, :1], patches.flatten(2).transpose(1, 2)], 1)


class VisionTransformerBase(BaseModel):
    """What the supernet and an extracted network share: geometry, checks, loss and prediction.

    Args:
        num_classes: K.
        img_size: side of the square images in pixels, or (height, width).
        patch_size: side of a patch in pixels.
        in_channels: channels of an image.
        head_dim: d.
        max_relative_position: P, largest distance with a table row of its own.
        relative_position: which roles get relative positions: 'kv', 'k', 'v' or ''.
        abs_pos: learned absolute positions.
        global_pool: classify the mean of the patch tokens (published); else the class token.
        init_std: standard deviation of the truncated normal for linear weights.
        loss: config of the classification loss (logits (B, K), labels (B,) or soft labels (B, K)).

    Raises:
        ValueError: the image is not a whole number of patches, or ``relative_position`` is another word.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        head_dim: int = 64,
        max_relative_position: int = 14,
        relative_position: str = 'kv',
        abs_pos: bool = True,
        global_pool: bool = True,
        init_std: float = 0.02,
        loss: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.img_size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        if any(side % patch_size for side in self.img_size):
            raise ValueError(f'img_size={self.img_size} is not divisible by patch_size={patch_size}.')
        if relative_position not in ('kv', 'k', 'v', ''):
            raise ValueError(f"relative_position={relative_position!r} is none of 'kv', 'k', 'v', ''.")
        self.num_classes, self.patch_size, self.in_channels = num_classes, patch_size, in_channels
        self.head_dim, self.roles, self.abs_pos = head_dim, relative_position, abs_pos
        self.max_relative_position = max_relative_position
        self.global_pool, self.init_std = global_pool, init_std
        self.grid = tuple(side // patch_size for side in self.img_size)
        self.relative_index = RelativePositionIndex(self.grid, max_relative_position)
        self.loss_module = MODELS.build(loss or dict(type='mmpretrain.CrossEntropyLoss'))

    @property
    def geometry(self) -> dict:
        """Keyword arguments for ``count_params`` and ``count_flops``."""
        return dict(
            num_classes=self.num_classes,
            img_size=self.img_size,
            patch_size=self.patch_size,
            in_channels=self.in_channels,
            head_dim=self.head_dim,
            abs_pos=self.abs_pos,
            max_relative_position=self.max_relative_position,
            rel_pos_k='k' in self.roles,
            rel_pos_v='v' in self.roles,
        )

    def _absolute_positions(self, embed_dim: int) -> nn.Parameter | None:
        """Absolute positions (1, N, e) of the grid, or nothing where the network has none."""
        return nn.Parameter(torch.zeros(1, 1 + self.grid[0] * self.grid[1], embed_dim)) if self.abs_pos else None

    def reset_parameters(self) -> None:
        """Truncated normal for linear weights, tokens and tables, zero biases; convolutions as the framework does."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=self.init_std)
                nn.init.zeros_(module.bias)
            elif isinstance(module, RelativeTables):
                trunc_normal_(module.vertical, std=0.02)
                trunc_normal_(module.horizontal, std=0.02)
        for name, parameter in self.named_parameters():
            if name.rpartition('.')[2] in ('cls_token', 'pos_embed'):
                trunc_normal_(parameter, std=0.02)

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'):
        """Logits (B, K) in mode 'tensor', a dictionary of losses in 'loss', data samples in 'predict'.

        Raises:
            ValueError: the images do not have the size or the channels that the network was built for.
        """
        if inputs.shape[1:] != (self.in_channels, *self.img_size):
            raise ValueError(
                f'images of shape {tuple(inputs.shape[1:])}, but the network takes {(self.in_channels, *self.img_size)}; '
                'resize them, or build it with another img_size (position tables are interpolated on loading).'
            )
        if mode == 'tensor':
            return self.logits(inputs)
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f"mode {mode!r} is none of 'tensor', 'loss', 'predict'.")

    def logits(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W), already normalised, to logits (B, K)."""
        raise NotImplementedError

    def loss(self, images: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Classification loss against the labels (B,) or, after Mixup and CutMix, soft labels (B, K)."""
        return dict(loss=self.loss_module(self.logits(images), targets_of(data_samples)))

    def predict(self, images: Tensor, data_samples: list | None = None) -> list:
        """Class scores (softmax) and the best class as data samples."""
        from mmpretrain.structures import DataSample

        scores = self.logits(images).softmax(-1)
        samples = data_samples if data_samples is not None else [DataSample() for _ in scores]
        for sample, score in zip(samples, scores, strict=True):
            sample.set_pred_score(score).set_pred_label(score.argmax()[None])
        return samples

    def pool(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, e) to the vector (B, e) that is classified."""
        return tokens[:, 1:].mean(1) if self.global_pool else tokens[:, 0]


@MODELS.register_module()
class AutoFormerViT(VisionTransformerBase):
    """One architecture as an ordinary vision transformer, without anything of the supernet.

    Args:
        arch: the architecture.
        pretrained: an exported checkpoint to start from. Absolute positions are interpolated to another image size
            and a head for another number of classes starts anew, both said in the log; all else must fit.
        drop_path_rate: of the last block; grows linearly from 0.
        drop_rate, attn_drop_rate: dropout of tokens and of attention weights.
        network: arguments of :class:`VisionTransformerBase`.
    """

    def __init__(
        self,
        arch: Arch,
        drop_path_rate: float = 0.1,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        pretrained: str | None = None,
        **network,
    ) -> None:
        super().__init__(**network)
        self.arch, self.pretrained = normalize(arch), pretrained
        e, depth = self.arch['embed_dim'], self.arch['depth']
        self.patch_embed = PatchEmbed(self.in_channels, self.patch_size, e)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, e))
        self.pos_embed = self._absolute_positions(e)
        rates = torch.linspace(0, drop_path_rate, depth, device='cpu').tolist()
        self.blocks = nn.ModuleList(
            Block(e, heads, ratio, self.head_dim, self.max_relative_position, self.roles, rate, drop_rate, attn_drop_rate)
            for heads, ratio, rate in zip(self.arch['num_heads'], self.arch['mlp_ratio'], rates, strict=True)
        )
        self.norm = nn.LayerNorm(e, eps=LN_EPS)
        self.head = nn.Linear(e, self.num_classes)
        self.reset_parameters()

    def logits(self, images: Tensor) -> Tensor:
        """See :meth:`VisionTransformerBase.logits`."""
        tokens = patches_to_tokens(self.patch_embed(images), self.cls_token, self.pos_embed)
        for block in self.blocks:
            tokens = block(tokens, self.relative_index)
        return self.head(self.pool(self.norm(tokens)))

    def init_weights(self) -> None:
        """Load ``pretrained``, if there is one; random weights are there since construction."""
        super().init_weights()
        if self.pretrained is not None:
            load_pretrained(self, self.pretrained)


def load_pretrained(model: AutoFormerViT, path: str) -> None:
    """Start from an exported checkpoint of the same architecture.

    Raises:
        CheckpointError: something other than head and positions does not fit.
    """
    checkpoint = load_file(path)
    state, initial = dict(checkpoint.get('state_dict', checkpoint)), model.state_dict()
    positions = state.get('pos_embed')
    if positions is not None and model.abs_pos and positions.shape[1] != model.pos_embed.shape[1]:
        side = round((positions.shape[1] - 1) ** 0.5)
        old = tuple(checkpoint.get('meta', {}).get('grid', (side, side)))
        state['pos_embed'] = resize_pos_embed(positions, old, model.grid)
        print_log(f'{path}: absolute positions interpolated from {old} to {model.grid} patches', 'current')
    if 'head.weight' in state and state['head.weight'].shape != initial['head.weight'].shape:
        print_log(f'{path}: the head of {len(state["head.weight"])} classes starts anew with {model.num_classes}', 'current')
        state.update({key: initial[key] for key in ('head.weight', 'head.bias')})
    load_weights(model, state, path)
