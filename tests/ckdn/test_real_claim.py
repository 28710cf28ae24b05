"""The experiment on BSDS500: what its trainings see and how its verdicts follow, without a training."""

import numpy as np
import pytest

from benchmarks import ckdn_real
from benchmarks.ckdn_real import ARMS, CKDN_ARMS, FEW, FEW_ARMS, ORACLE, SWAPPED

PHOTOGRAPHS = np.array(['a', 'a', 'b', 'c'])


def test_few_labels_and_pairs_of_all_scenes_reach_the_training(tmp_path):
    rates = {arm: [1e-3] for arm in FEW_ARMS}
    whole, few = (
        ckdn_real._training(rates, tmp_path / name, 0, tmp_path / 'scenes.npz', data).config
        for name, data in (('whole', {}), ('few', FEW))
    )
    assert few.train_dataloader.dataset == dict(whole.train_dataloader.dataset, labelled=0.1, extra_pairs=True)
    assert few.model.arms == whole.model.arms and len(few.model.arms) == len(FEW_ARMS)


def figures(srcc: dict[str, float], arms) -> tuple[dict, dict]:
    values = {arm: [np.full(4, srcc.get(arm, 0.9))] * 2 for arm in arms}
    return {arm: [100 * float(x.mean()) for x in runs] for arm, runs in values.items()}, values


def result(srcc: dict[str, float], few: dict[str, float]) -> dict:
    (rows, values), (few_rows, few_values) = figures(srcc, (*ARMS, SWAPPED)), figures(few, FEW_ARMS)
    found = ckdn_real._verdicts(rows | {ORACLE: [0.0]}, values, CKDN_ARMS[0], PHOTOGRAPHS)
    ckdn_real._add_few(found, few_rows, few_values, CKDN_ARMS[0], PHOTOGRAPHS)
    searched = {arm: {'0.0005': 70.0, '0.001': 71.0} for arm in ARMS}
    settings = dict(search=dict(found=searched, few_found={arm: searched[arm] for arm in FEW_ARMS}))
    both = dict(rows=dict(val=rows, test=rows | {ORACLE: [0.0]}), few_rows=dict(val=few_rows, test=few_rows))
    return dict(settings=settings, verdicts=found, **both)


def verdicts(srcc: dict[str, float], few: dict[str, float]) -> list[bool]:
    return [row['holds'] for row in result(srcc, few)['verdicts']['statements']]


def test_page_names_every_arm_and_what_its_search_saw():
    text = ckdn_real.table(result({'no reference': 0.6}, {}))
    assert '| no reference | 60.0 ± 0.0 | 60.0 ± 0.0 |' in text and '**no**' in text
    assert [text.count(f'\n| {arm} | 70.0 | **71.0** |') for arm in ('full reference', 'DR', *CKDN_ARMS)] == [1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ('srcc', 'few', 'holds'),
    [
        ({}, {}, [True] + [False] * 6),
        ({'no reference': 0.6}, {'DR + pristine score': 0.8}, [True, True, False, False, False, True, False]),
        ({SWAPPED: 0.6, 'DR': 0.85}, {'DR': 0.8}, [True, False, True, True, False, False, True]),
        ({'full reference': 0.8, 'no reference': 0.2}, {'DR': 0.8}, [False] * 7),
    ],
)
def test_statements_follow_the_thresholds(srcc, few, holds):
    assert verdicts(srcc, few) == holds


def test_every_arm_takes_its_own_best_rate(tmp_path):
    (tmp_path / 'search.json').write_text(
        '{"DR + pristine score": {"0.0005": 0.9, "0.001": 0.7}, "CKDN, 0.1": {"0.0005": 0.5, "0.001": 0.7}}'
    )
    assert ckdn_real.best_rates(tmp_path) == {'DR + pristine score': 5e-4, 'CKDN, 0.1': 1e-3}


def test_search_trains_every_arm_that_is_compared(tmp_path):
    for data, arms in (({}, ARMS), (FEW, FEW_ARMS)):
        training = ckdn_real._search_training(1e-3, tmp_path, tmp_path / 'versions.npz', data)
        assert set(training.config.model.arms) == {ckdn_real.arm_key(arm, 1e-3) for arm in arms}
