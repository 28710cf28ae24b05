"""Measured latency of sub-networks as a sum: stem(width) + one measured time for each block (width, heads, ratio)."""

import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.benchmark import Timer

from openmsra.autoformer.search.budgets import Cost
from openmsra.autoformer.search.journal import write_json
from openmsra.autoformer.space import SearchSpace
from openmsra.common.annotations import read_json
from openmsra.errors import ConfigError


@dataclass(frozen=True)
class LatencySettings:
    """How latency is measured.

    Args:
        batch_size: images in a forward pass; the latency is that of the whole batch.
        device: 'cpu', 'cuda' or 'cuda:N'; where the network will run.
        threads: of the CPU.
        seconds: spent on each measurement (the median of its runs counts).
        rounds: times that the whole table is measured; the least of the medians counts.
        checks: random sub-networks whose sum is compared with their measured time from end to end.
    """

    batch_size: int = 1
    device: str = 'cpu'
    threads: int = 1
    seconds: float = 0.2
    rounds: int = 2
    checks: int = 5

    def __post_init__(self) -> None:
        for name in ('batch_size', 'threads', 'seconds', 'rounds'):
            if not getattr(self, name) > 0:
                raise ConfigError(f'latency: {name}={getattr(self, name)} must be greater than 0.')
        if torch.device(self.device).type == 'cuda' and not torch.cuda.is_available():
            raise ConfigError(f"latency: device='{self.device}' but torch sees no GPU.")


@dataclass
class LatencyTable:
    """Times in ms; :meth:`predict` adds them up.

    Args:
        stem: width -> everything but the blocks.
        block: (width, heads, ratio) -> one block.
        check: errors of the sum against end-to-end times, see :func:`measure_latency`.
    """

    stem: dict[int, float]
    block: dict[tuple[int, int, float], float]
    check: dict[str, float] = field(default_factory=dict)

    def predict(self, archs: list[dict]) -> np.ndarray:
        """Latency of each architecture in ms, ``(len(archs),)``."""
        return np.array([self._sum(arch) for arch in archs])

    def as_cost(self, space: SearchSpace) -> Cost:
        """The table as a cost, with its exact bounds: noise may make a larger block the faster one."""
        least, most = (
            pick(
                self.stem[width] + depth * pick(time for (e, _, _), time in self.block.items() if e == width)
                for width in space.embed_dim
                for depth in space.depth
            )
            for pick in (min, max)
        )
        return Cost(self.predict, least, most)

    def to_json(self) -> dict:
        """The table as lists, for a file."""
        return dict(stem=list(self.stem.items()), block=[[*key, ms] for key, ms in self.block.items()], check=self.check)

    @classmethod
    def from_json(cls, content: dict) -> 'LatencyTable':
        """The inverse of :meth:`to_json`."""
        block = {(int(e), int(h), float(r)): ms for e, h, r, ms in content['block']}
        return cls({int(e): ms for e, ms in content['stem']}, block, content['check'])

    def _sum(self, arch: dict) -> float:
        width = arch['embed_dim']
        layers = zip(arch['num_heads'], arch['mlp_ratio'], strict=True)
        return self.stem[width] + sum(self.block[width, heads, float(ratio)] for heads, ratio in layers)


def measure_latency(
    build: Callable[[dict], nn.Module],
    space: SearchSpace,
    image_shape: tuple[int, int, int],
    settings: LatencySettings,
    seed: int = 0,
) -> LatencyTable:
    """Measure the table on networks of the greatest depth whose blocks are all alike.

    A block is timed inside of such a network, with its neighbours' weights competing for the caches, and not alone.

    Args:
        build: architecture -> the network as it will be deployed, with its blocks in ``blocks``.
        space: the search space.
        image_shape: (C, H, W) of the input.
        settings: where and how long.
        seed: draws the sub-networks of the check.

    Returns:
        the table; ``check`` holds the mean and the largest relative error of the sum over random sub-networks.
    """
    import random

    images = torch.randn(settings.batch_size, *image_shape, device=settings.device)
    depth = max(space.depth)
    stems: dict[int, list[float]] = {width: [] for width in space.embed_dim}
    totals: dict[tuple, list[float]] = {
        (e, h, float(r)): [] for e in space.embed_dim for h in space.num_heads for r in space.mlp_ratio
    }
    for _ in range(settings.rounds):
        for width, heads, ratio in totals:
            network = build(dict(embed_dim=width, depth=depth, num_heads=[heads] * depth, mlp_ratio=[ratio] * depth))
            totals[width, heads, ratio].append(time_forward(network, images, settings))
            network.blocks = nn.ModuleList()
            stems[width].append(time_forward(network, images, settings))
    stem = {width: min(times) for width, times in stems.items()}
    table = LatencyTable(stem, {key: (min(times) - stem[key[0]]) / depth for key, times in totals.items()})
    rng = random.Random(seed)
    archs = [space.sample(rng) for _ in range(settings.checks)]
    measured = [min(time_forward(build(arch), images, settings) for _ in range(settings.rounds)) for arch in archs]
    if archs:
        errors = table.predict(archs) / np.array(measured) - 1
        table.check = dict(mean=float(np.abs(errors).mean()), largest=float(np.abs(errors).max()), networks=len(archs))
    return table


@torch.inference_mode()
def time_forward(network: nn.Module, images: torch.Tensor, settings: LatencySettings) -> float:
    """Median time of a forward pass of ``network`` on ``images``, in ms."""
    network = network.to(images.device).eval()
    timer = Timer('network(images)', globals=dict(network=network, images=images), num_threads=settings.threads)
    return 1e3 * timer.blocked_autorange(min_run_time=settings.seconds).median


def cached_latency(
    file: Path,
    build: Callable[[dict], nn.Module],
    space: SearchSpace,
    image_shape: tuple[int, int, int],
    settings: LatencySettings,
) -> LatencyTable:
    """The table of ``file`` if it was measured on this machine with these settings, else a new one, written there."""
    key = dict(
        settings=asdict(settings),
        space=space.to_dict(),
        image_shape=list(image_shape),
        machine=_machine(settings.device),
        torch=torch.__version__,
    )
    if file.is_file():
        saved = read_json(file, dict(key=dict, table=dict))
        if saved['key'] == key:
            return LatencyTable.from_json(saved['table'])
    table = measure_latency(build, space, image_shape, settings)
    write_json(file, dict(key=key, table=table.to_json()))
    return table


def _machine(device: str) -> str:
    if torch.device(device).type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{platform.machine()} {platform.processor()} {os.cpu_count()} cores'
