"""The AutoFormer supernet: all architectures of a space in one set of weights (sec. 3)."""

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from openmsra.autoformer.elastic import (
    ElasticAttention,
    ElasticLayerNorm,
    ElasticLinear,
    ElasticMlp,
    ElasticPatchEmbed,
)
from openmsra.autoformer.search.complexity import count_flops, count_params
from openmsra.autoformer.space import Arch, SearchSpace, arch_rng, normalize
from openmsra.autoformer.vit import LN_EPS, AutoFormerViT, Block, PatchEmbed, VisionTransformerBase, targets_of
from openmsra.engine.checkpoint.io import load_file, load_weights
from openmsra.registry import HOOKS, MODELS


class ElasticBlock(Block):
    """A transformer block whose sizes are set per architecture; depth is handled by the supernet."""

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
        nn.Module.__init__(self)
        e, hidden = space.super_embed_dim, int(space.super_embed_dim * space.super_mlp_ratio)
        self.norm1, self.norm2 = ElasticLayerNorm(e), ElasticLayerNorm(e)
        self.attn = ElasticAttention(
            e, space.super_num_heads, space.head_dim, max_distance, roles, attn_drop_rate, bias_layout, scale_output
        )
        self.mlp = ElasticMlp(e, hidden, drop_rate, scale_output)
        self.drop, self.drop_path = nn.Dropout(drop_rate), DropPath(drop_path)

    def set_sizes(self, embed_dim: int, num_heads: int, mlp_ratio: float) -> None:
        """Choose the active slices."""
        self.attn.heads_active = num_heads
        self.mlp.hidden_active = int(embed_dim * mlp_ratio)


