"""The experiment on CIFAR-10: its verdicts and tables, and all of it on generated images."""

import json

import numpy as np
import pytest
import torch

from benchmarks import autoformer_real
from benchmarks.autoformer_real import ARMS, BUDGETS
from openmsra.apis import init_model
from openmsra.autoformer.search.latency import LatencySettings
from tests.trees import Pictures


def rows(entangled: float, classical: float, found: float, uniform: float, validation: float, tau_low: float) -> dict:
    """Rows of two seeds, which differ by one point."""
    means = {'entangled': entangled, 'classical': classical, 'classical, 4 x steps': classical}
    found = {'uniform': uniform, 'random': 40.0, 'evolution': found}
    search = {name: dict(validation=validation if name == 'evolution' else 50.0) for name in found}
    tau = dict(kendall=dict(value=0.5, low=tau_low, high=0.8))
    return dict(
        sharing={arm: [dict(accuracies=[mean + seed] * 3) for seed in (0, 1)] for arm, mean in means.items()},
        searches=[dict(latency=search)] * 2,
        standalone=[{name: value + seed for name, value in found.items()} for seed in (0, 1)],
        ranking=dict(arms=dict.fromkeys(ARMS, tau)),
    )


def held(*figures: float) -> list[bool]:
    return [row['holds'] for row in autoformer_real._verdicts(rows(*figures))['statements']]


def test_statements_follow_the_thresholds():
    assert held(40, 25, 50, 49, 51, 0.1) == [True] * 4
    assert held(40, 25.5, 49, 49, 50, 0.0) == [False] * 4, '14.5 points, a tie, a tie, an interval that touches 0'


@pytest.mark.reliability
def test_all_of_it_on_generated_images(tmp_path, monkeypatch):
    """One arm of the search trains through the real tools, the others keep random weights; a second call reads all from files."""
    picture = Pictures()
    for part, count in (('train', 6), ('test', 3)):
        for label, name in enumerate(['cat', *(f'class{i}' for i in range(9))]):
            for number in range(count):
                picture(tmp_path / 'data/cifar10' / part / name / f'{number}.png', (32, 32), label)
    monkeypatch.setenv('OPENMSRA_DATA', str(tmp_path / 'data'))
    small = dict(IMAGES=dict(train=(4, 'train'), val=(2, 'train'), test=(3, 'test')), EPOCHS=2, RATES=(1e-3,), CANDIDATES=3)
    small |= dict(SEARCH=dict(generations=2, population=4, parents=2, mutations=1, crossovers=1), RETRAINED=4)
    small |= dict(LatencySettings=lambda: LatencySettings(seconds=0.01, rounds=1, checks=1))
    for name, value in small.items():
        monkeypatch.setattr(autoformer_real, name, value)
    train_all, trained = autoformer_real.train_all, []

    def mostly_untrained(trainings, processes):
        for training in trainings:
            if not trained:
                trained.append(training)
                train_all([training], 1)
            elif not (training.work_dir / 'last_checkpoint').exists():
                (training.work_dir / 'run' / 'vis_data').mkdir(parents=True)
                accuracy = json.dumps({'accuracy/top1': 10.0 + len(list(training.work_dir.parent.iterdir()))})
                (training.work_dir / 'run' / 'vis_data' / 'scalars.json').write_text(accuracy)
                torch.save(dict(state_dict=init_model(training.config).state_dict()), training.work_dir / 'weights.pth')
                (training.work_dir / 'last_checkpoint').write_text(str(training.work_dir / 'weights.pth'))

    monkeypatch.setattr(autoformer_real, 'train_all', mostly_untrained)
    result = autoformer_real.run([0, 1], tmp_path / 'runs')
    assert 'entangled' in trained[0].work_dir.name
    assert result['settings']['rates'] == dict.fromkeys(ARMS, 1e-3)
    costs = {name: row['latency'] for name, row in result['rows']['searches'][0]['latency'].items()}
    assert 0.95 * costs['uniform'] <= min(costs.values()) and max(costs.values()) == costs['uniform']
    text = autoformer_real.table(json.loads(json.dumps(result)))
    assert (
        all(text.count(f'\n| {budget} | evolution |') == 1 for budget in BUDGETS)
        and np.isfinite(result['rows']['ranking']['alone']).all()
    )
    autoformer_real.draw(result, tmp_path / 'figure.png')
    monkeypatch.setattr(autoformer_real, 'inherited', None)
    monkeypatch.setattr(autoformer_real, 'train_all', lambda trainings, processes: None)
    assert autoformer_real.run([0, 1], tmp_path / 'runs') == result


def test_page_has_the_place():
    page = (autoformer_real.CONFIGS / 'README.md').read_text(encoding='utf-8')
    assert '<!-- measured on CIFAR-10 -->\n' in page and '<!-- end of measured on CIFAR-10 -->' in page
