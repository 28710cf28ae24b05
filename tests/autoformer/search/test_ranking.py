"""Rank correlation against counting pairs, and its tool as a user starts it."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from openmsra.autoformer.search.ranking import rank_correlation
from openmsra.errors import ConfigError

TOOL = 'tools/analysis/autoformer_ranking.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('ranking_tool', Path(__file__).resolve().parents[3] / TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *arguments: module.main([str(argument) for argument in arguments])


def _kendall_by_counting(x, y):
    """tau-b from its definition: concordant minus discordant pairs over the pairs that are not tied."""
    signs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i in range(len(x)) for j in range(i)]
    balance = sum(a * b for a, b in signs)
    return balance / np.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))


def _spearman_by_ranks(x, y):
    return np.corrcoef(
        *([np.mean([1 + sum(v < u for v in values), sum(v <= u for v in values)]) for u in values] for values in (x, y))
    )[0, 1]


@pytest.mark.parametrize('size', [3, 4, 25])
def test_values_are_those_of_the_definition_with_ties(size):
    rng = np.random.default_rng(size)
    x, y = rng.permutation(size) // 2, rng.permutation(size) // 2
    found = rank_correlation(x, y, resamples=50)
    assert found['kendall']['value'] == pytest.approx(_kendall_by_counting(x, y), abs=1e-9)
    assert found['spearman']['value'] == pytest.approx(_spearman_by_ranks(x, y), abs=1e-9)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """For normal pairs with correlation r, Kendall's tau is 2/pi * arcsin(r)."""
    rng, correlation, inside = np.random.default_rng(0), 0.6, 0
    truth = 2 / np.pi * np.arcsin(correlation)
    for seed in range(40):
        pairs = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], size=40)
        found = rank_correlation(*pairs.T, resamples=150, seed=seed)['kendall']
        inside += found['low'] <= truth <= found['high']
    assert 33 <= inside <= 40


@pytest.mark.parametrize(
    ('x', 'y', 'message'),
    [([1, 2], [1, 2], 'at least three'), ([1, 2, 3], [1, 2], 'at least three'), ([1, 1, 1], [1, 2, 3], 'all inherited')],
)
def test_too_few_or_constant_values_are_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        rank_correlation(x, y)


def test_tool_reads_pairs_and_writes_report_and_plot(tool, capsys, tmp_path):
    pairs = [(90.0, 91.0), (92.0, 93.0), (94.0, 92.0), (95.0, 96.0)]
    lines = ['inherited,standalone', *(f'{x},{y}' for x, y in pairs)]
    (tmp_path / 'pairs.csv').write_text('\n'.join(lines))
    (tmp_path / 'pairs.json').write_text(json.dumps([dict(inherited=x, standalone=y) for x, y in pairs]))
    for kind in ('csv', 'json'):
        tool(tmp_path / f'pairs.{kind}', '--out', tmp_path / kind)
        report = json.loads((tmp_path / f'{kind}.json').read_text())
        assert report['pairs'] == 4
        assert report['correlation']['kendall']['value'] == pytest.approx(4 / 6)  # five pairs agree, one does not
        assert 'kendall: 0.667' in capsys.readouterr().out
        assert (tmp_path / f'{kind}.png').stat().st_size > 10_000


def test_tool_matches_runs_with_the_candidates_of_a_search(tool, tmp_path):
    archs = [dict(embed_dim=16, depth=2, num_heads=[2, heads], mlp_ratio=[1.0, 2.0]) for heads in (2, 3, 4)]
    search = dict(history=[dict(arch=arch, score=score) for arch, score in zip(archs, (70.0, 80.0, 90.0), strict=True)])
    (tmp_path / 'search.json').write_text(json.dumps(search))
    runs = []
    for arch, final in zip(archs, (71.0, 95.0, 92.0), strict=True):
        runs.append(tmp_path / f'run_{final:.0f}')
        (runs[-1] / '2026' / 'vis_data').mkdir(parents=True)
        (runs[-1] / 'config.py').write_text(f'model = dict(arch={arch})')
        rows = [{'loss': 1.0, 'step': 1}, {'accuracy/top1': 10.0, 'step': 1}, {'accuracy/top1': final, 'step': 2}]
        (runs[-1] / '2026' / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)))
    tool(*runs, '--search', tmp_path / 'search.json', '--out', tmp_path / 'ranking')
    correlation = json.loads((tmp_path / 'ranking.json').read_text())['correlation']
    assert correlation['kendall']['value'] == pytest.approx(1 / 3)
    assert correlation['spearman']['value'] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ('content', 'extra', 'message'),
    [
        ('[{"inherited": 1}]', [], "needs the numbers 'inherited' and 'standalone'"),
        ('[{"inherited": 1, "standalone": 2}]', [], 'at least three pairs, got 1'),
        ('[{"inherited": 1', [], "needs the numbers 'inherited' and 'standalone'"),
        ('[]', ['--search', 'none.json'], 'none.json: there is no such file'),
    ],
)
def test_tool_refuses_bad_input(tool, tmp_path, content, extra, message):
    (tmp_path / 'pairs.json').write_text(content)
    with pytest.raises((ConfigError, FileNotFoundError), match=message):
        tool(tmp_path / 'pairs.json', '--out', tmp_path / 'out', *extra)


def test_tool_ends_in_one_sentence(run_tool, tmp_path):
    done = run_tool(TOOL, tmp_path / 'none.csv', check=False)
    assert done.returncode == 2
    assert done.stderr.startswith('error: ') and 'there is no such file' in done.stderr
