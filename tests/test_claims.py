"""What the claims on real data share: places of data, intervals, parts of pages."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config

from benchmarks import (
    autoformer_real,
    ckdn_real,
    ftcn_real,
    longer,
    maskco_real,
    mcn_real,
    precision,
    soft_teacher_real,
    training,
)
from benchmarks.real_data import at_data, data_folder, over_items, over_seeds, replace_part
from benchmarks.training import adding_time, by_arm_and_rate, kept, kept_array, require_same_settings, seeded_model, side_by_side
from openmsra.errors import ConfigError, MissingFileError


def test_data_are_looked_for_where_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.setenv('OPENMSRA_DATA', str(tmp_path))
    (tmp_path / 'camvid').mkdir()
    assert data_folder('camvid') == tmp_path / 'camvid'
    with pytest.raises(MissingFileError, match='download_data.py bccd'):
        data_folder('bccd')


def test_paths_of_one_data_set_are_moved(tmp_path):
    cfg = Config(dict(a=dict(root='data/camvid', rows=['data/camvid/x', 'data/camvid2/x', 3]), b='data/coco'))
    assert at_data(cfg, {'camvid': tmp_path}).to_dict() == dict(
        a=dict(root=str(tmp_path), rows=[f'{tmp_path}/x', 'data/camvid2/x', 3]), b='data/coco'
    )


def test_interval_over_seeds_is_that_of_student():
    """Mean 2, deviation 1, t(0.975, 2) = 4.30265: 2 +- 4.30265 / sqrt(3)."""
    row = over_seeds(np.array([1.0, 2.0, 3.0]))
    assert (row['mean'], row['spread']) == (2.0, 1.0)
    assert over_seeds(np.array([4.0])) == dict(mean=4.0, spread=None, interval=None, values=[4.0])
    assert row['interval'] == pytest.approx([2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5], abs=1e-4)


def test_neighbours_are_drawn_together():
    """Ten blocks of equal items have the interval of ten items, not that of a hundred."""
    values = np.repeat(np.random.default_rng(0).normal(size=10), 10)
    low, high = over_items(100, 10, lambda items: values[items].mean())
    alone_low, alone_high = over_items(100, 1, lambda items: values[items].mean())
    assert low < values.mean() < high
    assert (high - low) / (alone_high - alone_low) == pytest.approx(10**0.5, rel=0.2)


@pytest.mark.parametrize(('computes', 'expected'), [(True, 'bfloat16'), (False, 'float32')])
def test_experiments_take_bfloat16_only_where_it_is_fast(computes, expected, monkeypatch):
    monkeypatch.setattr(precision, 'computes_bfloat16', lambda device: computes)
    assert precision.fast_precision('cpu') == expected
    wrapper = precision.in_precision(dict(optimizer=dict(type='SGD')), expected)
    assert wrapper.get('dtype', 'float32') == expected and wrapper['optimizer'] == dict(type='SGD')
    with precision.fast_autocast('cpu'):
        assert (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == getattr(torch, expected)


@pytest.mark.parametrize('experiment', [ckdn_real, maskco_real])
def test_an_experiment_does_not_go_on_in_another_precision(experiment, tmp_path, monkeypatch):
    require_same_settings(experiment, tmp_path)
    monkeypatch.setattr(experiment, 'PRECISION', 'float16')
    with pytest.raises(ConfigError, match='PRECISION'):
        require_same_settings(experiment, tmp_path)


def test_part_of_a_page_is_replaced(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('before\n<!-- x -->\nold\n<!-- end of x -->\nafter\n')
    replace_part(page, 'x', 'new\nlines\n')
    assert page.read_text() == 'before\n<!-- x -->\nnew\nlines\n<!-- end of x -->\nafter\n'
    with pytest.raises(ValueError, match='no place'):
        replace_part(page, 'y', 'new')


def _row(seed: int, told: list[int], agreement: float) -> dict:
    share = 100 * float(np.mean(told))
    figures = dict.fromkeys(('R_1', 'class_R_1', 'probe', 'class_probe'), share)
    return dict(figures, seed=seed, told=[bool(value) for value in told], agreement=agreement, few_shot=[share] * 4)


def test_verdicts_follow_the_statements():
    """Of ten clips of two classes: random 5 right, contrast 7, meta branch 7, same videos 8, other recording 9."""
    labels, right = np.arange(10) % 2, dict(zip((mcn_real.RANDOM, *mcn_real.ARMS), (5, 7, 7, 8, 9), strict=True))
    rows = {arm: [_row(seed, [1] * n + [0] * (10 - n), n / 10) for seed in range(3)] for arm, n in right.items()}
    verdicts = mcn_real._verdicts(rows, labels)
    assert [row['holds'] for row in verdicts['statements']] == [True] * 5
    gap = verdicts['gaps'][f'{mcn_real.OURS} - {mcn_real.CONTRAST}']
    assert gap['mean'] == pytest.approx(20) and gap['clips_interval'][0] <= 20 <= gap['clips_interval'][1]
    rows[mcn_real.OURS], rows[mcn_real.META] = rows[mcn_real.META], rows[mcn_real.OURS]
    assert [row['holds'] for row in mcn_real._verdicts(rows, labels)['statements']] == [True, False, False, False, False]
    page = mcn_real.table(dict(rows=rows, verdicts=verdicts))
    assert f'| {mcn_real.RANDOM} | 50.0 ± 0.0 |' in page and '| yes |' in page


def test_every_arm_is_judged_at_every_rate():
    found = by_arm_and_rate(lambda arm, rate: (arm, rate), ('one', 'two'), (2.5e-4, 1e-3), processes=2)
    assert found == {arm: {'0.00025': (arm, 2.5e-4), '0.001': (arm, 1e-3)} for arm in ('one', 'two')}


def test_networks_that_threads_build_have_the_weights_of_their_seed():
    """The threads share one generator of random numbers."""
    config = 'configs/maskco/maskco_r18-tiny_1xb32-2e_digits_instant.py'
    weights = side_by_side(lambda seed: seeded_model(config, seed).state_dict(), range(6), processes=3)
    for seed, threaded in enumerate(weights):
        alone = seeded_model(config, seed).state_dict()
        assert all(torch.equal(threaded[name], value) for name, value in alone.items())


@pytest.mark.parametrize('keep, suffix', [(kept, '.json'), (kept_array, '.npy')])
def test_what_was_measured_is_kept_whole_or_not_at_all(tmp_path, monkeypatch, keep, suffix):
    file, figures = tmp_path / 'runs' / f'scores{suffix}', [1.0, 2.5]

    def interrupted(*arguments, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, 'replace', interrupted)
        keep(file, lambda: np.array(figures) if suffix == '.npy' else figures)
    assert not file.exists()
    assert list(keep(file, lambda: np.array(figures) if suffix == '.npy' else figures)) == figures
    assert list(keep(file, interrupted)) == figures and [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_time_of_all_calls_counts_those_that_were_broken_off_too(tmp_path, monkeypatch):
    clock = iter([10.0, 13.0, 100.0, 102.5])
    monkeypatch.setattr(training, 'time', SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(KeyboardInterrupt), adding_time(tmp_path / 'seconds.json'):
        raise KeyboardInterrupt
    with adding_time(tmp_path / 'seconds.json'):
        pass
    assert json.loads((tmp_path / 'seconds.json').read_text()) == 5.5


def test_an_experiment_with_other_settings_does_not_go_on(tmp_path):
    def experiment(**changed):
        settings = dict(
            STEPS=600, RATES=(1e-3, 2e-3), CONFIGS=Path('configs'), THRESHOLDS=dict(gap=1.0), helper=len, ARMS={'DR': {}}
        )
        return SimpleNamespace(**settings | changed)

    for _ in range(2):
        require_same_settings(experiment(), tmp_path / 'new')
    require_same_settings(experiment(CONFIGS=Path('elsewhere'), THRESHOLDS=dict(gap=2.0)), tmp_path / 'new')
    for changed in (dict(STEPS=400), dict(RATES=(1e-3,)), dict(MORE=1)):
        with pytest.raises(ConfigError, match=next(iter(changed))):
            require_same_settings(experiment(**changed), tmp_path / 'new')


def _longer_experiment(folder, gains):
    """Two arms whose result is there; trained longer, the first is ahead by ``gains`` of the seeds."""
    asked = []

    def main_figures(rows, seeds):
        return {arm: [row['accuracy'] for row in rows[arm] if row['seed'] in seeds] for arm in ('ours', 'plain')}

    def trained(length, seeds, run_folder, settings):
        asked.append((length, seeds, settings['rate']))
        return {'ours': [40.0 + gains[seed] for seed in seeds], 'plain': [40.0 for _ in seeds]}

    rows = {arm: [dict(seed=seed, accuracy=value + seed) for seed in range(3)] for arm, value in (('ours', 12), ('plain', 11))}
    file = folder / 'benchmarks' / 'results' / 'claims_real_mcn.json'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(dict(settings=dict(rate=0.5, seeds=[0, 1, 2]), rows=rows)))
    wanted = dict(lengths=(100, 400), unit='steps', figure='accuracy (%)', pair=('ours', 'plain'), gain=2.0)
    return SimpleNamespace(LONGER=wanted, main_figures=main_figures, longer=trained, asked=asked)


def test_longer_trainings_stand_beside_the_result_and_take_its_rates(tmp_path, monkeypatch):
    monkeypatch.setattr(longer, 'ROOT', tmp_path)
    experiment = _longer_experiment(tmp_path, [1.0, 2.0])
    result = longer.run(experiment, 'mcn', [0, 1], tmp_path / 'runs')
    assert experiment.asked == [(400, [0, 1], 0.5)]
    page = longer.table(result)
    assert '| ours | 12.5 ± 0.7 | 41.5 ± 0.7 |' in page and '| plain | 11.5 ± 0.7 | 40.0 ± 0.0 |' in page
    assert '| 100 steps: ours - plain | +1.0 | +1.0, +1.0 |' in page
    assert '| 400 steps: ours - plain | +1.5 | +1.0, +2.0 |' in page and '**no**' in page
    longer.draw(result, tmp_path / 'curve.png')
    assert (tmp_path / 'curve.png').stat().st_size > 1000
    assert json.loads(json.dumps(result))['rows']['400'] == result['rows'][400]


def test_each_longer_length_is_trained_and_the_longest_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(longer, 'ROOT', tmp_path)
    experiment = _longer_experiment(tmp_path, [1.0, 2.0])
    experiment.LONGER['lengths'] = (100, 400, 900)
    result = longer.run(experiment, 'mcn', [0], tmp_path / 'runs')
    assert [length for length, _, _ in experiment.asked] == [400, 900] and list(result['rows']) == [100, 400, 900]
    assert 'after 900 steps' in result['verdicts']['statements'][0]['statement']


def test_a_second_look_at_the_longer_trainings_stands_apart_and_decides_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(longer, 'ROOT', tmp_path)
    experiment = _longer_experiment(tmp_path, [1.0, 2.0])
    experiment.LONGER['second_look'] = 'error in the dark (%)'
    experiment.second_look = lambda length, seeds, folder, settings: dict(ours=[70.0] * len(seeds), plain=[60.0] * len(seeds))
    result = longer.run(experiment, 'mcn', [0, 1], tmp_path / 'runs')
    page = longer.table(result)
    assert '| error in the dark (%) | 400 steps |' in page and '| ours | 70.0 ± 0.0 |' in page
    assert '| 400 steps, error in the dark (%): ours - plain | +10.0 | +10.0, +10.0 |' in page
    assert (
        result['verdicts']['statements'][0]['seen'].startswith('+1.5') and result['verdicts']['statements'][0]['holds'] is False
    )


def test_longer_trainings_do_not_go_on_at_other_rates(tmp_path, monkeypatch):
    """The experiment was run again, and its search chose otherwise."""
    monkeypatch.setattr(longer, 'ROOT', tmp_path)
    experiment, file = _longer_experiment(tmp_path, [1.0]), tmp_path / 'benchmarks' / 'results' / 'claims_real_mcn.json'
    result = json.loads(file.read_text())

    def run(rate: float) -> dict:
        result['settings']['rates'] = dict(ours=rate)
        file.write_text(json.dumps(result))
        return longer.run(experiment, 'mcn', [0], tmp_path / 'runs')

    assert run(0.1)['settings']['rates'] == dict(ours=0.1) and run(0.1)
    with pytest.raises(ConfigError, match=r"'ours': 0.1.*'ours': 0.2.*Remove"):
        run(0.2)


def test_longer_trainings_need_the_result_of_their_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(longer, 'ROOT', tmp_path)
    experiment = _longer_experiment(tmp_path, [1.0] * 4)
    with pytest.raises(MissingFileError, match='claims.py mcn --seeds 4 has to run first'):
        longer.run(experiment, 'mcn', [0, 1, 2, 3], tmp_path / 'runs')
    (tmp_path / 'benchmarks' / 'results' / 'claims_real_mcn.json').unlink()
    with pytest.raises(MissingFileError, match='claims.py mcn --seeds 1 has to run first'):
        longer.run(experiment, 'mcn', [0], tmp_path / 'runs')
    assert experiment.asked == []


@pytest.mark.parametrize('gains, holds', [([1.0, 2.0], False), ([2.5, 1.5], True), ([-1.0, 9.0], False)])
def test_a_longer_training_holds_with_the_gain_that_was_stated_in_every_seed(tmp_path, monkeypatch, gains, holds):
    monkeypatch.setattr(longer, 'ROOT', tmp_path)
    (statement,) = longer.run(_longer_experiment(tmp_path, gains), 'mcn', [0, 1], tmp_path / 'runs')['verdicts']['statements']
    assert statement['holds'] is holds and 'after 400 steps' in statement['statement']


@pytest.mark.parametrize(
    'experiment',
    [autoformer_real, soft_teacher_real, ftcn_real, ckdn_real, mcn_real, maskco_real],
    ids=lambda module: module.__name__,
)
def test_figures_of_the_main_arms_come_from_the_result(experiment):
    """The arms that are trained longer stand in the result of the experiment, one figure for each seed that is asked for."""
    paper = experiment.__name__.split('.')[-1].removesuffix('_real')
    result = json.loads((longer.ROOT / 'benchmarks' / 'results' / f'claims_real_{paper}.json').read_text())
    figures = experiment.main_figures(result['rows'], [0, 1])
    assert set(experiment.LONGER['pair']) <= figures.keys()
    assert all(len(values) == 2 and 0 < min(values) <= max(values) <= 100 for values in figures.values())
