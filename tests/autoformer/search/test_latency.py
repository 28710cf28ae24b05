"""Latency tables: measured once for a machine and its settings, and never wrongly re-used."""

import pytest
import torch
from torch import nn

from openmsra.autoformer import SearchSpace
from openmsra.autoformer.search import latency
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


def test_table_takes_times_apart_and_its_check_compares_them_end_to_end(monkeypatch):
    """With a clock that is exactly a sum (2 ms, 0.5 a block, 0.25 a head), and with one that is 10 % off for mixed layers."""

    def clock(slower):
        def time_forward(network, images, settings):
            heads = [block.out_features // 512 for block in network.blocks]
            time = 2 + sum(0.5 + 0.25 * head for head in heads)
            return time * (1 + slower * (len(set(heads)) > 1))

        monkeypatch.setattr(latency, 'time_forward', time_forward)
        return measure_latency(Layers, SPACE, (1, 8, 512), LatencySettings(**{**QUICK, 'checks': 20}))

    table = clock(slower=0)
    assert table.stem == {16: 2, 24: 2}
    assert table.block == {(e, h, 1.0): pytest.approx(0.5 + 0.25 * h) for e in (16, 24) for h in (1, 2)}
    deep = dict(embed_dim=16, depth=3, num_heads=[2, 1, 2], mlp_ratio=[1.0] * 3)
    assert table.predict([deep]) == pytest.approx([2 + 3 * 0.5 + 5 * 0.25])
    assert table.check == dict(mean=pytest.approx(0), largest=pytest.approx(0, abs=1e-12), networks=20)
    cost = table.as_cost(SPACE)
    assert (cost.least, cost.most) == pytest.approx((2 + 0.75, 2 + 3 * 1.0))
    check = clock(slower=0.1).check
    assert check['largest'] == pytest.approx(1 - 1 / 1.1)
    assert 0 < check['mean'] < check['largest']


def test_deeper_networks_take_longer():
    table = measure_latency(Layers, SPACE, (1, 64, 512), LatencySettings(seconds=0.02, rounds=3, checks=0))
    deep = dict(embed_dim=16, depth=3, num_heads=[2, 2, 2], mlp_ratio=[1.0] * 3)
    shallow = dict(embed_dim=16, depth=1, num_heads=[1], mlp_ratio=[1.0])
    more, less = table.predict([deep, shallow])
    assert more > less > 0


def test_refused_settings():
    with pytest.raises(ConfigError, match='batch_size=0'):
        LatencySettings(batch_size=0)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match='torch sees no GPU'):
            LatencySettings(device='cuda')
