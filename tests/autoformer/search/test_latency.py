"""Latency tables: measured once for a machine and its settings, and never wrongly re-used."""

import numpy as np
import pytest
import torch
from torch import nn

from openmsra.autoformer import SearchSpace
from openmsra.autoformer.search.latency import LatencySettings, cached_latency, measure_latency
from openmsra.errors import ConfigError

SPACE = SearchSpace(embed_dim=[16, 24], depth=[1, 3], num_heads=[1, 2], mlp_ratio=[1.0], head_dim=8)
QUICK = dict(seconds=0.001, rounds=1, checks=2)


class Layers(nn.Module):
    """Takes a time that grows with the number of blocks and their width."""

    def __init__(self, arch):
        super().__init__()
        layers = [nn.Linear(512, 512 * heads) for heads in arch['num_heads']]
        self.stem, self.blocks = nn.Linear(512, 512), nn.ModuleList(layers)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)[..., :512]
        return x


def test_cached_table_is_read_again_only_for_the_same_question(tmp_path):
    built = []

    def build(arch):
        built.append(arch)
        return Layers(arch)

    def table(**changes):
        return cached_latency(tmp_path / 'l.json', build, SPACE, (1, 8, 512), LatencySettings(**{**QUICK, **changes}))

    first, count = table(), len(built)
    assert count > 0
    assert (table().stem, table().block) == (first.stem, first.block)
    assert len(built) == count, 'the cached table was measured again'
    table(batch_size=2)
    assert len(built) == 2 * count, 'another batch size must be measured'


def test_sum_is_near_the_time_from_end_to_end():
    table = measure_latency(Layers, SPACE, (1, 64, 512), LatencySettings(seconds=0.02, rounds=3, checks=4))
    assert table.check['networks'] == 4 and table.check['mean'] <= table.check['largest']
    deep = dict(embed_dim=16, depth=3, num_heads=[2, 2, 2], mlp_ratio=[1.0] * 3)
    shallow = dict(embed_dim=16, depth=1, num_heads=[1], mlp_ratio=[1.0])
    more, less = table.predict([deep, shallow])
    assert more > less > 0
    cost = table.as_cost(SPACE)
    assert cost.least <= less and more <= cost.most
    assert np.allclose(more - table.stem[16], 3 * table.block[16, 2, 1.0])


def test_refused_settings():
    with pytest.raises(ConfigError, match='batch_size=0'):
        LatencySettings(batch_size=0)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match='torch sees no GPU'):
            LatencySettings(device='cuda')
