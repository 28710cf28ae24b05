"""Parameters and multiply-accumulates of an architecture in closed form.

Symbols: e width, q_i = head_dim * h_i, f_i = int(e * r_i), n patches, N = n + 1 tokens, P largest relative distance.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from openmsra.autoformer.space import Arch, normalize


@dataclass(frozen=True)
class Geometry:
    """What the cost of an architecture depends on beside the architecture.

    Args:
        num_classes, in_channels, patch_size, head_dim, max_relative_position: sizes.
        img_size: side of the image, or (height, width).
        abs_pos: learned absolute positions.
        rel_pos_k, rel_pos_v: relative positions on keys and on values.
    """

    num_classes: int = 1000
    img_size: int | tuple[int, int] = 224
    patch_size: int = 16
    in_channels: int = 3
    head_dim: int = 64
    max_relative_position: int = 14
    abs_pos: bool = True
    rel_pos_k: bool = True
    rel_pos_v: bool = True

    @property
    def grid(self) -> tuple[int, int]:
        """Patches per column and per row."""
        height, width = (self.img_size,) * 2 if isinstance(self.img_size, int) else self.img_size
        return height // self.patch_size, width // self.patch_size

    @property
    def relative_tables(self) -> int:
        """Number of roles (keys, values) with relative positions."""
        return int(self.rel_pos_k) + int(self.rel_pos_v)


def count_params(arch: Arch, num_classes: int = 1000, **geometry) -> int:
    """Parameters of the extracted sub-network; equals the official counter on the published spaces.

    Args:
        arch: an architecture.
        num_classes: classes of the head.
        **geometry: other fields of :class:`Geometry`.
    """
    return int(params_of(as_arrays([arch]), Geometry(num_classes, **geometry))[0])


def count_flops(arch: Arch, num_classes: int = 1000, official: bool = False, **geometry) -> float:
    """Multiply-accumulates of one image (times two for FLOPs in the strict sense).

    Args:
        arch: an architecture.
        num_classes: classes of the head.
        official: the estimate of the official code with its quirks (198 tokens, the head charged for every token, a
            relative term without heads) instead of the products that this implementation executes.
        **geometry: other fields of :class:`Geometry`.
    """
    arrays, setting = as_arrays([arch]), Geometry(num_classes, **geometry)
    return (_official_flops(arrays, setting) if official else macs_of(arrays, setting))[0].item()


def as_arrays(archs: list[Arch]) -> dict[str, np.ndarray]:
    """Architectures in the form of :meth:`SearchSpace.sample_many`: layers that one does not have are zero."""
    archs = [normalize(arch) for arch in archs]
    depth = np.array([arch['depth'] for arch in archs])
    present = np.arange(depth.max()) < depth[:, None]
    layers = {}
    for key in ('num_heads', 'mlp_ratio'):
        layers[key] = np.zeros(present.shape)
        layers[key][present] = [value for arch in archs for value in arch[key]]
    return dict(embed_dim=np.array([arch['embed_dim'] for arch in archs]), depth=depth, **layers)


def params_of(archs: Mapping[str, np.ndarray], geometry: Geometry) -> np.ndarray:
    """Parameters (count,) of many architectures, given as :meth:`SearchSpace.sample_many` returns them."""
    e, q, f = _widths(archs, geometry)
    present = archs['num_heads'] > 0
    n, k = int(np.prod(geometry.grid)), geometry.num_classes
    tables = geometry.relative_tables * 2 * (2 * geometry.max_relative_position + 2) * geometry.head_dim
    patch = geometry.in_channels * geometry.patch_size**2 * e + e
    tokens = e + geometry.abs_pos * e * (n + 1)
    wide = e[:, None]
    layers = 4 * wide + (3 * q * wide + 3 * q) + (q * wide + wide) + (2 * wide * f + f + wide) + tables
    return patch + tokens + (layers * present).sum(1) + 2 * e + k * e + k


def macs_of(archs: Mapping[str, np.ndarray], geometry: Geometry) -> np.ndarray:
    """Multiply-accumulates (count,) of many architectures; relative positions in their factorised form."""
    e, q, f = _widths(archs, geometry)
    rows, columns = geometry.grid
    n, wide = rows * columns, e[:, None]
    tokens = n + 1
    relative = geometry.relative_tables * tokens * (rows + columns + 1) * q
    layers = 4 * tokens * q * wide + 2 * tokens**2 * q + 2 * tokens * wide * f + relative
    return n * geometry.in_channels * geometry.patch_size**2 * e + e * geometry.num_classes + layers.sum(1)


def _official_flops(archs: Mapping[str, np.ndarray], geometry: Geometry) -> np.ndarray:
    """The official complexity method, called with the number of patches s."""
    e, q, f = _widths(archs, geometry)
    s, p, wide = int(np.prod(geometry.grid)), geometry.max_relative_position, e[:, None]
    m = s + 2
    layers = 2 * m * wide + 4 * m * q * wide + 2 * m**2 * q + 2 * p * m**2 + m**2 / 2 + m * q / 2 + 2 * m * wide * f
    stem = e + s * geometry.in_channels * geometry.patch_size**2 * e + (s + 1) * e / 2
    return stem + (layers * (archs['num_heads'] > 0)).sum(1) + (s + 1) * e * geometry.num_classes


def _widths(archs: Mapping[str, np.ndarray], geometry: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """e (count,), q and f (count, layers); zero in layers that are absent."""
    e = np.asarray(archs['embed_dim'], dtype=np.int64)
    q = np.asarray(archs['num_heads'], dtype=np.int64) * geometry.head_dim
    f = (e[:, None] * np.asarray(archs['mlp_ratio'], dtype=np.float64)).astype(np.int64)
    return e, q, f
