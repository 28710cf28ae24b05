"""The experiment on FIR actions: how its verdicts follow, and what its arms are, without a training."""

import numpy as np
import pytest

from benchmarks import mcn_real
from benchmarks.mcn_real import ARMS, CEILING, CONTRAST, INNER_STEPS, META, OURS, PIXELS, RANDOM, SAME

LABELS = np.repeat(['lie', 'sit'], 50)


def row(told: float, agreement: float) -> dict:
    """So many of 100 clips are told by the probe; as many in each class."""
    right = np.tile(np.arange(50) < told / 2, 2)
    figures = dict.fromkeys(('R_1', 'class_R_1', 'probe', 'class_probe'), 100 * right.mean())
    return dict(figures, told=right.tolist(), agreement=agreement, few_shot=[40.0] * len(INNER_STEPS))


def rows(told: dict[str, float], agreement: dict[str, float]) -> dict[str, list[dict]]:
    """Of three seeds, which differ by two points; an arm that is not named has 60 and a cosine of 0.1."""
    return {arm: [row(told.get(arm, 60) + seed, agreement.get(arm, 0.1)) for seed in (0, 2, 4)] for arm in (RANDOM, *ARMS)}


@pytest.mark.parametrize(
    ('told', 'agreement', 'holds'),
    [
        ({RANDOM: 54}, {}, [True, False, True, False, False]),
        ({RANDOM: 56, OURS: 62}, {OURS: 0.2}, [False, True, True, True, True]),
        ({RANDOM: 30, OURS: 62, META: 62}, {OURS: 0.2}, [True, True, False, True, True]),
        ({RANDOM: 30, OURS: 64, SAME: 66}, {CONTRAST: 0.2}, [True, True, True, False, False]),
    ],
)
def test_statements_follow_the_thresholds(told, agreement, holds):
    verdicts = mcn_real._verdicts(rows(told, agreement), LABELS)
    assert [row['holds'] for row in verdicts['statements']] == holds


def test_a_gain_in_one_class_counts_half_and_its_interval_says_how_sure_it_is():
    told = rows({}, {})
    for run in told[OURS]:
        run['told'] = [True] * 50 + run['told'][50:]
        run['class_probe'] = mcn_real._class_mean(np.array(run['told']), LABELS)
    gap = mcn_real._verdicts(told, LABELS)['gaps'][f'{OURS} - {CONTRAST}']
    assert gap['values'] == pytest.approx([20, 19, 18]) and gap['clips_interval'][0] > 10


def test_page_names_every_arm(tmp_path):
    found = {PIXELS: [row(40, 0.1)]} | rows({}, {}) | {CEILING: [row(90, 0.1)]}
    result = dict(rows=found, gains={OURS: [[0, 0.0], [10, 0.1]]}, verdicts=mcn_real._verdicts(found, LABELS))
    text = mcn_real.table(result)
    assert all(f'| {arm} | ' in text for arm in found)
    mcn_real.draw(result, tmp_path / 'figure.png')
    assert (tmp_path / 'figure.png').stat().st_size > 5000