class Stem(nn.Module):
    """Patch embedding, tokens, final norm and head of one width; classical sharing owns one for each width."""

    def __init__(self, net: 'AutoFormerSupernet', embed_dim: int, elastic: bool) -> None:
        super().__init__()
        patch_embed = ElasticPatchEmbed if elastic else PatchEmbed
        self.patch_embed = patch_embed(net.in_channels, net.patch_size, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        if net.abs_pos:
            self.pos_embed = nn.Parameter(torch.zeros(1, 1 + net.grid[0] * net.grid[1], embed_dim))
        self.norm = ElasticLayerNorm(embed_dim) if elastic else nn.LayerNorm(embed_dim, eps=LN_EPS)
        self.head = ElasticLinear(embed_dim, net.num_classes) if elastic else nn.Linear(embed_dim, net.num_classes)

    @staticmethod
    def tokens(stem: nn.Module, images: Tensor) -> Tensor:
        """Images to tokens (B, N, e) with the parameters of ``stem``."""
        patches = stem.patch_embed(images)
        embed_dim = patches.shape[-1]
        tokens = torch.cat([stem.cls_token[..., :embed_dim].expand(len(patches), -1, -1), patches], 1)
        return tokens + stem.pos_embed[..., :embed_dim] if hasattr(stem, 'pos_embed') else tokens


@MODELS.register_module()
class AutoFormerSupernet(VisionTransformerBase):
    """One vision transformer that contains every architecture of a search space.

    A call uses the architecture chosen by :meth:`set_subnet` (the largest of the space at first). Training draws one
    per iteration (``ArchSamplingHook``) or, with ``sandwich``, the largest, the smallest and some random ones.

    Args:
        space: 'tiny', 'small', 'base' or the fields of :class:`~openmsra.autoformer.space.SearchSpace`.
        sharing: 'entangled' (the paper: smaller layers are slices of larger ones) or 'classical' (the baseline: each
            combination of choices of a layer owns its weights, each width its stem and head).
        qkv_bias_layout: 'prefix' (official code and checkpoints) or 'interleaved' (the bias follows the weight).
        scale_output: scale attention and MLP outputs by super size / active size (off in all published recipes).
        sandwich: ``dict(num_random=2, distill=True)``; with ``distill`` the largest architecture's soft prediction
            is the target of the others. ``None`` trains one random architecture per iteration, as published.
        teacher: ``dict(model=config, checkpoint=path)`` of a frozen classifier; half of the loss is then the
            cross-entropy against its most likely class (hard distillation).
        drop_path_rate: of the last block of the supernet; grows linearly from 0 and is not rescaled for less depth.
        drop_rate: dropout of tokens, scaled by active / super width.
        attn_drop_rate: dropout of attention weights.
        others: see :class:`~openmsra.autoformer.vit.VisionTransformerBase`.

    Raises:
        ValueError: a value that is none of those above, or a space whose head_dim differs from ``head_dim``.
    """

    def __init__(
        self,
        space: str | dict,
        num_classes: int = 1000,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        max_relative_position: int = 14,
        relative_position: str = 'kv',
        abs_pos: bool = True,
        global_pool: bool = True,
        sharing: str = 'entangled',
        qkv_bias_layout: str = 'prefix',
        scale_output: bool = False,
        sandwich: dict | None = None,
        teacher: dict | None = None,
        drop_path_rate: float = 0.1,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        init_std: float = 0.02,
        loss: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        self_space = SearchSpace.from_config(space)
        _one_of('sharing', sharing, ('entangled', 'classical'))
        _one_of('qkv_bias_layout', qkv_bias_layout, ('prefix', 'interleaved'))
        super().__init__(
            num_classes,
            img_size,
            patch_size,
            in_channels,
            self_space.head_dim,
            max_relative_position,
            relative_position,
            abs_pos,
            global_pool,
            init_std,
            loss,
            data_preprocessor,
            init_cfg,
        )
        self.space, self.sharing, self.qkv_bias_layout = self_space, sharing, qkv_bias_layout
        self.scale_output, self.drop_rate, self.drop_path_rate = scale_output, drop_rate, drop_path_rate
        self.sandwich = _checked_sandwich(sandwich)
        rates = torch.linspace(0, drop_path_rate, self_space.super_depth).tolist()
        if sharing == 'entangled':
            self._build_entangled(rates, drop_rate, attn_drop_rate)
        else:
            self._build_classical(rates, drop_rate, attn_drop_rate)
        self.reset_parameters()
        self._teacher = [_frozen(teacher)] if teacher else []  # in a list: not part of the state dict
        self.set_subnet(self_space.largest())
        self.train_subnets = {'': self.get_subnet()}

    def _build_entangled(self, rates: list[float], drop_rate: float, attn_drop_rate: float) -> None:
        for name, child in Stem(self, self.space.super_embed_dim, elastic=True).named_children():
            self.add_module(name, child)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.space.super_embed_dim))
        if self.abs_pos:
            self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid[0] * self.grid[1], self.space.super_embed_dim))
        self.blocks = nn.ModuleList(
            ElasticBlock(
                self.space,
                self.max_relative_position,
                self.roles,
                rate,
                drop_rate,
                attn_drop_rate,
                self.qkv_bias_layout,
                self.scale_output,
            )
            for rate in rates
        )

    def _build_classical(self, rates: list[float], drop_rate: float, attn_drop_rate: float) -> None:
        space = self.space
        self.stems = nn.ModuleDict({str(e): Stem(self, e, elastic=False) for e in space.embed_dim})
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    _block_key(e, heads, ratio): Block(
                        e, heads, ratio, space.head_dim, self.max_relative_position, self.roles, rate, drop_rate, attn_drop_rate
                    )
                    for e in space.embed_dim
                    for heads in space.num_heads
                    for ratio in space.mlp_ratio
                }
            )
            for rate in rates
        )

    def set_subnet(self, arch: Arch) -> None:
        """Make ``arch`` the active architecture.

        Raises:
            ValueError: it does not fit the supernet; the message says which size and what would.
        """
        arch = normalize(arch)
        self.space.validate(arch)
        if self.sharing == 'classical' and not self.space.contains(arch):
            raise ValueError(f'architecture {arch}: with classical sharing only the choices of the space own weights.')
        self._arch = arch
        if self.sharing == 'entangled':
            self.patch_embed.out_active = arch['embed_dim']
            for block, heads, ratio in zip(self.blocks, arch['num_heads'], arch['mlp_ratio'], strict=False):
                block.set_sizes(arch['embed_dim'], heads, ratio)
        if self.drop_rate:
            self._scale_dropout(arch)

    def _scale_dropout(self, arch: Arch) -> None:
        for module in self.blocks.modules():
            if isinstance(module, nn.Dropout):
                module.p = self.drop_rate * arch['embed_dim'] / self.space.super_embed_dim

    def get_subnet(self) -> Arch:
        """The active architecture."""
        return normalize(self._arch)

    def sample_subnets(self, seed: int, iteration: int) -> None:
        """Choose what the next training step trains: a function of (seed, iteration) alone."""
        rng = arch_rng(seed, iteration)
        if self.sandwich is None:
            self.train_subnets = {'': self.space.sample(rng)}
            self.set_subnet(self.train_subnets[''])
            return
        draws = {f'random{i}': self.space.sample(rng) for i in range(self.sandwich['num_random'])}
        self.train_subnets = dict(largest=self.space.largest(), smallest=self.space.smallest(), **draws)

    def active_blocks(self) -> list[nn.Module]:
        """The blocks that the active architecture runs, in order."""
        blocks = list(self.blocks[: self._arch['depth']])
        if self.sharing == 'entangled':
            return blocks
        sizes = zip(blocks, self._arch['num_heads'], self._arch['mlp_ratio'], strict=True)
        return [choices[_block_key(self._arch['embed_dim'], heads, ratio)] for choices, heads, ratio in sizes]

    def active_stem(self) -> nn.Module:
        """The module that owns stem and head of the active architecture."""
        return self if self.sharing == 'entangled' else self.stems[str(self._arch['embed_dim'])]

    def logits(self, images: Tensor) -> Tensor:
        """Logits (B, K) of the active architecture."""
        stem = self.active_stem()
        tokens = Stem.tokens(stem, images)
        for block in self.active_blocks():
            tokens = block(tokens, self.relative_index)
        return stem.head(self.pool(stem.norm(tokens)))

    def loss(self, images: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of the architectures chosen by :meth:`sample_subnets`; with a sandwich one entry for each."""
        targets, losses, soft_target = targets_of(data_samples), {}, None
        for name, arch in self.train_subnets.items():
            self.set_subnet(arch)
            logits = self.logits(images)
            if soft_target is not None:
                losses[f'loss_{name}'] = F.cross_entropy(logits, soft_target)
                continue
            losses[f'loss_{name}' if name else 'loss'] = self._hard_loss(images, logits, targets)
            if self.sandwich and self.sandwich['distill']:
                soft_target = logits.detach().softmax(-1)
        return losses

    def _hard_loss(self, images: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        loss = self.loss_module(logits, targets)
        if not self._teacher:
            return loss
        teacher = self._teacher[0].to(images.device)
        with torch.no_grad():
            labels = teacher(images, mode='tensor').argmax(-1)
        return 0.5 * loss + 0.5 * self.loss_module(logits, labels)

    def count_params(self, arch: Arch) -> int:
        """Parameters of a sub-network, from the closed form."""
        return count_params(arch, **self.geometry)

    def count_flops(self, arch: Arch) -> float:
        """Multiply-accumulates of a sub-network and one image, from the closed form."""
        return count_flops(arch, **self.geometry)

    def describe_checkpoint(self, state: dict[str, Tensor]) -> str:
        """Which supernet a state dict belongs to, by its shapes; for the message when it does not fit this one."""
        if 'blocks.0.attn.qkv.weight' not in state or 'cls_token' not in state:
            return ''
        depth = 1 + max(int(key.split('.')[1]) for key in state if key.startswith('blocks.'))
        table = state.get('blocks.0.attn.rel_pos_k.vertical')
        distance = f', max_relative_position {len(table) // 2 - 1}' if table is not None else ''
        return (
            f'The file holds a supernet of embed_dim {state["cls_token"].shape[-1]}, depth {depth}, Q-K-V width '
            f'{len(state["blocks.0.attn.qkv.weight"]) // 3}{distance}; this one has embed_dim '
            f'{self.space.super_embed_dim}, depth {self.space.super_depth}, Q-K-V width '
            f'{self.space.super_num_heads * self.head_dim}, max_relative_position {self.max_relative_position}.'
        )


def _block_key(embed_dim: int, num_heads: int, mlp_ratio: float) -> str:
    """Name of a classically shared block; a module's name cannot hold a point."""
    return f'{embed_dim}_{num_heads}_{float(mlp_ratio)}'.replace('.', 'p')


def _one_of(name: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise ValueError(f'{name}={value!r} is none of {", ".join(map(repr, valid))}.')


def _checked_sandwich(sandwich: dict | None) -> dict | None:
    if sandwich is None:
        return None
    unknown = set(sandwich) - {'num_random', 'distill'}
    if unknown:
        raise ValueError(f'sandwich: unknown keys {sorted(unknown)}; it takes num_random and distill.')
    return dict(num_random=sandwich.get('num_random', 2), distill=sandwich.get('distill', True))


def _frozen(teacher: dict) -> nn.Module:
    model = MODELS.build(teacher['model'])
    load_weights(model, load_file(teacher['checkpoint']), teacher['checkpoint'])
    return model.eval().requires_grad_(False)


@HOOKS.register_module()
class ArchSamplingHook(Hook):
    """Draws the architecture of each training iteration from (seed, iteration), the same on every rank."""

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.sample_subnets(runner.seed, runner.iter)


@torch.no_grad()
def extract_subnet(supernet: AutoFormerSupernet, arch: Arch) -> AutoFormerViT:
    """Copy one architecture out of a supernet as an ordinary network with the same logits.

    Args:
        supernet: a trained supernet; its active architecture is left as it was.
        arch: what to extract.
    """
    before = supernet.get_subnet()
    supernet.set_subnet(arch)
    arch = supernet.get_subnet()
    net = AutoFormerViT(
        arch,
        supernet.num_classes,
        supernet.img_size,
        supernet.patch_size,
        supernet.in_channels,
        supernet.head_dim,
        supernet.max_relative_position,
        supernet.roles,
        supernet.abs_pos,
        supernet.global_pool,
        supernet.drop_path_rate * (arch['depth'] - 1) / max(supernet.space.super_depth - 1, 1),
        init_std=supernet.init_std,
    )
    net.loss_module = supernet.loss_module
    net.data_preprocessor = supernet.data_preprocessor
    stem = supernet.active_stem()
    for name, parameter in net.named_parameters():
        if not name.startswith('blocks.'):
            _copy_leading(parameter, stem.get_parameter(name))
    for target, source in zip(net.blocks, supernet.active_blocks(), strict=True):
        _copy_block(target, source, supernet)
    supernet.set_subnet(before)
    return net.train(supernet.training)


def _copy_block(target: Block, source: Block, supernet: AutoFormerSupernet) -> None:
    for name, parameter in target.named_parameters():
        _copy_leading(parameter, source.get_parameter(name))
    if supernet.sharing == 'entangled':
        weights, biases = source.attn.role_weights(target.norm1.normalized_shape[0])
        target.attn.qkv.weight.copy_(torch.cat(weights))
        target.attn.qkv.bias.copy_(biases.flatten())
        if supernet.scale_output:
            _fold_scale(target, source)


def _fold_scale(target: Block, source: ElasticBlock) -> None:
    """The output scaling of a slice becomes part of the weights."""
    target.attn.proj.weight.mul_(source.attn.proj.out_features / target.attn.proj.in_features)
    super_ratio = source.mlp.fc1.out_features / source.mlp.fc1.in_features
    scale = super_ratio / (target.mlp.fc1.out_features / target.mlp.fc1.in_features)
    target.mlp.fc2.weight.mul_(scale)
    target.mlp.fc2.bias.mul_(scale)


def _copy_leading(target: Tensor, source: Tensor) -> None:
    target.copy_(source[tuple(slice(size) for size in target.shape)])
