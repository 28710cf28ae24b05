"""What the format of stored crops costs FTCN: the same network trained and tested behind PNG and behind JPEG.

Networks and data are those of claims.py ftcn. PNG changes no pixel; JPEG codes every frame as tools/ftcn_faces.py does (colours
in full resolution), training forgeries behind the blending. That happens at 112 pixels, the network's own size here. Crops of a
full preparation have about 360 and are made smaller behind it, which takes part of the artefacts away: here they weigh more.
The rate is searched for each of the two trainings.

Stated before the runs, in points of AUC of windows, for the unseen generators and for forgeries of the training's kind alike:

* the instrument: trained and tested on PNG the network reaches 80 on forgeries of the training's kind, else nothing is compared;
* a trained network hardly notices: tested on JPEG 95 in place of PNG it changes by at most 1 in every seed;
* JPEG 95 is good enough to train on: trained and tested on it, the mean over the seeds is at most 2 lower than on PNG.
"""

from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.ftcn_real import (
    CLEAN,
    FTCN,
    PROCESSES,
    RATES,
    ROOT,
    SEARCH_SEED,
    SEARCH_STEPS,
    SEEN,
    STEPS,
    WINDOWS,
    Windows,
    best_rate,
    config_of,
    figures_of_rate,
    network_scores,
    training_of,
    windows_of,
)
from benchmarks.real_data import cell, gap_lines, over_seeds, replace_part, statement_lines
from benchmarks.training import Training, kept, kept_array, side_by_side, train_all
from openmsra.ftcn.metrics import detection_figures

PNG = 'PNG'
QUALITIES = {PNG: None, 'JPEG 95': 95, 'JPEG 90': 90}
TRAINED = (PNG, 'JPEG 95')
PAIRS = ((PNG, PNG), (PNG, 'JPEG 95'), (PNG, 'JPEG 90'), ('JPEG 95', 'JPEG 95'))  # trained on, tested on
TESTS = (SEEN, CLEAN)
THRESHOLDS = dict(instrument=80.0, tested=1.0, trained=2.0)


def run(seeds: list[int], folder: Path) -> dict:
    """All runs; finished ones are read from ``folder``. AUC of windows in percent, by what is tested, and what on."""
    rates = _search(folder)
    trainings = {(trained, seed): _training(trained, rates[trained], seed, folder) for trained, seed in product(TRAINED, seeds)}
    train_all(trainings.values(), PROCESSES)
    rows: dict[str, dict[str, list[float]]] = {}
    for test, (trained, tested) in product(TESTS, PAIRS):
        windows, of_seeds = _windows(test, tested), [trainings[trained, seed] for seed in seeds]
        auc = partial(_auc, windows, f'{test}_{tested}'.replace(' ', '-'))
        rows.setdefault(test, {})[_name(trained, tested)] = side_by_side(auc, of_seeds, processes=PROCESSES)
        print(f'{test}, {_name(trained, tested)}', flush=True)
    return dict(settings=dict(seeds=seeds, steps=STEPS, rates=rates), rows=rows, verdicts=_verdicts(rows))


def _auc(windows: Windows, name: str, training: Training) -> float:
    """AUC of windows by a trained network, whose scores are kept beside it under a name."""
    scores = kept_array(training.work_dir / f'{name}.npy', lambda: network_scores(FTCN, training.checkpoint, windows.clips))
    return detection_figures(windows.labels, scores)['AUC']


def _name(trained: str, tested: str) -> str:
    return f'trained on {trained}, tested on {tested}'


def _stored(form: str) -> list[dict]:
    """The steps of a pipeline that a format of the crops is."""
    return [dict(type='StoreAsJPEG', quality=QUALITIES[form])] if QUALITIES[form] else []


def _training(form: str, rate: float, seed: int, folder: Path, search: bool = False) -> Training:
    steps = SEARCH_STEPS if search else STEPS
    training = training_of(FTCN, rate, seed, steps, folder / form.replace(' ', '-'), search)
    training.config.train_dataloader.dataset.pipeline[1:1] = _stored(form)  # behind the forging, before the augmentation
    return training


def _windows(test: str, form: str) -> Windows:
    if test == CLEAN:
        return windows_of('test', WINDOWS[CLEAN], steps=_stored(form))
    return windows_of('test', WINDOWS[SEEN], forge=True, steps=[dict(config_of(FTCN).forgeries, seed=1), *_stored(form)])


def _search(folder: Path) -> dict[str, float]:
    """The rate for each format that tells forgeries of people best who were not trained on; equal AUC: the lower loss."""

    def search() -> dict[str, dict[str, dict]]:
        jobs = {(form, rate): _training(form, rate, SEARCH_SEED, folder, search=True) for form, rate in product(TRAINED, RATES)}
        train_all(jobs.values(), PROCESSES)
        forgeries, found = dict(config_of(FTCN).forgeries, seed=0), {}
        for form in TRAINED:
            windows = windows_of('val', 9, forge=True, steps=[forgeries, *_stored(form)])
            found[form] = {f'{rate:g}': figures_of_rate(FTCN, jobs[form, rate], windows) for rate in RATES}
        return found

    return {form: best_rate(rows) for form, rows in kept(folder / 'search.json', search).items()}


def _verdicts(rows: dict[str, dict[str, list[float]]]) -> dict:
    base = _name(PNG, PNG)
    gaps = {
        f'{test}: {_name(*pair)} - {base}': over_seeds(np.subtract(rows[test][_name(*pair)], rows[test][base]))
        for test, pair in product(TESTS, PAIRS[1:])
    }
    measured = float(np.mean(rows[SEEN][base]))
    measures = measured >= THRESHOLDS['instrument']
    tested, trained = (
        [gaps[f'{test}: {_name(*pair)} - {base}'] for test in TESTS] for pair in ((PNG, 'JPEG 95'), ('JPEG 95', 'JPEG 95'))
    )
    largest = float(max(np.abs(gap['values']).max() for gap in tested))
    means = [gap['mean'] for gap in trained]
    statements = [
        dict(
            statement='the instrument: trained and tested on PNG, seen forgeries',
            threshold='80 or more',
            seen=f'{measured:.1f}',
            holds=measures,
        ),
        dict(
            statement='a trained network hardly notices: tested on JPEG 95 in place of PNG',
            threshold='at most 1 in every seed, either way',
            seen=f'{largest:.2f} at most',
            holds=measures and largest <= THRESHOLDS['tested'],
        ),
        dict(
            statement='good enough to train on: trained and tested on JPEG 95',
            threshold='at most 2 lower in the mean',
            seen=', '.join(f'{mean:+.1f}' for mean in means),
            holds=measures and min(means) >= -THRESHOLDS['trained'],
        ),
    ]
    return dict(thresholds=THRESHOLDS, gaps=gaps, statements=statements)


def table(result: dict) -> str:
    """The result as the Markdown tables of the paper's page."""
    rows, rates = result['rows'], result['settings']['rates']
    lines = ['| AUC of windows | rate | ' + ' | '.join(TESTS) + ' |', '|---' * (2 + len(TESTS)) + '|']
    for trained, tested in PAIRS:
        name = _name(trained, tested)
        lines.append(f'| {name} | {rates[trained]:g} | ' + ' | '.join(cell(rows[test][name]) for test in TESTS) + ' |')
    lines += gap_lines(result['verdicts']['gaps'], 'difference of AUC')
    return '\n'.join(lines + statement_lines(result['verdicts']['statements']))


def publish(result: dict) -> None:
    """The tables of the page."""
    replace_part(ROOT / 'configs' / 'ftcn' / 'README.md', 'measured on formats', table(result))
