"""The experiment on people's scores: its figures by hand, what its folds hold, and all of it on a generated tree."""

import json

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from benchmarks import ckdn_human_real, ckdn_real
from benchmarks.ckdn_human_real import BSDS, CONDITION, DR, FOLDS, FORMULAS, FR, METHOD, NR, SCALE, SCRATCH
from benchmarks.training import train_all
from openmsra.ckdn.data.table import ScoredTable
from openmsra.engine.checkpoint.io import load_file, save_file
from openmsra.registry import MODELS
from tests.trees import sr4kiqa

ROWS = [
    dict(scene='a', scale='2', method='m', fold='0', mos='3'),
    dict(scene='a', scale='2', method='n', fold='0', mos='2'),
    dict(scene='a', scale='4', method='m', fold='0', mos='1'),
    dict(scene='b', scale='2', method='m', fold='1', mos='4'),
    dict(scene='b', scale='2', method='n', fold='1', mos='4'),
    dict(scene='b', scale='2', method='o', fold='1', mos='5'),
]


def test_pairs_are_those_of_one_scene_and_scale_with_scores_that_differ():
    scores = np.array([2, 1, 9, 1, 2, 2.0])
    found = ckdn_human_real._pair_accuracies(scores, ROWS)
    assert found == {'a': 1.0, 'b': 0.75}, 'b: 5 above the first 4 is right, a tie with the second counts half'


def test_a_predictor_without_images_has_the_mean_of_the_other_folds():
    by_scale = ckdn_human_real._told_by(ROWS, ('scale',))
    assert by_scale.tolist() == pytest.approx([13 / 3, 13 / 3, 13 / 3, 2.5, 2.5, 2.5]), 'no scale 4 elsewhere: all that is there'
    by_method = ckdn_human_real._told_by(ROWS, ('scale', 'method'))
    assert by_method[:2].tolist() == [4, 4] and by_method[3:].tolist() == [3, 2, 2.5], 'a method of one fold has its scale alone'


def verdicts(pairs: dict[str, float]) -> list[bool]:
    names = [*ckdn_human_real._names(), METHOD]
    rows = {
        name: [dict(pairs=value, scenes=dict.fromkeys('abc', value))] * (1 if name == METHOD else 2)
        for name, value in ((name, pairs.get(name, 70.0)) for name in names)
    }
    return [row['holds'] for row in ckdn_human_real._verdicts(rows)['statements']]


def test_statements_follow_the_thresholds():
    assert verdicts({}) == [True] + [False] * 6, 'ties are no gains'
    worse = {f'{NR}, from {BSDS}': 60.0, f'{DR}, from {SCRATCH}': 60.0, METHOD: 66.0}
    assert verdicts(worse) == [True, True, True, False, False, True, True]
    assert verdicts(worse | {f'{FR}, from {BSDS}': 59.0}) == [False] * 7, 'an instrument that measures nothing compares nothing'
    assert verdicts({f'{CONDITION}, from {BSDS}': 71.0})[3:5] == [True, False]


