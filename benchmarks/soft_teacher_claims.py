"""Soft Teacher in miniature: 24 labelled and 800 unlabelled images of coloured cut-outs on photographs; AP50 on 150 others.

Every seed has its own labelled images. All arms start from the same burn-in and see the same number of labelled images after it:
the baseline goes on without unlabelled images (the better of student and EMA counts), the others are Soft Teacher (its teacher
counts), the same without soft background weights, and the same without the jitter filter. Made by us, says nothing about COCO.
"""

import json
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.training import Training, train_all
from openmsra.engine.config.files import load_config

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs' / 'soft_teacher'
BURN_IN = 'supervised-burnin_r18-tiny_1xb4-400i_shapes_mini'
BASELINE, OURS = 'supervised', 'Soft Teacher'
ARMS = {
    BASELINE: 'supervised_r18-tiny_1xb4-200i_shapes_mini',
    OURS: 'soft-teacher_r18-tiny_1xb8-200i_shapes_mini',
    'without soft weights': 'soft-teacher-hard_r18-tiny_1xb8-200i_shapes_mini',
    'without jitter filter': 'soft-teacher-score_r18-tiny_1xb8-200i_shapes_mini',
}
THRESHOLDS = dict(mean_gain=2.0, worst_seed=-0.5)  # points of AP50
FOLDS = 3  # of labelled images in the scenes


def run(seeds: list[int], processes: int, folder: Path) -> dict:
    """All runs, finished ones are not repeated; AP50 in percent."""
    phases = [
        [(BURN_IN, seed) for seed in seeds],
        [(ARMS[arm], seed) for seed in seeds for arm in (BASELINE, OURS)],
        [(ARMS[arm], seed) for seed in seeds for arm in list(ARMS)[2:]],
    ]
    for jobs in phases:
        train_all([_training(config, seed, folder) for config, seed in jobs], processes)
    rows = {arm: [_result(config, seed, folder) for seed in seeds] for arm, config in ARMS.items()}
    burn_in = [_result(BURN_IN, seed, folder) for seed in seeds]
    settings = dict(seeds=seeds, thresholds=THRESHOLDS, configs=dict(ARMS, burn_in=BURN_IN))
    return dict(settings=settings, burn_in=burn_in, arms=rows, verdicts=verdicts(rows))


def _work_dir(config: str, seed: int, folder: Path) -> Path:
    return folder / f'{config}_seed{seed}'


def _training(config: str, seed: int, folder: Path) -> Training:
    file = CONFIGS / f'{config}.py'
    dataset = load_config(file).train_dataloader.dataset
    labelled = 'datasets.0.' if 'datasets' in dataset else ''
    options = {f'train_dataloader.dataset.{labelled}ann_file': f'labelled.{seed % FOLDS}.json'}
    if config != BURN_IN:
        options['load_from'] = str(_work_dir(BURN_IN, seed, folder) / 'iter_400.pth')
    return Training(file, _work_dir(config, seed, folder), seed, options)


def _result(config: str, seed: int, folder: Path) -> dict:
    return dict(seed=seed, **figures(_work_dir(config, seed, folder)))


def figures(work_dir: Path) -> dict[str, float]:
    """Last logged AP and AP50 (percent) of both networks, and the last figures on the pseudo labels."""
    newest, row = max(work_dir.glob('*/vis_data/scalars.json')), {}
    for line in map(json.loads, newest.read_text(encoding='utf-8').splitlines()):
        for name, (key, logged) in product(('teacher', 'student'), dict(ap='bbox_mAP', ap50='bbox_mAP_50').items()):
            if f'{name}/coco/{logged}' in line:
                row[f'{name}_{key}'] = round(100 * line[f'{name}/coco/{logged}'], 2)
        row |= {name.removeprefix('pseudo_'): round(value, 3) for name, value in line.items() if name.startswith('pseudo_')}
    return row


def score(arm: str, row: dict, key: str = 'ap50') -> float:
    """What counts of a run: the teacher, for the baseline the better network."""
    return max(row[f'teacher_{key}'], row[f'student_{key}']) if arm == BASELINE else row[f'teacher_{key}']


def verdicts(rows: dict) -> dict:
    """Differences to Soft Teacher, paired by seed, and whether the thresholds hold."""
    values = {arm: np.array([score(arm, row) for row in runs]) for arm, runs in rows.items()}
    gaps = {arm: values[OURS] - values[arm] for arm in rows if arm != OURS}
    gain = gaps[BASELINE]
    return dict(
        gaps={arm: dict(mean=float(gap.mean()), spread=_spread(gap), each=gap.tolist()) for arm, gap in gaps.items()},
        beats_supervised=bool(gain.mean() >= THRESHOLDS['mean_gain'] and gain.min() >= THRESHOLDS['worst_seed']),
        soft_weights_help=bool(gaps['without soft weights'].mean() > 0),
        jitter_filter_helps=bool(gaps['without jitter filter'].mean() > 0),
    )


def _spread(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def table(result: dict) -> str:
    """The result as the Markdown table of the paper's page."""
    lines = ['| arm | AP50 that counts | teacher / EMA | student | ours minus it, by seed |', '|---|---|---|---|---|']
    for arm, runs in result['arms'].items():
        cells = [[score(arm, row) for row in runs], *([row[f'{name}_ap50'] for row in runs] for name in ('teacher', 'student'))]
        gap = result['verdicts']['gaps'].get(arm)
        last = f'{gap["mean"]:+.1f} ± {gap["spread"]:.1f}' if gap else ''
        lines.append(
            f'| {arm} | ' + ' | '.join(f'{np.mean(cell):.1f} ± {_spread(np.array(cell)):.1f}' for cell in cells) + f' | {last} |'
        )
    return '\n'.join(lines)


def draw(result: dict, file: Path) -> None:
    """Bars of the mean, one dot a seed; the line is the teacher after the burn-in."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout='constrained')
    axis = figure.subplots()
    for place, (arm, runs) in enumerate(result['arms'].items()):
        values = [score(arm, row) for row in runs]
        axis.bar(place, np.mean(values), color='C0' if arm == OURS else '0.7', width=0.6)
        axis.scatter([place] * len(values), values, color='black', s=14, zorder=2)
        axis.annotate(f'{np.mean(values):.1f}', (place, max(values) + 0.6), ha='center')
    start = np.mean([row['teacher_ap50'] for row in result['burn_in']])
    axis.axhline(start, color='0.4', linestyle=':', linewidth=1)
    axis.annotate('after the burn-in', (len(result['arms']) - 0.5, start), fontsize=8, va='bottom', ha='right')
    axis.set_xticks(range(len(result['arms'])), list(result['arms']), fontsize=8)
    axis.set(ylabel='AP50 on 150 images (%)', title='24 labelled, 800 unlabelled images')
    axis.spines[['top', 'right']].set_visible(False)
    figure.savefig(file, dpi=110)
