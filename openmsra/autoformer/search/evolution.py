"""Evolution search over architectures without any network (AutoFormer sec. 3.4; official ``evolution.py``, repaired).

One generation is proposed as a whole, scored by the caller in any order and on any number of processes, and told back:
proposals depend on the scores of earlier generations only, so the result cannot depend on who scores what.

Against the official code: crossover inherits the depth first and then only layers that exist (there, parents of unequal
depth can produce a malformed child); random draws are capped (there, an empty budget loops for ever); the last
generation is ranked (there, it is evaluated and thrown away).
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from openmsra.autoformer.search.budgets import Budgets
from openmsra.autoformer.space import SearchSpace
from openmsra.errors import EmptyBudgetError

RANDOM_CHUNK = 64  # random draws that are checked against the budgets together
WALKS, WALK_STEPS = 20, 500  # walks into a budget that random draws miss


@dataclass(frozen=True)
class EvolutionSettings:
    """Sizes and probabilities of a search; the defaults are the official ones (spec of ``generations``: 1000 scores).

    Args:
        strategy: 'evolution', or 'random': the baseline with the same number of evaluations.
        generations: number of populations, the random first one included.
        population: candidates scored in each generation.
        parents: the best candidates so far that children are made from.
        mutations, crossovers: children of each kind wanted in a generation; random candidates fill the rest.
        layer_prob: probability of redrawing each layer's ratio, and each layer's heads (official ``m_prob``).
        network_prob: probability of redrawing the depth, and the width (official ``s_prob``).
        max_attempts: random draws before the budget is walked to, candidate by candidate.

    Raises:
        ValueError: a number out of its range, more children than the population holds, an unknown strategy.
    """

    strategy: str = 'evolution'
    generations: int = 20
    population: int = 50
    parents: int = 10
    mutations: int = 25
    crossovers: int = 25
    layer_prob: float = 0.2
    network_prob: float = 0.4
    max_attempts: int = 10_000

    def __post_init__(self) -> None:
        if self.strategy not in ('evolution', 'random'):
            raise ValueError(f"strategy={self.strategy!r}: choose 'evolution' or 'random'.")
        for name in ('generations', 'population', 'parents', 'max_attempts'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name}={getattr(self, name)}: must be at least 1.')
        for name in ('layer_prob', 'network_prob'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name}={getattr(self, name)}: must be a probability in [0, 1].')
        if min(self.mutations, self.crossovers) < 0 or self.mutations + self.crossovers > self.population:
            raise ValueError(
                f'mutations={self.mutations} and crossovers={self.crossovers}: must not be negative, and together not '
                f'more than population={self.population}.'
            )


@dataclass(frozen=True)
class Scored:
    """A candidate and what it scored; ``generation`` and ``index`` say when it was proposed."""

    arch: dict
    score: float
    generation: int
    index: int


def mutate(arch: dict, space: SearchSpace, layer_prob: float, network_prob: float, rng: random.Random) -> dict:
    """A changed copy of ``arch``: depth (layers drawn or cut), each ratio, each head count, the width, in this order."""
    depth, ratios, heads = arch['depth'], list(arch['mlp_ratio']), list(arch['num_heads'])
    if rng.random() < network_prob:
        depth = rng.choice(space.depth)
        while len(ratios) < depth:
            ratios.append(rng.choice(space.mlp_ratio))
            heads.append(rng.choice(space.num_heads))
    ratios = [rng.choice(space.mlp_ratio) if rng.random() < layer_prob else ratio for ratio in ratios[:depth]]
    heads = [rng.choice(space.num_heads) if rng.random() < layer_prob else head for head in heads[:depth]]
    width = rng.choice(space.embed_dim) if rng.random() < network_prob else arch['embed_dim']
    return dict(embed_dim=width, depth=depth, num_heads=heads, mlp_ratio=ratios)


def crossover(first: dict, second: dict, rng: random.Random) -> dict:
    """A child whose genes each come from either parent with equal chance: depth first, then layers, then the width.

    A layer that only one parent has comes from that parent, so every child is well formed at any pair of depths.
    """
    depth = rng.choice((first, second))['depth']
    genes = {}
    for name in ('mlp_ratio', 'num_heads'):
        holders = [[parent for parent in (first, second) if i < parent['depth']] for i in range(depth)]
        genes[name] = [rng.choice(having)[name][i] for i, having in enumerate(holders)]
    return dict(embed_dim=rng.choice((first, second))['embed_dim'], depth=depth, **genes)


class Evolution:
    """The state of a search: what was scored, what is to be scored, and the random stream.

    Args:
        space: the search space.
        budgets: what a candidate may cost.
        settings: sizes and probabilities.
        seed: of the search's own random stream; nothing else draws from it.

    Raises:
        EmptyBudgetError: from :meth:`propose`, when no candidate meets the budgets.
    """

    def __init__(self, space: SearchSpace, budgets: Budgets, settings: EvolutionSettings, seed: int) -> None:
        self.space, self.budgets, self.settings = space, budgets, settings
        self.rng = random.Random(seed)
        self.history: list[Scored] = []
        self.pending: list[dict] = []
        self.generation = 0
        self.exhausted = False

    @property
    def finished(self) -> bool:
        """Whether all generations are scored, or the budgets hold no candidate that has not been."""
        return self.exhausted or self.generation >= self.settings.generations

    def best(self, count: int) -> list[Scored]:
        """The ``count`` best candidates so far; of equal scores, the one proposed first comes first."""
        return sorted(self.history, key=lambda scored: -scored.score)[:count]

    def propose(self) -> list[dict]:
        """Candidates of the next generation: distinct, never scored before, within the budgets.

        The list is as long as the population, or shorter when all candidates that could be found are scored; the search
        is finished when it is empty.
        """
        if not self.pending:
            seen = {self.space.genome(scored.arch) for scored in self.history}
            if self.history and self.settings.strategy == 'evolution':
                parents = [scored.arch for scored in self.best(self.settings.parents)]
                self._add_children(self.settings.mutations, lambda: self._mutant(parents), seen)
                if len(parents) > 1:
                    cross = lambda: crossover(*self.rng.sample(parents, 2), self.rng)  # noqa: E731
                    self._add_children(self.settings.crossovers, cross, seen)
            self._fill(seen)
            self.exhausted = not self.pending
        return self.pending

    def tell(self, scores: list[float]) -> None:
        """Store the scores of :meth:`propose`'s candidates, in its order, and end the generation."""
        if len(scores) != len(self.pending):
            raise ValueError(f'{len(scores)} scores for {len(self.pending)} candidates.')
        self.history += [
            Scored(arch, float(score), self.generation, index)
            for index, (arch, score) in enumerate(zip(self.pending, scores, strict=True))
        ]
        self.pending, self.generation = [], self.generation + 1

    def state_dict(self) -> dict:
        """Everything that the rest of the search depends on, ready for JSON."""
        version, numbers, gauss = self.rng.getstate()
        return dict(
            generation=self.generation,
            exhausted=self.exhausted,
            rng=[version, list(numbers), gauss],
            pending=self.pending,
            history=[vars(scored) for scored in self.history],
        )

    def load_state_dict(self, state: dict) -> None:
        """Continue where :meth:`state_dict` was taken."""
        version, numbers, gauss = state['rng']
        self.rng.setstate((version, tuple(numbers), gauss))
        self.generation, self.exhausted, self.pending = state['generation'], state['exhausted'], state['pending']
        self.history = [Scored(**scored) for scored in state['history']]

    def _mutant(self, parents: list[dict]) -> dict:
        settings = self.settings
        return mutate(self.rng.choice(parents), self.space, settings.layer_prob, settings.network_prob, self.rng)

    def _add_children(self, wanted: int, make: Callable[[], dict], seen: set) -> None:
        """Add up to ``wanted`` legal children in at most ten attempts for each, as the official code does."""
        target = len(self.pending) + wanted
        for _ in range(10 * wanted):
            if len(self.pending) >= target:
                return
            self._add(make(), seen)

    def _add(self, arch: dict, seen: set) -> None:
        genome = self.space.genome(arch)
        if genome not in seen and self.budgets.violation(arch) == 0:
            seen.add(genome)
            self.pending.append(arch)

    def _fill(self, seen: set) -> None:
        for source in (self._random_draws, self._walks):
            for arch in source():
                if len(self.pending) >= self.settings.population:
                    return
                self._add(arch, seen)
        if not self.pending and not self.history:
            raise EmptyBudgetError(self.budgets.nothing_found([self.space.sample(self.rng) for _ in range(1000)]))

    def _random_draws(self) -> Iterator[dict]:
        for _ in range(-(-self.settings.max_attempts // RANDOM_CHUNK)):
            chunk = [self.space.sample(self.rng) for _ in range(RANDOM_CHUNK)]
            yield from (arch for arch, legal in zip(chunk, self.budgets.accept(chunk), strict=True) if legal)

    def _walks(self) -> Iterator[dict]:
        """Random walks that never go further out of the budgets: they find ranges too narrow for random draws."""
        for _ in range(WALKS):
            arch = self.space.sample(self.rng)
            distance = self.budgets.violation(arch)
            for _ in range(WALK_STEPS):
                step = self._mutant([arch])
                if (new := self.budgets.violation(step)) <= distance:
                    arch, distance = step, new
                    if distance == 0:
                        yield arch
