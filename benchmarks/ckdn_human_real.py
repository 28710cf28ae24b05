"""CKDN and people's scores (SR4KIQA): does the low-resolution input help to rank super-resolved photographs as people do?

388 super-resolved images of the 20 scenes that have a pristine image, with mean opinion scores from 1 to 5 (of the 766 images of
the repository those that tools/download_data.py takes). Four folds over scenes, so that every image is scored by networks that
never saw its scene. Everything sees the middle 288 pixels of a crop. The score hangs on the scale above all (a predictor that
knows the scale and no image correlates at 0.95), so what counts is the order of the methods within a scene and scale: the share
of pairs that are ordered as people order them, ties count half.

Every arm starts from the network of the same arm and seed that was trained on BSDS500 (claims.py ckdn); three also start from
random weights. All of them see the same batches. The rate of each is chosen for each fold by a training that leaves out another
fold too.

Rows for comparison: PSNR, SSIM, GMSD, VIF and FSIM on the same pixels against the pristine image; what the scale alone tells, and
the scale and the method alone (the mean score of the training scenes; neither sees an image).

Stated before the runs; points of pair accuracy, mean over the seeds, intervals over scenes; networks that started on BSDS500:

* the instrument: the full reference orders 60 % of the pairs or more, else nothing is compared;
* the degraded reference helps: DR - no reference, interval above 0;
* the paper's claim: CKDN - no reference, interval above 0;
* the condition helps: DR + pristine score - DR, interval above 0;
* the alignment helps: CKDN - (DR + pristine score), interval above 0;
* the labels of formulas help: DR from BSDS500 - DR from random weights, interval above 0;
* DR tells more than the names of methods do: DR - scale and method alone, interval above 0.
"""

import csv
import json
from collections import defaultdict
from itertools import combinations, product
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from benchmarks import ckdn_real
from benchmarks.ckdn_real import ARMS as ALL_ARMS
from benchmarks.ckdn_real import PRECISION
from benchmarks.real_data import (
    ROOT,
    at_data,
    cell,
    data_folder,
    gap_lines,
    over_seeds,
    replace_part,
    seen,
    statement_lines,
)
from benchmarks.side_by_side import arm_key, load_arm
from benchmarks.training import Training, kept, kept_array, train_all
from openmsra.apis import init_model
from openmsra.ckdn.data import quality
from openmsra.ckdn.data.transforms import center_crop, load_rgb, to_tensor
from openmsra.ckdn.metrics import correlations
from openmsra.ckdn.report.compare import paired_bootstrap
from openmsra.engine.config.files import load_config
from openmsra.errors import MissingFileError
from openmsra.registry import DATASETS

CONFIG = ROOT / 'configs' / 'ckdn' / 'ckdn_r18-s1_1xb8-200i_sr4kiqa.py'
NR, DR, CONDITION, CKDN, FR = 'no reference', 'DR', 'DR + pristine score', 'CKDN', 'full reference'
SCRATCH, BSDS = 'random weights', 'BSDS500'
ARMS = {SCRATCH: (NR, DR, FR), BSDS: (NR, DR, CONDITION, CKDN, FR)}  # by what they start from
SCALE, METHOD = 'scale alone', 'scale and method alone'
FORMULAS = ('PSNR', 'SSIM', 'GMSD', 'VIF', 'FSIM')
FOLDS, STEPS, BATCH, SEARCH_SEED, PROCESSES = 4, 200, 8, 100, 2
RATES = (5e-4, 2e-3)
SIDE = 288  # pixels of the middle of every crop, which is all that is seen
THRESHOLDS = dict(instrument=60.0)


