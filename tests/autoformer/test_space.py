"""Spaces and the closed forms of their costs (published numbers)."""

import numpy as np
import pytest
from scipy.stats import chisquare

from openmsra.autoformer import SearchSpace, arch_rng, count_flops, count_params
from openmsra.autoformer.search.complexity import Geometry, macs_of, params_of

PUBLISHED = {  # params, official estimate, multiply-accumulates without / with factorised relative positions (G)
    'tiny': (dict(embed_dim=192, depth=12, num_heads=[3] * 12, mlp_ratio=[3.5] * 12), 5366056, 1.2254, 1.1665, 1.1929),
    'small': (dict(embed_dim=448, depth=14, num_heads=[7] * 14, mlp_ratio=[4.0] * 14), 34790440, 7.3425, 7.1972, 7.2689),
    'base': (dict(embed_dim=528, depth=14, num_heads=[8] * 14, mlp_ratio=[3.0] * 14), 39792856, 8.3991, 8.2320, 8.3139),
}


def test_counts_of_the_published_spaces():
    assert SearchSpace.from_config('tiny').count() == 1056964608
    assert SearchSpace.from_config('small').count() == 77103263459313
    assert SearchSpace.from_config('base').count() == 6245364340204353


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_costs(name):
    arch, params, official, plain, factorised = PUBLISHED[name]
    assert count_params(arch) == params
    assert count_flops(arch, official=True) / 1e9 == pytest.approx(official, abs=5e-5)
    assert count_flops(arch, rel_pos_k=False, rel_pos_v=False) / 1e9 == pytest.approx(plain, abs=5e-5)
    assert count_flops(arch) / 1e9 == pytest.approx(factorised, abs=5e-5)


def test_vectorised_costs_equal_single_ones():
    space = SearchSpace.from_config('small')
    many = space.sample_many(50, np.random.default_rng(0))
    params, macs = params_of(many, Geometry()), macs_of(many, Geometry())
    for i in range(50):
        depth = int(many['depth'][i])
        arch = dict(
            embed_dim=int(many['embed_dim'][i]),
            depth=depth,
            num_heads=many['num_heads'][i, :depth].tolist(),
            mlp_ratio=many['mlp_ratio'][i, :depth].tolist(),
        )
        assert space.contains(arch)
        assert count_params(arch) == params[i]
        assert count_flops(arch) == macs[i]


def test_draws_are_uniform():
    space = SearchSpace.from_config('tiny')
    archs = [space.sample(arch_rng(0, i)) for i in range(6000)]
    for values in (
        [a['depth'] for a in archs],
        [a['embed_dim'] for a in archs],
        [a['num_heads'][0] for a in archs],
        [a['mlp_ratio'][11] for a in archs],
    ):
        assert chisquare(np.unique(values, return_counts=True)[1]).pvalue > 1e-3


def test_stream_depends_on_seed_and_iteration_alone():
    import random

    space = SearchSpace.from_config('base')
    first = [space.sample(arch_rng(1, i)) for i in range(20)]
    random.seed(5)
    assert first == [space.sample(arch_rng(1, i)) for i in range(20)]
    assert first != [space.sample(arch_rng(2, i)) for i in range(20)]


def test_genome_and_back():
    space = SearchSpace.from_config('small')
    for i in range(20):
        arch = space.sample(arch_rng(0, i))
        genome = space.genome(arch)
        assert len(genome) == 2 * arch['depth'] + 2
        assert space.from_genome(genome) == arch
    mixed = dict(embed_dim=320, depth=1, num_heads=[5], mlp_ratio=[4])
    assert space.genome(mixed) == space.genome({**mixed, 'mlp_ratio': [4.0]})


GOOD = dict(embed_dim=192, depth=2, num_heads=[3, 4], mlp_ratio=[3.0, 4.0])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(embed_dim=300), 'embed_dim=300 does not fit a supernet with embed_dim <= 256'),
        (dict(num_heads=[3, 5]), r'num_heads=\[3, 5\] does not fit'),
        (dict(mlp_ratio=[3.0, 4.5]), 'mlp_ratio'),
        (dict(depth=3), 'must be a list of depth=3 entries'),
        (dict(num_heads=3), 'must be a list'),
        (dict(width=3), 'exactly the keys'),
    ],
)
def test_bad_architectures_are_named(change, message):
    space = SearchSpace.from_config('tiny')
    space.validate(GOOD)  # ratio 3.0 is outside the choices, but the published tiny network has it
    assert not space.contains(GOOD)
    with pytest.raises(ValueError, match=message):
        space.validate({**GOOD, **change})


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ('huge', "'huge' is none of tiny, small, base"),
        (dict(embed_dim=[16]), 'missing'),
        (dict(embed_dim=[], depth=[1], num_heads=[1], mlp_ratio=[1]), 'at least one choice'),
        (dict(embed_dim=[16], depth=[2], num_heads=[1], mlp_ratio=[1], super_depth=1), 'smaller than the choice'),
        (dict(embed_dim=[16], depth=[2], num_heads=[1], mlp_ratio=[1], heads=3), r"unknown \['heads'\]"),
    ],
)
def test_bad_spaces_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace.from_config(config)
