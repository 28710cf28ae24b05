"""What a candidate may cost: ranges of parameters, FLOPs and measured latency, in any combination."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import nn

from openmsra.autoformer.search.complexity import Geometry, as_arrays, macs_of, params_of
from openmsra.autoformer.space import SearchSpace
from openmsra.errors import ConfigError, EmptyBudgetError
from openmsra.suggest import did_you_mean

UNITS = dict(params='parameters', flops='multiply-accumulates', latency='ms')


@dataclass(frozen=True)
class Cost:
    """One cost of architectures and the range of it that exists in the space.

    Args:
        of: architectures -> their costs, ``(len(archs),)`` float64.
        least, most: the exact bounds of the cost over the space.
    """

    of: Callable[[list[dict]], np.ndarray]
    least: float
    most: float


def growing_cost(of: Callable[[list[dict]], np.ndarray], space: SearchSpace) -> Cost:
    """A cost that grows with every choice (parameters, FLOPs): its bounds are those of the two extreme networks."""
    least, most = of([space.smallest(), space.largest()])
    return Cost(of, float(least), float(most))


def supernet_costs(supernet: nn.Module) -> dict[str, Cost]:
    """Parameters and multiply-accumulates of the sub-networks of a supernet, in closed form."""
    geometry, space = Geometry(**supernet.geometry), supernet.space
    return {
        name: growing_cost(lambda archs, of=of: of(as_arrays(archs), geometry).astype(np.float64), space)
        for name, of in dict(params=params_of, flops=macs_of).items()
    }


@dataclass(frozen=True)
class Budget:
    """A wanted range ``[low, high]`` of the cost called ``name``."""

    name: str
    low: float
    high: float
    cost: Cost

    def distances(self, archs: list[dict]) -> np.ndarray:
        """How far each candidate is outside of the range, as a fraction of the range that exists; 0 inside."""
        costs = self.cost.of(archs)
        outside = np.maximum(np.maximum(self.low - costs, costs - self.high), 0)
        return outside / max(self.cost.most - self.cost.least, 1e-12)

    def describe(self) -> str:
        """'params in [5000000, 6000000]; the space has 5366056 to 10517272 parameters'."""
        exists = f'{_number(self.cost.least)} to {_number(self.cost.most)} {UNITS.get(self.name, "")}'
        return f'{self.name} in [{_number(self.low)}, {_number(self.high)}]; the space has {exists}'.rstrip()


class Budgets:
    """Ranges that a candidate must meet, all of them.

    Args:
        ranges: name -> (low, high), both ends allowed; ``None`` leaves an end open.
        costs: name -> cost, for every name of ``ranges`` and every further cost that a report shows.

    Raises:
        ConfigError: an unknown name, or a value that is not a range.
        EmptyBudgetError: a range lies outside of what exists.
    """

    def __init__(self, ranges: dict[str, tuple], costs: dict[str, Cost]) -> None:
        for name in ranges:
            if name not in costs:
                raise ConfigError(f"budgets: there is no cost '{name}'. {did_you_mean(name, costs)}")
        self.costs = costs
        self.budgets = [Budget(name, *_ends(name, wanted), costs[name]) for name, wanted in ranges.items()]
        impossible = [b.describe() for b in self.budgets if b.low > b.cost.most or b.high < b.cost.least]
        if impossible:
            raise EmptyBudgetError('no candidate meets the budgets:' + ''.join(f'\n  {line}' for line in impossible))

    def accept(self, archs: list[dict]) -> np.ndarray:
        """Which candidates meet all ranges, ``(len(archs),)`` bool."""
        return self._distances(archs) == 0

    def violation(self, arch: dict) -> float:
        """How far ``arch`` is outside of the ranges, summed over them; 0 inside."""
        return float(self._distances([arch])[0])

    def measure(self, arch: dict) -> dict[str, float]:
        """All costs of one candidate by name."""
        return {name: float(cost.of([arch])[0]) for name, cost in self.costs.items()}

    def nothing_found(self, samples: list[dict]) -> str:
        """The message for ranges that exist one by one while no candidate is found in all of them."""
        nearest = self.measure(samples[int(self._distances(samples).argmin())])
        lines = [budget.describe() for budget in self.budgets]
        lines += ['nearest random candidate: ' + ', '.join(f'{name} {_number(x)}' for name, x in nearest.items())]
        return 'no candidate was found that meets the budgets:' + ''.join(f'\n  {line}' for line in lines)

    def _distances(self, archs: list[dict]) -> np.ndarray:
        return sum((budget.distances(archs) for budget in self.budgets), np.zeros(len(archs)))


def _ends(name: str, wanted: tuple) -> tuple[float, float]:
    if not isinstance(wanted, list | tuple) or len(wanted) != 2:
        raise ConfigError(f'budgets: {name}={wanted!r} is not a range (low, high); None leaves an end open.')
    low = -math.inf if wanted[0] is None else float(wanted[0])
    high = math.inf if wanted[1] is None else float(wanted[1])
    if not low <= high:
        raise ConfigError(f'budgets: {name}=({_number(low)}, {_number(high)}) ends before it begins.')
    return low, high


def _number(value: float) -> str:
    return f'{value:.0f}' if math.isinf(value) or abs(value) >= 1000 else f'{value:.4g}'