def run(seeds: list[int], folder: Path) -> dict:
    """All runs; finished ones are read from ``folder``. Correlations x 100 and pair accuracy in percent, by row and seed."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_tables(folder)
    rates = _search(folder, seeds[0])
    trainings = {
        (fold, seed): _training(folder, fold, None, seed, {name: [rate] for name, rate in rates[fold].items()}, seed)
        for fold in range(FOLDS)
        for seed in seeds
    }
    train_all(trainings.values(), PROCESSES)
    images = _images()
    scores: dict[str, list[np.ndarray]] = {name: [row] for name, row in _fixed_scores(images, folder).items()}
    for name, seed in product(_names(), seeds):
        parts = [_scores(arm_key(name, rates[fold][name]), name, trainings[fold, seed], folder, fold) for fold in range(FOLDS)]
        scores.setdefault(name, []).append(_in_order(parts, images)[0])
    rows = {name: [_figures(values, images) for values in runs] for name, runs in scores.items()}
    settings = dict(seeds=seeds, steps=STEPS, batch=BATCH, rates=rates, search=dict(rates=RATES), images=len(images))
    settings |= dict(alignment=_alignment(), precision=f'{PRECISION}, channels last')
    return dict(settings=settings, rows=rows, verdicts=_verdicts(rows))


def _name(arm: str, start: str) -> str:
    return f'{arm}, from {start}'


def _names() -> list[str]:
    return [_name(arm, start) for start, arms in ARMS.items() for arm in arms]


def _alignment() -> str:
    """The arm of the experiment on BSDS500 that had the best weight of the alignment on its validation photographs."""
    file = ROOT / 'benchmarks' / 'results' / 'claims_real_ckdn.json'
    return json.loads(file.read_text(encoding='utf-8'))['settings']['chosen_on_validation']


def _source(name: str) -> str:
    """The arm of the experiment on BSDS500 that an arm here is."""
    arm = name.rpartition(', from ')[0]
    return _alignment() if arm == CKDN else arm


def _write_tables(folder: Path) -> None:
    """For each test fold the table with its parts, and that in which the fold that chooses the rates is left out too."""
    rows = _images()
    whole, searched = [(test, None) for test in range(FOLDS)], [(test, _choosing(test)) for test in range(FOLDS)]
    for test, left_out in whole + searched:
        judged = test if left_out is None else left_out
        parts = {str(test): 'unused', str(judged): 'val'}
        with _table(folder, test, left_out).open('w', encoding='utf-8', newline='') as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(dict(row, split=parts.get(row['fold'], 'train')) for row in rows)


def _choosing(test: int) -> int:
    """The fold that chooses the rates of a test fold."""
    return (test + 1) % FOLDS


def _images() -> list[dict[str, str]]:
    """The rows of the table that have a pristine image."""
    with (data_folder('sr4kiqa') / 'pairs.csv').open(encoding='utf-8') as file:
        return [row for row in csv.DictReader(file) if row['reference']]


def _table(folder: Path, test: int, left_out: int | None) -> Path:
    return folder / f'test{test}{"" if left_out is None else f"_without{left_out}"}.csv'


def _config(table: Path) -> Config:
    cfg = at_data(load_config(CONFIG), dict(sr4kiqa=data_folder('sr4kiqa')))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.ann_file = str(table)
    cfg.test_dataloader.dataset.pipeline[1].crop = SIDE
    return cfg


def _started(name: str, seed: int, folder: Path) -> dict:
    """The model of an arm; from BSDS500 with the weights that it has there.

    Raises:
        MissingFileError: that experiment has not been run.
    """
    model = _model(name)
    if name.endswith(BSDS):
        source = folder.parent / 'ckdn_real'
        run_folder = ckdn_real.run_folder_of(seed, source)
        if not (run_folder / 'done').exists():
            raise MissingFileError(f'{run_folder}: the networks trained on BSDS500 are not there; run claims.py ckdn first.')
        key = arm_key(_source(name), ckdn_real.best_rates(source)[_source(name)])
        checkpoint = str(Training('', run_folder, seed).checkpoint)
        model['init_cfg'] = dict(type='Pretrained', checkpoint=checkpoint, prefix=f'arms.{key}.')
    return model


def _training(folder: Path, test: int, left_out: int | None, seed: int, rates: dict[str, list[float]], start: int) -> Training:
    """A training of all arms on the scenes of the other folds, several rates of an arm side by side.

    Args:
        start: seed of the networks of BSDS500 that it starts from.
    """
    cfg = _config(_table(folder, test, left_out))
    cfg.train_dataloader.batch_size = BATCH
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    ckdn_real.to_side_by_side(cfg, rates, lambda name: _started(name, start, folder), STEPS, seed)
    return Training(cfg, folder / f'{_table(folder, test, left_out).stem}_seed{seed}', seed)


def _model(name: str) -> dict:
    return dict(load_config(CONFIG).model.to_dict(), **ALL_ARMS[_source(name)])


def _search(folder: Path, start: int) -> list[dict[str, float]]:
    """For each test fold the rate of each arm that orders best the pairs of the next fold, which is not trained on either."""

    def search() -> list[dict[str, dict[str, float]]]:
        both = dict.fromkeys(_names(), list(RATES))
        trainings = [_training(folder, fold, _choosing(fold), SEARCH_SEED, both, start) for fold in range(FOLDS)]
        train_all(trainings, PROCESSES)
        images, found = _images(), []
        for fold, training in enumerate(trainings):
            figures: dict[str, dict[str, float]] = {}
            for name, rate in product(_names(), RATES):
                values = _scores(arm_key(name, rate), name, training, folder, fold, _choosing(fold))
                accuracy = _pair_accuracies(*_in_order([values], images))
                figures.setdefault(name, {})[f'{rate:g}'] = 100 * float(np.mean(list(accuracy.values())))
            found.append(figures)
        return found

    found = kept(folder / 'search.json', search)
    return [{name: float(max(rows, key=rows.get)) for name, rows in figures.items()} for figures in found]


@torch.inference_mode()
def _scores(module: str, name: str, training: Training, folder: Path, test: int, left_out: int | None = None) -> dict[str, float]:
    """Scores of the images of the fold that is judged, by their file name, kept in a file beside the run."""

    def measure() -> dict[str, float]:
        cfg = _config(_table(folder, test, left_out))
        cfg.model = _model(name)
        model = load_arm(init_model(cfg), training.work_dir, module).to(memory_format=torch.channels_last)
        with DefaultScope.overwrite_default_scope('openmsra'):
            dataset = DATASETS.build(cfg.test_dataloader.dataset)
        scores = {}
        for start in range(0, len(dataset), 4):
            batch = pseudo_collate([dataset[i] for i in range(start, min(start + 4, len(dataset)))])
            scores |= {Path(sample.restored_path).name: sample.pred_logit for sample in model.test_step(batch)}
        return scores

    return kept(training.work_dir / f'{module}.json', measure)


def _in_order(parts: list[dict[str, float]], images: list[dict]) -> tuple[np.ndarray, list[dict]]:
    """Scores of several folds (N,) in the order of the table, and the rows that they are of."""
    scores = {name: value for part in parts for name, value in part.items()}
    rows = [row for row in images if Path(row['restored']).name in scores]
    return np.array([scores[Path(row['restored']).name] for row in rows]), rows


def _fixed_scores(images: list[dict], folder: Path) -> dict[str, np.ndarray]:
    """What needs no training: the formulas (N,), higher is better, and the mean score of the scale, and the scale and method."""
    formulas = kept_array(folder / 'formulas.npy', lambda: np.array([_formulas(row) for row in images]))
    scores = dict(zip(FORMULAS, formulas.T, strict=True))
    for name, keys in ((SCALE, ('scale',)), (METHOD, ('scale', 'method'))):
        scores[name] = _told_by(images, keys)
    return scores


def _told_by(images: list[dict], keys: tuple[str, ...]) -> np.ndarray:
    """The mean score that the images of equal keys have in other folds; of fewer keys where there is no such image."""
    means = []
    for row in images:
        others = [other for other in images if other['fold'] != row['fold']]
        for count in range(len(keys), -1, -1):
            alike = [float(other['mos']) for other in others if all(other[key] == row[key] for key in keys[:count])]
            if alike:
                break
        means.append(np.mean(alike))
    return np.array(means)


def _formulas(row: dict) -> list[float]:
    """The measures of an image against its pristine one, in the order of :data:`FORMULAS`, higher is better."""
    root = data_folder('sr4kiqa')
    images = [to_tensor(center_crop(load_rgb(root / row[role]), SIDE))[None].float() for role in ('restored', 'reference')]
    error = (images[0] - images[1]).square().mean()
    pair = [quality.grey(image) for image in images]
    values = (
        10 * torch.log10(255**2 / error),
        quality.ssim(*pair),
        -quality.gmsd(*pair),
        quality.vif(*pair),
        quality.fsim(*pair),
    )
    return [float(value) for value in values]


def _pair_accuracies(scores: np.ndarray, rows: list[dict]) -> dict[str, float]:
    """Of each scene the share of pairs of one scale that the scores (N,) order as people do; equal scores count half."""
    groups, right = defaultdict(list), defaultdict(list)
    for score, row in zip(scores, rows, strict=True):
        groups[row['scene'], row['scale']].append((score, float(row['mos'])))
    for (scene, _), members in groups.items():
        for (a, first), (b, second) in combinations(members, 2):
            if first != second:
                right[scene].append((np.sign(a - b) * np.sign(first - second) + 1) / 2)
    return {scene: float(np.mean(values)) for scene, values in right.items()}


def _figures(scores: np.ndarray, images: list[dict]) -> dict:
    """Pair accuracy by scene in percent and its mean; correlations x 100 within a scale and over all, means over the folds."""
    scenes = {scene: 100 * value for scene, value in _pair_accuracies(scores, images).items()}
    mos, folds, scales = (np.array([row[key] for row in images]) for key in ('mos', 'fold', 'scale'))
    groups = [(folds == fold) & (scales == scale) for fold, scale in product(sorted(set(folds)), sorted(set(scales)))]
    whole = [folds == fold for fold in sorted(set(folds))]
    within, overall = (
        float(np.mean([_srcc(scores[group], mos[group].astype(float)) for group in parts])) for parts in (groups, whole)
    )
    return dict(pairs=float(np.mean(list(scenes.values()))), within=within, overall=overall, scenes=scenes)


def _srcc(scores: np.ndarray, mos: np.ndarray) -> float:
    """Spearman's correlation x 100; 0 where all scores are equal."""
    figures = correlations(scores, mos)
    return 100 * figures['SRCC'] if figures else 0.0


