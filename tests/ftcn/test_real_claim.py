"""The experiment on real faces: its verdicts and tables, and all of it on generated videos without a face."""

import json

import numpy as np
import pytest
import torch

from benchmarks import ftcn_real
from benchmarks.ftcn_real import (
    ARMS,
    CHANGE,
    CLEAN,
    COHERENT,
    FRAMES,
    FTCN,
    PLAIN,
    POOLED,
    RANDOM,
    SEEN,
    SHARPNESS,
    SOFT,
    TT,
    Videos,
)
from benchmarks.training import train_all
from openmsra.apis import init_model
from openmsra.ftcn.metrics import auc_interval, drawn_aucs
from tests.trees import faces

ROWS = (SHARPNESS, CHANGE, RANDOM, *ARMS)
SIX = dict(methods=np.array(['real'] * 3 + ['x'] * 3), labels=np.repeat([0, 1], 3), people=np.array(list('abcdef')))


def outcome(aucs: dict[str, float]) -> tuple[dict, dict]:
    """Rows and videos of two seeds; an arm's AUC is the same everywhere, 100 where ``aucs`` does not say."""
    scores = {arm: np.array([0, 1, 2, 3, 4, 5.0]) * (1 if aucs.get(arm, 100) >= 50 else -1) for arm in ROWS}
    rows = {arm: [dict(AUC=aucs.get(arm, 100.0), windows=60.0, TPR1=1.0, TPR5=5.0, x=60.0)] * 2 for arm in ROWS}
    names = [CLEAN, SEEN, COHERENT, SOFT, *(f'{kind} {n}' for kind, levels in ftcn_real.ROBUSTNESS.items() for n in levels)]
    return dict.fromkeys(names, rows), dict.fromkeys(names, {arm: [Videos(**SIX, scores=scores[arm])] * 2 for arm in ROWS})


def verdicts(aucs: dict[str, float]) -> list[bool]:
    return [row['holds'] for row in ftcn_real._verdicts(*outcome(aucs))['statements']]


def test_statements_follow_the_thresholds():
    worse = {PLAIN: 0.0, FRAMES: 0.0, SHARPNESS: 0.0, CHANGE: 0.0, RANDOM: 0.0}
    assert verdicts(worse) == [False] * 7, 'where plain 3D has not learnt its own forgeries nothing is compared'
    rows, videos = outcome(worse)
    rows = rows | {SEEN: dict(rows[SEEN], **{PLAIN: [dict(AUC=90.0)] * 2})}
    held = [row['holds'] for row in ftcn_real._verdicts(rows, videos)['statements']]
    assert held == [True, True, True, True, True, False, True], 'FTCN-TT ties with FTCN'
    rows[CLEAN] = dict(rows[CLEAN], **{PLAIN: [dict(AUC=96.0)] * 2, POOLED: [dict(AUC=94.0)] * 2})
    held = [row['holds'] for row in ftcn_real._verdicts(rows, videos)['statements']]
    assert held == [True, False, True, True, True, False, False], '4 points are less than 5; 6 are more'


def test_interval_of_a_difference_is_paired():
    """The same scores differ by nothing in any draw; the AUC itself has a wide interval."""
    videos = Videos(**SIX, scores=np.array([0, 3, 1, 2, 4, 5.0]))
    assert ftcn_real._over_people([videos], [videos]) == [0.0, 0.0]
    low, high = ftcn_real._over_people([videos])
    assert (low, high) == pytest.approx(auc_interval(videos.labels, videos.scores, videos.people)) and high - low > 30


def test_drawn_aucs_are_those_of_the_drawn_people():
    labels, people = np.array([0, 0, 1, 1, 1]), np.array(list('aabbc'))
    scores = np.array([0.1, 0.6, 0.5, 0.9, 0.2])
    values, rng = drawn_aucs(labels, scores, people, 50), np.random.default_rng(0)
    for value in values:
        drawn = np.concatenate([np.flatnonzero(people == 'abc'[k]) for k in rng.integers(3, size=3)])
        fakes, reals = scores[drawn][labels[drawn] == 1], scores[drawn][labels[drawn] == 0]
        if len(fakes) and len(reals):
            assert value == pytest.approx(np.mean([(f > r) + 0.5 * (f == r) for f in fakes for r in reals]), abs=1e-6)
        else:
            assert np.isnan(value)


def test_window_scores_become_video_scores():
    facts = [np.array(values) for values in (list('aabbb'), ['real', 'real', 'x', 'x', 'x'], [0, 0, 1, 1, 1], list('ppqqq'))]
    windows = ftcn_real.Windows(torch.zeros(5), *facts)
    videos = ftcn_real._videos(windows, np.array([0.2, 0.4, 0.9, 0.1, 0.2]))
    np.testing.assert_allclose(videos.scores, [0.3, 0.4])
    figures = ftcn_real._figures(windows, np.array([0.2, 0.4, 0.9, 0.1, 0.2]))
    assert (figures['AUC'], figures['x']) == (100.0, 100.0)
    assert figures['windows'] == pytest.approx(100 * (2 + 0 + 0.5) / 6)
    assert figures['TPR1'] == pytest.approx(100 / 3)


