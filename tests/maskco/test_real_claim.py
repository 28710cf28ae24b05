"""The experiment on CamVid: how its verdicts follow and what it draws and writes, without a training."""

import numpy as np
import pytest

from benchmarks import maskco_real
from benchmarks.maskco_real import ARMS, COLOURS, CONTROL_ARMS, RANDOM
from openmsra.maskco.evaluation.cell_probe import figures_of

MASKCO, MOCO, NO_HEAD, REGION = ('MaskCo, J = 0', 'MoCo v2', 'MaskCo without its head, J = 0', 'region contrast, J = 0')
FRAMES = 20


def confusions(right: float) -> np.ndarray:
    """Of 100 cells of each of two classes in every frame, so many are told; (frames, K, K)."""
    table = np.zeros((FRAMES, 11, 11), int)
    for own, other in ((0, 1), (1, 0)):
        table[:, own, own], table[:, own, other] = round(right), 100 - round(right)
    return table


def result(accuracy: dict[str, float], knn: dict[str, float] | None, seeds: int = 3, balanced: float = 75.0) -> dict:
    """Of seeds that differ by a point; an arm that is not named is at 60.

    Where classes weigh alike MoCo v2 is at ``balanced`` and all others at 80.
    """
    tables = {arm: [confusions(accuracy.get(arm, 60) + seed) for seed in range(seeds)] for arm in (RANDOM, *ARMS)}
    alike = dict.fromkeys(tables, 80.0) | {MOCO: balanced}
    rows = {
        arm: [dict(seed=seed, balanced=alike[arm], **figures_of(table.sum(0))) for seed, table in enumerate(runs)]
        for arm, runs in tables.items()
    }
    control = {arm: [dict(knn=knn.get(arm, 50) + seed, linear=40.0) for seed in range(seeds)] for arm in CONTROL_ARMS if knn}
    rows = dict(camvid=rows, cifar10=control)
    search = dict(found={arm: {'0.001': 30.0, '0.002': 31.0} for arm in ARMS})
    return dict(settings=dict(search=search), rows=rows, verdicts=maskco_real._verdicts(rows, tables))


@pytest.mark.parametrize(
    ('accuracy', 'knn', 'holds'),
    [
        ({RANDOM: 57}, {MASKCO: 50}, [True, False, True, False, True, True]),
        ({RANDOM: 58}, {MASKCO: 52}, [False, False, False, False, True, True]),
        ({RANDOM: 30, MOCO: 57, NO_HEAD: 59}, {MASKCO: 51}, [True, True, True, True, True, True]),
        ({RANDOM: 30, MOCO: 58, REGION: 59}, {MASKCO: 49}, [True, False, True, False, False, True]),
        ({RANDOM: 30, MOCO: 57}, None, [True, True, None, False, True, True]),
    ],
)
def test_statements_follow_the_thresholds(accuracy, knn, holds):
    assert [row['holds'] for row in result(accuracy, knn)['verdicts']['statements']] == holds


@pytest.mark.parametrize(('moco', 'holds'), [(77.0, True), (77.1, False)])
def test_the_probe_in_which_classes_weigh_alike_has_a_statement_of_its_own(moco, holds):
    assert result({MOCO: 57}, None, balanced=moco)['verdicts']['statements'][-1]['holds'] is holds


def test_intervals_over_frames_hold_the_difference():
    gap = result({MOCO: 57}, None)['verdicts']['gaps'][f'{MASKCO} - {MOCO}']
    assert gap['values'] == pytest.approx([3.0] * 3) and gap['frames_interval'] == pytest.approx([3.0, 3.0])


def test_page_names_every_arm(tmp_path):
    found = result({MOCO: 57}, {MASKCO: 50})
    found['rows']['camvid'][COLOURS] = found['rows']['camvid'][RANDOM][:1]
    text = maskco_real.table(found)
    assert '| classes weighing alike: MaskCo, J = 0 - MoCo v2 | +5.0 |' in text
    assert all(f'| {arm} | 6' in text or f'| {arm} | 58.0' in text for arm in ARMS) and '**no**' in text
    assert f'| {MOCO} | 30.0 | **31.0** |' in text
    maskco_real.draw(found, tmp_path / 'figure.png')
    assert (tmp_path / 'figure.png').stat().st_size > 5000


def test_arms_differ_in_config_and_negatives(tmp_path, monkeypatch):
    """What each network of a seed is trained with, from the config that the tool gets."""
    for name in ('camvid', 'cifar10'):
        (tmp_path / name).mkdir()
    monkeypatch.setenv('OPENMSRA_DATA', str(tmp_path))
    training = maskco_real._training('camvid', ARMS, 1e-3, 5, 0, tmp_path)
    model = training.config.model
    assert training.work_dir == tmp_path / 'rate_0.001' / 'camvid_5i_seed0' and training.config.optim_wrapper.optimizer.lr == 1e-3
    assert model.negatives == {maskco_real._key(arm, 1e-3): negatives for arm, (_, negatives) in ARMS.items()}
    assert model.arms[maskco_real._key(MASKCO, 1e-3)] == model.arms[maskco_real._key('MaskCo, J = 4', 1e-3)]
    assert len({str(model.arms[maskco_real._key(arm, 1e-3)]) for arm in (MASKCO, MOCO, NO_HEAD, REGION)}) == 4


def test_longer_trainings_are_those_of_the_main_arms(tmp_path, monkeypatch):
    """Untrained here; the arms of a seed with one rate are one run, and are judged in its folder."""
    (tmp_path / 'camvid').mkdir()
    monkeypatch.setenv('OPENMSRA_DATA', str(tmp_path))
    trained = []
    monkeypatch.setattr(maskco_real, 'train_all', lambda trainings, processes: trained.extend(trainings))
    judged = {}

    def measured(kind, arm, rate, seed, run_folder):
        judged[arm, rate, seed] = run_folder
        figure = 10.0 * (rate or 0) + seed
        return dict(seed=seed, mean_class_accuracy=figure, balanced=figure + 50), None

    monkeypatch.setattr(maskco_real, '_measured', measured)
    rates = {arm: place + 1.0 for place, arm in enumerate(ARMS)} | {REGION: 1.0}
    figures = maskco_real.longer(20, [0, 1], tmp_path, dict(rates=rates))
    assert figures == {arm: [10 * rates[arm], 10 * rates[arm] + 1] for arm in (MOCO, MASKCO, REGION)}
    again = maskco_real.second_look(20, [0, 1], tmp_path, dict(rates=rates))
    assert again == {RANDOM: [50, 51]} | {arm: [value + 50 for value in values] for arm, values in figures.items()}
    runs = [(run.seed, run.config.train_cfg.max_iters, list(run.config.model.arms)) for run in trained]
    keys = [[maskco_real._key(arm, rates[arm]) for arm in arms] for arms in ((MOCO, REGION), (MASKCO,))]
    assert runs == [(seed, 20, arms) for seed in (0, 1) for arms in keys] * 2
    folders = {(run.seed, key): run.work_dir for run in trained for key in run.config.model.arms}
    for (arm, rate, seed), folder in judged.items():
        assert folder == (folders[seed, maskco_real._key(arm, rate)] if rate else tmp_path)