def _verdicts(rows: dict[str, list[dict]]) -> dict:
    dr, reference = _name(DR, BSDS), _name(FR, BSDS)
    pairs = [(dr, _name(NR, BSDS)), (_name(CKDN, BSDS), _name(NR, BSDS)), (_name(CONDITION, BSDS), dr)]
    pairs += [(_name(CKDN, BSDS), _name(CONDITION, BSDS)), (dr, _name(DR, SCRATCH)), (dr, METHOD)]
    statements = (
        'the degraded reference helps: DR above no reference',
        "the paper's claim: CKDN above no reference",
        'the condition helps: DR + pristine score above DR',
        'the alignment helps: CKDN above DR + pristine score',
        'labels of formulas help: DR from BSDS500 above DR from random weights',
        f'DR tells more than {METHOD}',
    )
    gaps = {f'{first} - {second}': _gap(rows[first], rows[second]) for first, second in pairs}
    measured = float(np.mean([row['pairs'] for row in rows[reference]]))
    measures = measured >= THRESHOLDS['instrument']
    verdicts = [
        dict(
            statement='the instrument measures: the full reference from BSDS500',
            threshold='60 % of the pairs or more',
            seen=f'{measured:.1f}',
            holds=measures,
        )
    ]
    for statement, gap in zip(statements, gaps.values(), strict=True):
        holds = bool(measures and gap['scenes_interval'][0] > 0)
        verdicts.append(dict(statement=statement, threshold='interval over scenes above 0', seen=seen(gap), holds=holds))
    return dict(thresholds=THRESHOLDS, gaps=gaps, statements=verdicts)