def test_longer_trainings_are_those_of_the_main_arms(tmp_path, monkeypatch):
    """Untrained here; every arm gets its rate and its steps, and its figure is that of its own scores."""
    faces(tmp_path / 'data/faces')
    monkeypatch.setenv('OPENMSRA_DATA', str(tmp_path / 'data'))
    facts = [np.array(values) for values in (list('abcd'), ['real', 'real', 'x', 'x'], [0, 0, 1, 1], list('ppqq'))]
    monkeypatch.setattr(ftcn_real, 'windows_of', lambda *_: ftcn_real.Windows(torch.zeros(4, 3, 2, 8, 8), *facts))
    trained = []

    def untrained(trainings, processes):
        for training in trainings:
            trained.append((training.config.optim_wrapper.optimizer.lr, training.config.train_cfg.max_iters, training.seed))
            training.work_dir.mkdir(parents=True)
            (training.work_dir / 'last_checkpoint').write_text(str(training.work_dir / 'weights.pth'))

    known = {PLAIN: [0, 1, 2, 3], FTCN: [2, 3, 0, 1], POOLED: [0, 2, 1, 3]}
    scores = {RANDOM: np.zeros(4)} | {arm: np.array(values) / 4 for arm, values in known.items()}
    monkeypatch.setattr(ftcn_real, 'train_all', untrained)
    monkeypatch.setattr(ftcn_real, 'network_scores', lambda arm, checkpoint, *_: scores[arm if checkpoint else RANDOM])
    rates = {PLAIN: 0.1, FTCN: 0.2, POOLED: 0.3}
    figures = ftcn_real.longer(20, [0, 1], tmp_path / 'runs', dict(rates=rates))
    assert figures == {PLAIN: [100.0, 100.0], FTCN: [0.0, 0.0], POOLED: [75.0, 75.0]}
    assert trained == [(rate, 20, seed) for rate in rates.values() for seed in (0, 1)]


@pytest.mark.reliability
def test_all_of_it_on_generated_videos(tmp_path, monkeypatch):
    """One arm of the search trains through the real tools, the others keep random weights; a second call reads all from files."""
    faces(tmp_path / 'data/faces')
    monkeypatch.setenv('OPENMSRA_DATA', str(tmp_path / 'data'))
    for name, value in dict(STEPS=10, SEARCH_STEPS=10, RATES=(1e-3,), WINDOWS=dict.fromkeys(ftcn_real.WINDOWS, 1)).items():
        monkeypatch.setattr(ftcn_real, name, value)
    monkeypatch.setattr(ftcn_real, 'ROBUSTNESS', dict(blur=(1, 5)))
    config = ftcn_real.config_of

    def narrow(arm):
        cfg = config(arm)
        cfg.model.backbone.update(channels=4)
        return cfg

    def untrained(trainings, processes):
        for training in trainings:
            if not (training.work_dir / 'last_checkpoint').exists():
                training.work_dir.mkdir(parents=True)
                torch.save(dict(state_dict=init_model(training.config).state_dict()), training.work_dir / 'weights.pth')
                (training.work_dir / 'last_checkpoint').write_text(str(training.work_dir / 'weights.pth'))

    monkeypatch.setattr(ftcn_real, 'config_of', narrow)
    train_all([ftcn_real.training_of(FTCN, 1e-3, ftcn_real.SEARCH_SEED, 10, tmp_path / 'runs', search=True)], 1)
    monkeypatch.setattr(ftcn_real, 'train_all', untrained)
    result = ftcn_real.run([0, 1], tmp_path / 'runs')
    assert list(result['rows']) == [CLEAN, SEEN, COHERENT, SOFT, 'blur 1', 'blur 5']
    assert all(set(rows) == set(ROWS) for rows in result['rows'].values())
    assert result['settings']['rates'] == dict.fromkeys(ARMS, 1e-3)
    text = ftcn_real.table(json.loads(json.dumps(result)))
    assert text.count('\n| FTCN-TT |') == 3 and '| edtalk | sadtalker |' in text and f'{CLEAN}: {TT} - FTCN' in text
    ftcn_real.draw(result, tmp_path / 'figure.png')
    monkeypatch.setattr(ftcn_real, 'network_scores', None)
    assert ftcn_real.run([0, 1], tmp_path / 'runs') == result


def test_page_has_the_place():
    page = (ftcn_real.CONFIGS / 'README.md').read_text(encoding='utf-8')
    assert '<!-- measured on faces -->\n' in page and '<!-- end of measured on faces -->' in page
