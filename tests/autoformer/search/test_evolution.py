"""The evolution without any network: its operators, its budgets, its convergence and its resumption."""

import json
import random

import numpy as np
import pytest

from openmsra.autoformer.search.budgets import Budgets, growing_cost
from openmsra.autoformer.search.complexity import count_params
from openmsra.autoformer.search.evolution import Evolution, EvolutionSettings, crossover, mutate
from openmsra.autoformer.space import SearchSpace
from openmsra.errors import EmptyBudgetError

TINY = SearchSpace.from_config('tiny')


def _cost():
    return growing_cost(lambda archs: np.array([count_params(arch) for arch in archs], float), TINY)


def _evolution(ranges=None, seed=0, **settings):
    return Evolution(TINY, Budgets(ranges or {}, dict(params=_cost())), EvolutionSettings(**settings), seed)


def _run(evolution, score):
    while not evolution.finished and (pending := evolution.propose()):
        evolution.tell([score(arch) for arch in pending])
    return evolution


def _arch(depth, width=192, heads=3, ratio=3.5):
    return dict(embed_dim=width, depth=depth, num_heads=[heads] * depth, mlp_ratio=[ratio] * depth)


def test_crossover_takes_each_gene_from_a_parent_at_any_pair_of_depths():
    short, long = _arch(12, 192, 3, 3.5), _arch(14, 240, 4, 4.0)
    rng = random.Random(0)
    children = [crossover(short, long, rng) for _ in range(400)]
    for child in children:
        assert TINY.contains(child)
        assert child['num_heads'][12:] == [4] * (child['depth'] - 12)
    assert {child['depth'] for child in children} == {12, 14}
    assert {child['embed_dim'] for child in children} == {192, 240}
    share = np.mean([child['num_heads'][:12] for child in children])
    assert share == pytest.approx(3.5, abs=0.03)  # 4800 fair coins: four standard errors are 0.029


def test_mutation_redraws_with_its_probabilities():
    arch, rng = _arch(13), random.Random(0)
    assert mutate(arch, TINY, 0.0, 0.0, rng) == arch
    children = [mutate(arch, TINY, 0.2, 0.4, rng) for _ in range(2000)]
    assert all(TINY.contains(child) for child in children)
    # a redraw may return the old value: half of the redraws of a two-fold choice change it, two thirds of a three-fold
    assert np.mean([ratio == 4.0 for child in children for ratio in child['mlp_ratio'][:12]]) == pytest.approx(0.1, abs=0.01)
    assert np.mean([heads == 4 for child in children for heads in child['num_heads'][:12]]) == pytest.approx(0.1, abs=0.01)
    assert np.mean([child['depth'] != 13 for child in children]) == pytest.approx(0.4 * 2 / 3, abs=0.045)
    assert np.mean([child['embed_dim'] != 192 for child in children]) == pytest.approx(0.4 * 2 / 3, abs=0.045)
    assert arch == _arch(13), 'the parent was changed'


def test_search_without_a_network_converges_to_the_wanted_size():
    target = 7_500_000
    evolution = _run(_evolution(generations=20), lambda arch: -abs(count_params(arch) - target))
    best = evolution.best(1)[0]
    assert len(evolution.history) == 20 * 50
    assert -best.score < 2_000  # the random first generation is some 40 times further away
    assert 5 * -best.score < -max(scored.score for scored in evolution.history if scored.generation == 0)


def test_evolution_beats_random_search_at_equal_evaluations():
    def score(arch):
        return sum(arch['num_heads']) - sum(arch['mlp_ratio'])  # wide attention, narrow MLP: no random draw has both

    results = {
        strategy: [_run(_evolution(seed=seed, strategy=strategy), score) for seed in range(3)]
        for strategy in ('evolution', 'random')
    }
    assert {len(run.history) for runs in results.values() for run in runs} == {1000}
    worst = min(run.best(1)[0].score for run in results['evolution'])
    assert worst > max(run.best(1)[0].score for run in results['random'])


