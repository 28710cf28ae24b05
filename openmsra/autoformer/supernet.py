"""The AutoFormer supernet: all architectures of a space in one set of weights (sec. 3)."""

import copy
import random

import torch
from mmengine.dist import broadcast_object_list
from mmengine.logging import MessageHub
from torch import Tensor, nn

from openmsra.autoformer.elastic import ElasticBlock, ElasticLayerNorm, ElasticLinear, ElasticPatchEmbed
from openmsra.autoformer.losses import hard_distillation_loss, inplace_distillation_loss, targets_of
from openmsra.autoformer.search.complexity import count_flops, count_params
from openmsra.autoformer.space import Arch, SearchSpace, arch_rng, normalize
from openmsra.autoformer.vit import LN_EPS, AutoFormerViT, Block, PatchEmbed, VisionTransformerBase, patches_to_tokens
from openmsra.engine.checkpoint.io import load_file, load_weights
from openmsra.registry import MODELS


class Stem(nn.Module):
    """Patch embedding, tokens, final norm and head of one width, of which classical sharing has one for each width."""

    def __init__(
        self, in_channels: int, patch_size: int, embed_dim: int, num_classes: int, pos_embed: nn.Parameter | None
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(in_channels, patch_size, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = pos_embed
        self.norm = nn.LayerNorm(embed_dim, eps=LN_EPS)
        self.head = nn.Linear(embed_dim, num_classes)


@MODELS.register_module()
class AutoFormerSupernet(VisionTransformerBase):
    """One vision transformer that contains every architecture of a search space.

    A call uses the architecture chosen by :meth:`set_subnet` (the largest of the space at first). Only the loss in training
    mode draws its own: one random architecture for each iteration or, with ``sandwich``, the largest, the smallest and some
    random ones. The draw is a function of the run's seed and iteration, so it is the same on all processes (whatever
    ``randomness.diff_rank_seed`` says) and after a resume, and no config can leave it out. A training loop other than
    mmengine's, in which nobody tells the iteration, may call :meth:`sample_subnets` before each step; else steps are counted.

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
        network: arguments of :class:`~openmsra.autoformer.vit.VisionTransformerBase`; ``head_dim`` is that of the space.

    Raises:
        ValueError: a value that is none of those above.
    """

    changes_its_graph = True  # which parameters have a gradient: no static_graph
    not_compiled_because = (
        'its graph is another one for each architecture that it draws (torch 2.13 fails on the sizes of the slices)'
    )

    def __init__(
        self,
        space: str | dict,
        sharing: str = 'entangled',
        qkv_bias_layout: str = 'prefix',
        scale_output: bool = False,
        sandwich: dict | None = None,
        teacher: dict | None = None,
        drop_path_rate: float = 0.1,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        **network,
    ) -> None:
        space = SearchSpace.from_config(space)
        _check_choice('sharing', sharing, ('entangled', 'classical'))
        _check_choice('qkv_bias_layout', qkv_bias_layout, ('prefix', 'interleaved'))
        super().__init__(head_dim=space.head_dim, **network)
        self.space, self.sharing, self.qkv_bias_layout = space, sharing, qkv_bias_layout
        self.scale_output = scale_output
        self.drop_path_rate, self.drop_rate, self.attn_drop_rate = drop_path_rate, drop_rate, attn_drop_rate
        self.sandwich = _checked_sandwich(sandwich)
        drop_path_rates = torch.linspace(0, drop_path_rate, space.super_depth, device='cpu').tolist()
        if sharing == 'entangled':
            self._build_entangled(drop_path_rates)
        else:
            self._build_classical(drop_path_rates)
        self.reset_parameters()
        self._teacher = [_frozen(teacher)] if teacher else []  # in a list: not part of the state dict
        self._sampled: dict[str, Arch] | None = None
        self._run_seed: tuple[str, int] = ('', 0)  # name of a run, and its seed on the first process
        self._last_step, self._repeats = ('', 0), 0  # the run and iteration trained last, and how often again
        self.set_subnet(space.largest())

    def _build_entangled(self, drop_path_rates: list[float]) -> None:
        """One set of weights of the greatest size; its names are those of an ordinary vision transformer."""
        space = self.space
        self.patch_embed = ElasticPatchEmbed(self.in_channels, self.patch_size, space.super_embed_dim)
        self.norm = ElasticLayerNorm(space.super_embed_dim)
        self.head = ElasticLinear(space.super_embed_dim, self.num_classes)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, space.super_embed_dim))
        self.pos_embed = self._absolute_positions(space.super_embed_dim)
        self.blocks = nn.ModuleList(
            ElasticBlock(
                space,
                self.max_relative_position,
                self.roles,
                drop_path_rate,
                self.drop_rate,
                self.attn_drop_rate,
                self.qkv_bias_layout,
                self.scale_output,
            )
            for drop_path_rate in drop_path_rates
        )

    def _build_classical(self, drop_path_rates: list[float]) -> None:
        """A stem for each width, and for each layer a block for each combination of choices."""
        space = self.space
        self.stems = nn.ModuleDict(
            {
                str(e): Stem(self.in_channels, self.patch_size, e, self.num_classes, self._absolute_positions(e))
                for e in space.embed_dim
            }
        )
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    _block_key(e, heads, ratio): Block(
                        e,
                        heads,
                        ratio,
                        space.head_dim,
                        self.max_relative_position,
                        self.roles,
                        drop_path_rate,
                        self.drop_rate * e / space.super_embed_dim,
                        self.attn_drop_rate,
                    )
                    for e in space.embed_dim
                    for heads in space.num_heads
                    for ratio in space.mlp_ratio
                }
            )
            for drop_path_rate in drop_path_rates
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

    def get_subnet(self) -> Arch:
        """The active architecture."""
        return normalize(self._arch)

    def sample_subnets(self, seed: int, iteration: int) -> None:
        """Choose what the next training step trains: a function of (seed, iteration) alone."""
        self._sample(arch_rng(seed, iteration))

    def _sample(self, rng: random.Random) -> None:
        if self.sandwich is None:
            self._sampled = {'': self.space.sample(rng)}
            self.set_subnet(self._sampled[''])
            return
        draws = {f'random{i}': self.space.sample(rng) for i in range(self.sandwich['num_random'])}
        self._sampled = dict(largest=self.space.largest(), smallest=self.space.smallest(), **draws)

    def _next_subnets(self) -> dict[str, Arch]:
        """What this training step trains; each draw serves one step."""
        if self._sampled is None:
            self._sample(self._rng_of_step())
        subnets, self._sampled = self._sampled, None
        return subnets

    def _rng_of_step(self) -> random.Random:
        """The generator of this step, from the seed and the iteration of the run, which mmengine's RuntimeInfoHook tells. Outside
        of a run, where the iteration stands still, the network counts its steps itself."""
        hub = MessageHub.get_current_instance()
        run, iteration = hub.instance_name, hub.runtime_info.get('iter', 0)
        if self._run_seed[0] != run and 'seed' in hub.runtime_info:
            seed = [hub.get_info('seed')]
            broadcast_object_list(seed)  # with randomness.diff_rank_seed each process has its own
            self._run_seed = run, seed[0]
        self._repeats = self._repeats + 1 if self._last_step == (run, iteration) else 0
        self._last_step = run, iteration
        return arch_rng(self._run_seed[1], iteration, self._repeats)

    def active_blocks(self) -> list[nn.Module]:
        """The blocks that the active architecture runs, in order."""
        blocks = list(self.blocks[: self._arch['depth']])
        if self.sharing == 'entangled':
            return blocks
        sizes = zip(blocks, self._arch['num_heads'], self._arch['mlp_ratio'], strict=True)
        return [choices[_block_key(self._arch['embed_dim'], heads, ratio)] for choices, heads, ratio in sizes]

    def active_stem(self) -> nn.Module:
        """The module that owns patch embedding, tokens, final norm and head of the active architecture."""
        return self if self.sharing == 'entangled' else self.stems[str(self._arch['embed_dim'])]

    def logits(self, images: Tensor) -> Tensor:
        """Logits (B, K) of the active architecture."""
        stem = self.active_stem()
        if self.sharing == 'entangled':
            patches = stem.patch_embed(images, self._arch['embed_dim'])
            slices = list(zip(self._arch['num_heads'], self._arch['mlp_ratio'], strict=True))
        else:  # every module has the size of the architecture
            patches, slices = stem.patch_embed(images), [()] * self._arch['depth']
        tokens = patches_to_tokens(patches, stem.cls_token, stem.pos_embed)
        for block, sizes in zip(self.active_blocks(), slices, strict=True):
            tokens = block(tokens, self.relative_index, *sizes)
        return stem.head(self.pool(stem.norm(tokens)))

    def loss(self, images: Tensor, data_samples: list) -> dict[str, Tensor]:
        """In training mode the losses of the architectures drawn for this step, with a sandwich one entry for each; else the
        loss of the active one."""
        targets, losses, largest_logits = targets_of(data_samples), {}, None
        for name, arch in (self._next_subnets() if self.training else {'': self._arch}).items():
            self.set_subnet(arch)
            logits = self.logits(images)
            if largest_logits is not None:
                losses[f'loss_{name}'] = inplace_distillation_loss(logits, largest_logits)
                continue
            losses[f'loss_{name}' if name else 'loss'] = self._classification_loss(images, logits, targets)
            if name == 'largest' and self.sandwich['distill']:
                largest_logits = logits
        return losses

    def _classification_loss(self, images: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        if not self._teacher:
            return self.loss_module(logits, targets)
        with torch.no_grad():
            teacher_logits = self._teacher[0].to(images.device)(images, mode='tensor')
        return hard_distillation_loss(self.loss_module, logits, targets, teacher_logits)

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


def _check_choice(name: str, value: str, valid: tuple[str, ...]) -> None:
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


@torch.no_grad()
def extract_subnet(supernet: AutoFormerSupernet, arch: Arch) -> AutoFormerViT:
    """Copy one architecture out of a supernet as an ordinary network with the same logits.

    The network shares nothing with the supernet: either may move to another device.

    Args:
        supernet: a trained supernet; its active architecture is left as it was.
        arch: what to extract.
    """
    before = supernet.get_subnet()
    supernet.set_subnet(arch)
    arch = supernet.get_subnet()
    share = arch['embed_dim'] / supernet.space.super_embed_dim
    network = AutoFormerViT(
        arch,
        drop_path_rate=supernet.drop_path_rate * (arch['depth'] - 1) / max(supernet.space.super_depth - 1, 1),
        drop_rate=supernet.drop_rate * share,
        attn_drop_rate=supernet.attn_drop_rate,
        num_classes=supernet.num_classes,
        img_size=supernet.img_size,
        patch_size=supernet.patch_size,
        in_channels=supernet.in_channels,
        head_dim=supernet.head_dim,
        max_relative_position=supernet.max_relative_position,
        relative_position=supernet.roles,
        abs_pos=supernet.abs_pos,
        global_pool=supernet.global_pool,
        init_std=supernet.init_std,
    )
    network.loss_module = copy.deepcopy(supernet.loss_module)
    network.data_preprocessor = copy.deepcopy(supernet.data_preprocessor)
    stem = supernet.active_stem()
    for name, parameter in network.named_parameters():
        if not name.startswith('blocks.'):
            _copy_leading(parameter, stem.get_parameter(name))
    for target, source in zip(network.blocks, supernet.active_blocks(), strict=True):
        _copy_block(target, source, supernet)
    supernet.set_subnet(before)
    return network.train(supernet.training)


def _copy_block(target: Block, source: Block, supernet: AutoFormerSupernet) -> None:
    for name, parameter in target.named_parameters():
        _copy_leading(parameter, source.get_parameter(name))
    if supernet.sharing == 'entangled':
        weights, biases = source.attn.role_weights(target.attn.num_heads, target.norm1.normalized_shape[0])
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