def side_by_side(arms: dict[str, dict], seed: int) -> torch.nn.Module:
    with DefaultScope.overwrite_default_scope('openmsra'):
        return MODELS.build(dict(type='ScoresSideBySide', arms=arms, seed=seed))


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Data, a finished experiment on BSDS500 with networks that learnt nothing, and short trainings."""
    sr4kiqa(tmp_path / 'data' / 'sr4kiqa')
    monkeypatch.setenv('OPENMSRA_DATA', str(tmp_path / 'data'))
    for name, value in dict(STEPS=10, BATCH=2, RATES=(1e-3,), PROCESSES=1, SIDE=64).items():
        monkeypatch.setattr(ckdn_human_real, name, value)
    source = tmp_path / 'ckdn_real'
    run_folder = source / f'{ckdn_real.STEPS}i_seed0'
    run_folder.mkdir(parents=True)
    searched = {arm: {'0.001': 80.0} for arm in ckdn_real.ARMS}
    (source / 'search.json').write_text(json.dumps(searched))
    rates = ckdn_real.best_rates(source)
    arms = {ckdn_real.arm_key(arm, rates[arm]): ckdn_real._model(arm) for arm in ckdn_real.ARMS}
    network = side_by_side(arms, seed=5)
    save_file(dict(state_dict=network.state_dict()), run_folder / 'iter_600.pth')
    (run_folder / 'last_checkpoint').write_text(str(run_folder / 'iter_600.pth'))
    (run_folder / 'done').touch()
    return tmp_path


def test_no_scene_of_a_test_fold_is_trained_on(tree):
    folder = tree / 'runs'
    folder.mkdir()
    ckdn_human_real._write_tables(folder)
    fold_of = {row['restored']: row['fold'] for row in ckdn_human_real._images()}
    for test in range(FOLDS):
        for left_out, judged in ((None, test), ((test + 1) % FOLDS, (test + 1) % FOLDS)):
            data = ckdn_human_real._config(ckdn_human_real._table(folder, test, left_out)).train_dataloader.dataset
            folds = {}
            for part in ('train', 'val'):
                options = {key: data[key] for key in ('ann_file', 'data_root', 'columns', 'score_range', 'skip_without')}
                dataset = ScoredTable(split=part, pipeline=[], **options)
                names = [dataset.get_data_info(i)['restored_path'].split('sr4kiqa/')[1] for i in range(len(dataset))]
                folds[part] = {fold_of[name] for name in names}
            assert folds['val'] == {str(judged)} and not folds['train'] & {str(test), str(judged)}


def test_networks_start_where_the_name_says(tree):
    starts = {}
    for start in (SCRATCH, BSDS):
        name = ckdn_human_real._name(DR, start)
        arms = dict(one=ckdn_human_real._started(name, 0, tree / 'runs'))
        starts[start] = side_by_side(arms, seed=0).arms['one'].state_dict()
    weights = load_file(tree / 'ckdn_real' / f'{ckdn_real.STEPS}i_seed0' / 'iter_600.pth')['state_dict']
    for key, value in starts[BSDS].items():
        assert torch.equal(value, weights[f'arms.DR_lr0_001.{key}'])
    assert any(not torch.equal(value, starts[BSDS][key]) for key, value in starts[SCRATCH].items())


@pytest.mark.reliability
def test_whole_experiment_on_a_generated_tree(tree, monkeypatch):
    """One run trains through the real tools, the others keep the weights they start from; a second call reads all from files."""

    def untrained(trainings, processes):
        for training in trainings:
            if not (training.work_dir / 'last_checkpoint').exists():
                training.work_dir.mkdir(parents=True)
                network = side_by_side(training.config.model.arms.to_dict(), training.config.model.seed)
                save_file(dict(state_dict=network.state_dict()), training.work_dir / 'weights.pth')
                (training.work_dir / 'last_checkpoint').write_text(str(training.work_dir / 'weights.pth'))

    folder = tree / 'runs'
    folder.mkdir()
    ckdn_human_real._write_tables(folder)
    rates = {name: [1e-3] for name in ckdn_human_real._names()}
    train_all([ckdn_human_real._training(folder, 0, None, 0, rates, 0)], 1)
    monkeypatch.setattr(ckdn_human_real, 'train_all', untrained)
    result = ckdn_human_real.run([0], folder)
    assert set(result['rows']) == {*FORMULAS, SCALE, METHOD, *ckdn_human_real._names()}
    assert result['rows'][SCALE][0]['pairs'] == 50.0 and len(result['verdicts']['statements']) == 7
    assert len({run['pairs'] for runs in result['rows'].values() for run in runs}) > 4
    assert f'| {METHOD} |' in ckdn_human_real.table(json.loads(json.dumps(result)))
    ckdn_human_real.draw(result, tree / 'figure.png')
    monkeypatch.setattr(ckdn_human_real, 'init_model', None)
    assert ckdn_human_real.run([0], folder) == result