def test_candidates_are_distinct_legal_and_fill_the_population():
    low, high = 6_000_000, 7_000_000
    evolution = _run(_evolution(dict(params=(low, high)), generations=6), lambda arch: -arch['depth'])
    genomes = [TINY.genome(scored.arch) for scored in evolution.history]
    assert len(genomes) == len(set(genomes)) == 6 * 50
    assert all(low <= count_params(scored.arch) <= high for scored in evolution.history)
    assert all(TINY.contains(scored.arch) for scored in evolution.history)
    assert [(s.generation, s.index) for s in evolution.history] == [(g, i) for g in range(6) for i in range(50)]


def test_last_generation_is_ranked():
    evolution = _evolution(generations=2, population=4, mutations=2, crossovers=2)
    for generation in range(2):
        evolution.propose()
        evolution.tell([generation * 10 + index for index in range(4)])
    assert evolution.finished
    assert [scored.score for scored in evolution.best(3)] == [13, 12, 11]


def test_of_equal_scores_the_first_comes_first():
    evolution = _run(_evolution(generations=2, population=5, mutations=2, crossovers=2), lambda arch: 1.0)
    assert [(s.generation, s.index) for s in evolution.best(6)] == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0)]


def test_both_ends_of_a_range_are_allowed():
    exact = count_params(TINY.smallest())
    evolution = _run(
        _evolution(dict(params=(exact, exact)), generations=3, population=5, mutations=2, crossovers=2, max_attempts=64),
        lambda arch: 1.0,
    )
    assert [scored.arch for scored in evolution.history] == [TINY.smallest()]
    assert evolution.exhausted


def test_range_that_random_draws_miss_is_reached():
    low = count_params(TINY.smallest())
    evolution = _evolution(dict(params=(low, low + 40_000)), population=8, mutations=4, crossovers=4, max_attempts=2000)
    assert not evolution.budgets.accept([TINY.sample(random.Random(seed)) for seed in range(2000)]).any()
    assert len(evolution.propose()) == 8


@pytest.mark.parametrize('wanted', [(1_000_000, 5_000_000), (11_000_000, None), (None, 5_366_055)])
def test_empty_range_gives_the_range_that_exists(wanted):
    with pytest.raises(EmptyBudgetError, match='the space has 5366056 to 10517272 parameters'):
        _evolution(dict(params=wanted))


def test_range_between_two_sizes_names_the_nearest():
    exact = count_params(TINY.smallest())
    evolution = _evolution(dict(params=(exact + 1, exact + 2)), max_attempts=500)
    with pytest.raises(EmptyBudgetError, match='nearest random candidate: params'):
        evolution.propose()


@pytest.mark.parametrize('killed_after', [0, 1, 3])
def test_restored_search_equals_an_uninterrupted_one(killed_after):
    def score(arch):
        return -abs(count_params(arch) - 7_000_000)

    settings = dict(generations=5, population=20, mutations=10, crossovers=8)
    whole = _run(_evolution(**settings), score)
    killed = _evolution(**settings)
    for _ in range(killed_after):
        killed.tell([score(arch) for arch in killed.propose()])
    killed.propose()  # in the middle of a generation: proposed, not scored
    state = json.loads(json.dumps(killed.state_dict()))
    random.seed(99)  # the search must not draw from the global stream
    resumed = _evolution(**settings, seed=5)
    resumed.load_state_dict(state)
    assert _run(resumed, score).history == whole.history


def test_seeds_differ_and_repeat():
    runs = [_evolution(seed=seed, population=10, mutations=5, crossovers=5).propose() for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(strategy='annealing'), "choose 'evolution' or 'random'"),
        (dict(population=0), 'population=0'),
        (dict(population=20), 'not more than population=20'),
        (dict(layer_prob=1.5), 'must be a probability'),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        EvolutionSettings(**settings)


def test_scores_must_match_the_candidates():
    evolution = _evolution(population=4, mutations=2, crossovers=2)
    evolution.propose()
    with pytest.raises(ValueError, match='3 scores for 4 candidates'):
        evolution.tell([1.0, 2.0, 3.0])
