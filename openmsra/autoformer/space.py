"""Search spaces and architectures (AutoFormer sec. 3.3, table 1).

An architecture is ``dict(embed_dim=int, depth=int, num_heads=[depth ints], mlp_ratio=[depth floats])``.
"""

import random
import zlib
from dataclasses import asdict, dataclass

import numpy as np

Arch = dict
KEYS = ('embed_dim', 'depth', 'num_heads', 'mlp_ratio')


@dataclass(frozen=True)
class SearchSpace:
    """Choices of a supernet and the size of its tensors.

    Args:
        embed_dim, depth: choices for the whole network.
        num_heads, mlp_ratio: choices per layer, drawn independently.
        head_dim: channels of one head; the same in every layer, so the Q-K-V width is ``head_dim * num_heads``.
        super_embed_dim, super_depth, super_num_heads, super_mlp_ratio: sizes of the supernet; the largest choice where
            they are not given (the published tiny and base supernets are wider than their largest choice).

    Raises:
        ValueError: a list of choices is empty or holds a size that is not positive or larger than the supernet's.
    """

    embed_dim: tuple[int, ...]
    depth: tuple[int, ...]
    num_heads: tuple[int, ...]
    mlp_ratio: tuple[float, ...]
    head_dim: int = 64
    super_embed_dim: int = 0
    super_depth: int = 0
    super_num_heads: int = 0
    super_mlp_ratio: float = 0.0

    def __post_init__(self) -> None:
        for key in KEYS:
            number = float if key == 'mlp_ratio' else int
            choices = tuple(sorted(number(choice) for choice in getattr(self, key)))
            if not choices or choices[0] <= 0:
                raise ValueError(f'space.{key}={choices}: at least one choice is needed and all must be positive.')
            object.__setattr__(self, key, choices)
            largest = getattr(self, f'super_{key}') or choices[-1]
            if largest < choices[-1]:
                raise ValueError(f'space.super_{key}={largest} is smaller than the choice {choices[-1]}.')
            object.__setattr__(self, f'super_{key}', number(largest))

    @classmethod
    def from_config(cls, config: 'str | dict | SearchSpace') -> 'SearchSpace':
        """A published space by name ('tiny', 'small', 'base') or any space from its fields."""
        if isinstance(config, cls):
            return config
        if isinstance(config, str):
            if config not in SPACES:
                raise ValueError(f'space {config!r} is none of {", ".join(SPACES)}; give its choices as a dict instead.')
            return SPACES[config]
        unknown = set(config) - set(cls.__dataclass_fields__)
        if unknown or not set(KEYS) <= set(config):
            raise ValueError(
                f'space: unknown {sorted(unknown)}, missing {sorted(set(KEYS) - set(config))}; '
                f'it takes {", ".join(cls.__dataclass_fields__)}.'
            )
        return cls(**config)

    def to_dict(self) -> dict:
        """The fields, for files and ``from_config``."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def count(self) -> int:
        """Number of architectures."""
        per_layer = len(self.num_heads) * len(self.mlp_ratio)
        return len(self.embed_dim) * sum(per_layer**depth for depth in self.depth)

    def sample(self, rng: random.Random) -> Arch:
        """A uniform draw in the official order: depth, ratios, heads, width."""
        depth = rng.choice(self.depth)
        mlp_ratio = [rng.choice(self.mlp_ratio) for _ in range(depth)]
        num_heads = [rng.choice(self.num_heads) for _ in range(depth)]
        return dict(embed_dim=rng.choice(self.embed_dim), depth=depth, num_heads=num_heads, mlp_ratio=mlp_ratio)

    def smallest(self) -> Arch:
        """The minimum of every choice."""
        return self._uniform(0)

    def middle(self) -> Arch:
        """The (lower) median of every choice."""
        return self._uniform(0.5)

    def largest(self) -> Arch:
        """The maximum of every choice (not the supernet's own size where that is larger)."""
        return self._uniform(1)

    def _uniform(self, share: float) -> Arch:
        pick = {key: getattr(self, key)[int(share * (len(getattr(self, key)) - 1))] for key in KEYS}
        depth = pick['depth']
        return {**pick, 'num_heads': [pick['num_heads']] * depth, 'mlp_ratio': [pick['mlp_ratio']] * depth}

    def contains(self, arch: Arch) -> bool:
        """Whether every size of ``arch`` is among the choices."""
        arch = normalize(arch)
        return (
            arch['embed_dim'] in self.embed_dim
            and arch['depth'] in self.depth
            and set(arch['num_heads']) <= set(self.num_heads)
            and set(arch['mlp_ratio']) <= set(self.mlp_ratio)
        )

    def validate(self, arch: Arch) -> None:
        """Check that ``arch`` fits the supernet; sizes between the choices are legal (the published tiny network is one).

        Raises:
            ValueError: which size does not fit, and the range that does.
        """
        arch = normalize(arch)
        for key in KEYS:
            largest = getattr(self, f'super_{key}')
            values = np.atleast_1d(arch[key])
            if values.min() <= 0 or values.max() > largest:
                raise ValueError(f'architecture: {key}={arch[key]} does not fit a supernet with {key} <= {largest}.')

    def genome(self, arch: Arch) -> tuple:
        """Hashable key ``(depth, ratios..., heads..., embed_dim)``."""
        arch = normalize(arch)
        return (arch['depth'], *arch['mlp_ratio'], *arch['num_heads'], arch['embed_dim'])

    def from_genome(self, genome: tuple) -> Arch:
        """Inverse of :meth:`genome`."""
        depth = int(genome[0])
        return normalize(
            dict(embed_dim=genome[-1], depth=depth, mlp_ratio=list(genome[1 : depth + 1]), num_heads=list(genome[depth + 1 : -1]))
        )

    def sample_many(self, count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """``count`` uniform draws as arrays: ``embed_dim`` and ``depth`` (count,), ``num_heads`` and ``mlp_ratio``
        (count, super depth) with zeros in the layers that an architecture does not have."""
        depth = rng.choice(self.depth, count)
        present = np.arange(max(self.depth)) < depth[:, None]
        heads = rng.choice(self.num_heads, present.shape) * present
        ratios = rng.choice(self.mlp_ratio, present.shape) * present
        return dict(embed_dim=rng.choice(self.embed_dim, count), depth=depth, num_heads=heads, mlp_ratio=ratios)


def normalize(arch: Arch) -> Arch:
    """Plain numbers and lists (ratios float, the rest int).

    Raises:
        ValueError: a key is missing or unknown, or a list does not have one entry per layer.
    """
    if set(arch) != set(KEYS):
        raise ValueError(f'architecture: it needs exactly the keys {", ".join(KEYS)}, not {sorted(arch)}.')
    depth = int(arch['depth'])
    for key in ('num_heads', 'mlp_ratio'):
        if not isinstance(arch[key], list | tuple) or len(arch[key]) != depth:
            raise ValueError(f'architecture: {key}={arch[key]} must be a list of depth={depth} entries, one per layer.')
    return dict(
        embed_dim=int(arch['embed_dim']),
        depth=depth,
        num_heads=[int(heads) for heads in arch['num_heads']],
        mlp_ratio=[float(ratio) for ratio in arch['mlp_ratio']],
    )


def arch_rng(seed: int, iteration: int, repeat: int = 0) -> random.Random:
    """The generator of one iteration's architecture: a function of its arguments alone, so that it is equal on all
    ranks, survives a resume, and no other use of random numbers can move it. ``repeat`` counts further draws of an iteration."""
    return random.Random(zlib.crc32(f'{seed}/{iteration}{f"/{repeat}" if repeat else ""}'.encode()))


SPACES = dict(
    tiny=SearchSpace((192, 216, 240), (12, 13, 14), (3, 4), (3.5, 4.0), super_embed_dim=256),
    small=SearchSpace((320, 384, 448), (12, 13, 14), (5, 6, 7), (3.0, 3.5, 4.0)),
    base=SearchSpace((528, 576, 624), (14, 15, 16), (8, 9, 10), (3.0, 3.5, 4.0), super_embed_dim=640),
)
