"""The experiment on the format of stored crops: its verdicts, its table, and where in a pipeline the format comes."""

import json

import pytest

from benchmarks import ftcn_format_real as experiment
from benchmarks.ftcn_real import CLEAN, CONFIGS, SEEN
from tests.trees import faces


def result(seen: list[list[float]], clean: list[list[float]]) -> dict:
    """A result of two seeds; AUC by pair, in the order of ``PAIRS``."""
    names = [experiment._name(*pair) for pair in experiment.PAIRS]
    rows = {SEEN: dict(zip(names, seen, strict=True)), CLEAN: dict(zip(names, clean, strict=True))}
    return dict(settings=dict(rates=dict.fromkeys(experiment.TRAINED, 1e-2)), rows=rows, verdicts=experiment._verdicts(rows))


@pytest.mark.parametrize(
    ('seen', 'clean', 'held'),
    [
        ([[90, 92], [90.9, 91.1], [80, 80], [88.1, 90]], [[60, 60], [61, 59], [0, 0], [58, 58]], [True, True, True]),
        ([[90, 92], [90, 92], [90, 92], [90, 92]], [[60, 60], [60, 58.9], [60, 60], [58, 57.9]], [True, False, False]),
        ([[79, 80], [79, 80], [79, 80], [79, 80]], [[60, 60], [60, 60], [60, 60], [60, 60]], [False, False, False]),
    ],
    ids=['within the thresholds', 'one seed of one test, and a mean', 'nothing was learnt'],
)
def test_statements_follow_the_thresholds(seen, clean, held):
    found = json.loads(json.dumps(result(seen, clean)))
    assert [row['holds'] for row in found['verdicts']['statements']] == held
    assert experiment.table(found).count('trained on JPEG 95, tested on JPEG 95') == 3


def test_a_forgery_is_stored_before_it_is_augmented(tmp_path, monkeypatch):
    faces(tmp_path / 'data/faces')
    monkeypatch.setenv('OPENMSRA_DATA', str(tmp_path / 'data'))
    for form, kinds in (('PNG', []), ('JPEG 95', ['StoreAsJPEG'])):
        training = experiment._training(form, 1e-3, 0, tmp_path)
        steps = [step['type'] for step in training.config.train_dataloader.dataset.pipeline]
        assert steps == ['ForgeFace', *kinds, 'AugmentClip', 'PackClip']
    assert (experiment._windows(SEEN, 'PNG').clips != experiment._windows(SEEN, 'JPEG 90').clips).any()


def test_page_has_the_place():
    page = (CONFIGS / 'README.md').read_text(encoding='utf-8')
    assert '<!-- measured on formats -->\n' in page and '<!-- end of measured on formats -->' in page