def _gap(first: list[dict], second: list[dict]) -> dict:
    """The difference of pair accuracy over seeds, with a bootstrap over scenes; a row without seeds stands against each."""
    seeds = max(len(first), len(second))
    first, second = (runs * (seeds // len(runs)) for runs in (first, second))
    gap = over_seeds(np.array([a['pairs'] - b['pairs'] for a, b in zip(first, second, strict=True)]))
    by_scene = [np.mean([list(row['scenes'].values()) for row in runs], axis=0) for runs in (first, second)]
    bootstrap = paired_bootstrap(*by_scene)
    return dict(gap, scenes_interval=[bootstrap['low'], bootstrap['high']])


def table(result: dict) -> str:
    """The result as the Markdown tables of the paper's page."""
    lines = ['| | pairs ordered as people do, % | SRCC x 100 within a scale | over all images |', '|---|---|---|---|']
    for name, runs in sorted(result['rows'].items(), key=lambda row: np.mean([run['pairs'] for run in row[1]])):
        cells = [cell([run[key] for run in runs]) for key in ('pairs', 'within', 'overall')]
        lines.append(f'| {name} | {" | ".join(cells)} |')
    verdicts = result['verdicts']
    lines += gap_lines(verdicts['gaps'], 'difference, % of pairs', dict(scenes_interval='scenes'))
    return '\n'.join(lines + statement_lines(verdicts['statements']))


def draw(result: dict, file: Path) -> None:
    """The share of pairs that every row orders as people do, a dot for each seed."""
    from matplotlib.figure import Figure

    rows = {name: [run['pairs'] for run in runs] for name, runs in result['rows'].items()}
    names = sorted(rows, key=lambda name: np.mean(rows[name]))
    figure = Figure(figsize=(8, 4.8), layout='constrained')
    axis = figure.subplots()
    for place, name in enumerate(names):
        colour = 'C0' if name.endswith(BSDS) else 'C9' if name.endswith(SCRATCH) else '0.7'
        axis.barh(place, np.mean(rows[name]), height=0.6, color=colour)
        axis.scatter(rows[name], [place] * len(rows[name]), color='black', s=14, zorder=3)
        axis.annotate(f'{np.mean(rows[name]):.1f}', (max(rows[name]) + 0.5, place), va='center')
    axis.axvline(50, color='0.4', linestyle=':', linewidth=1)
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel='pairs of one scene and scale that are ordered as people order them (%)', xlim=(40, None))
    axis.spines[['top', 'right']].set_visible(False)
    figure.savefig(file, dpi=110)


def publish(result: dict) -> None:
    """The tables and the figure of the page."""
    draw(result, ROOT / 'docs' / 'ckdn_sr4kiqa.png')
    replace_part(ROOT / 'configs' / 'ckdn' / 'README.md', 'measured on SR4KIQA', table(result))
