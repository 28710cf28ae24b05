"""Soft Teacher on circuit boards (DeepPCB): do 890 boards without labels help a detector that has 10, or 50, with labels?

A small Faster R-CNN, trained from scratch. Every seed draws its own labelled boards. All arms of a seed start from the same
burn-in and then see the same number of labelled images: the baseline goes on without the unlabelled ones (the better of student
and EMA counts), the others are Soft Teacher (its teacher counts), the same without soft background weights, and the same without
the jitter filter. 100 boards of the training part, which no arm sees, choose the rates and, for each number of labels, which
pseudo boxes are trusted and how much; the 500 official test boards judge. The blood cells of BCCD with 15 labelled images are the
second set; they take the settings of the boards with 10.

Stated before the runs, in points of AP over the seeds:

* boards, 10 labelled: Soft Teacher - supervised >= 2 on average, above 0 in every seed;
* the same with 50 labelled boards: above 0 in every seed;
* soft background weights help: Soft Teacher - without them above 0 in every seed;
* the jitter filter helps: Soft Teacher - without it above 0 in every seed;
* blood cells: no difference above 2 either way, since many cells have no box in the truth.
"""

import json
from pathlib import Path

import numpy as np
from mmengine.config import Config

from benchmarks.real_data import ROOT, at_data, cell, data_folder, gap_lines, over_seeds, replace_part, seen, statement_lines
from benchmarks.soft_teacher_claims import figures, score
from benchmarks.training import Training, kept, train_all
from openmsra.common.coco import read_coco
from openmsra.engine.config.files import load_config
from openmsra.soft_teacher.data.splits import Plan, subset, write_splits

CONFIGS = ROOT / 'configs' / 'soft_teacher'
BURN_IN = 'supervised-burnin_r18-gn_1xb2-800i_deeppcb-1pct'
BASELINE, OURS = 'supervised', 'Soft Teacher'
ARMS: dict[str, tuple[str, dict]] = {  # name -> config, changes of semi_train_cfg
    BASELINE: ('supervised_r18-gn_1xb2-800i_deeppcb-1pct', {}),
    OURS: ('soft-teacher_r18-gn_1xb4-800i_deeppcb-1pct', {}),
    'without soft weights': ('soft-teacher_r18-gn_1xb4-800i_deeppcb-1pct', dict(bg_weight='none')),
    'without jitter filter': ('soft-teacher_r18-gn_1xb4-800i_deeppcb-1pct', dict(reg_select='score')),
}
BOARDS, FEW_MORE, CELLS = 'boards, 10 labelled', 'boards, 50 labelled', 'blood cells, 15 labelled'
LABELLED = {BOARDS: 10, FEW_MORE: 50, CELLS: 15}
ARMS_OF = {BOARDS: tuple(ARMS), FEW_MORE: (BASELINE, OURS), CELLS: (BASELINE, OURS)}
BURN_IN_STEPS, STEPS, SEARCH_STEPS, VALIDATION = 800, 400, 200, 100  # a pilot saw the same gap after 400 and 800 steps
RATES = (5e-4, 1e-3, 2e-3)
SEARCHED = (BASELINE, OURS)  # the ablations take Soft Teacher's
TRUST = {  # which pseudo boxes teach: least score, largest spread under jitter, weight of the unlabelled images
    'scores from 0.8, spread to 0.03, weight 2': (0.8, 0.03, 2.0),
    'scores from 0.8, spread to 0.045, weight 2': (0.8, 0.045, 2.0),
    'scores from 0.8, spread to 0.045, weight 0.5': (0.8, 0.045, 0.5),
    'scores from 0.5, spread to 0.045, weight 2': (0.5, 0.045, 2.0),
    'scores from 0.5, spread to 0.045, weight 0.5': (0.5, 0.045, 0.5),
}
TRUST_KEYS = ('cls_pseudo_thr', 'reg_pseudo_thr', 'unsup_weight')
TRUST_OF = {BOARDS: BOARDS, FEW_MORE: FEW_MORE, CELLS: BOARDS}  # whose search counts
THRESHOLDS = dict(gain=2.0, cells=2.0)
LONGER = dict(
    lengths=(800, 2400), unit='steps of burn-in', figure='AP with 10 labelled boards (%)', pair=(OURS, BASELINE), gain=2.0
)
PROCESSES = 2


def run(seeds: list[int], folder: Path) -> dict:
    """All runs; finished ones are read from ``folder``. AP in percent."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_splits(folder / 'splits', max(seeds) + 2)
    rates, rows = _search(folder, max(seeds) + 1), {}
    trust = _search_trust(rates[OURS], folder, max(seeds) + 1)
    train_all([_burn_in(data, seed, folder) for data in LABELLED for seed in seeds], PROCESSES)
    for data, arms in ARMS_OF.items():
        trainings = {
            (arm, seed): _training(data, arm, rates[arm], seed, folder, trust=trust[TRUST_OF[data]])
            for seed in seeds
            for arm in arms
        }
        train_all(trainings.values(), PROCESSES)
        burn_in = [_row(_burn_in(data, seed, folder), seed) for seed in seeds]
        rows[data] = {'burn-in': burn_in} | {arm: [_row(trainings[arm, seed], seed) for seed in seeds] for arm in arms}
    settings = dict(seeds=seeds, burn_in=BURN_IN_STEPS, steps=STEPS, rates=rates, trust=trust, labelled=LABELLED)
    settings |= dict(
        search=dict(rates=RATES, trust=TRUST, steps=SEARCH_STEPS, judged=f'AP on {VALIDATION} boards of the training part')
    )
    return dict(settings=settings, rows=rows, verdicts=_verdicts(rows))


def main_figures(rows: dict, seeds: list[int]) -> dict[str, list[float]]:
    """AP with 10 labelled boards of the burn-in, of the baseline and of Soft Teacher, by seed."""
    return {arm: [score(arm, row, 'ap') for row in rows[BOARDS][arm] if row['seed'] in seeds] for arm in ('burn-in', *SEARCHED)}


def longer(burn_in: int, seeds: list[int], folder: Path, settings: dict) -> dict[str, list[float]]:
    """:func:`main_figures` of a burn-in of so many steps and half as many steps of each arm."""
    _write_splits(folder / 'splits', max(seeds) + 1)
    starts = [_burn_in(BOARDS, seed, folder, burn_in) for seed in seeds]
    train_all(starts, PROCESSES)
    trust = settings['trust'][BOARDS]
    trainings = {
        (arm, seed): _training(BOARDS, arm, settings['rates'][arm], seed, folder, burn_in // 2, trust, burn_in)
        for seed in seeds
        for arm in SEARCHED
    }
    train_all(trainings.values(), PROCESSES)
    rows = {'burn-in': [_row(start, seed) for start, seed in zip(starts, seeds, strict=True)]}
    rows |= {arm: [_row(trainings[arm, seed], seed) for seed in seeds] for arm in SEARCHED}
    return main_figures({BOARDS: rows}, seeds)


def _write_splits(folder: Path, folds: int) -> None:
    """Labelled and unlabelled images of every fold, and the boards that choose the rates."""
    manifest = folder / 'bccd' / 'manifest.json'
    if manifest.exists() and f'images.{folds}@' in manifest.read_text(encoding='utf-8'):
        return
    boards = read_coco(data_folder('deeppcb') / 'annotations' / 'instances_train.json')
    ids = np.random.default_rng(0).permutation([image['id'] for image in boards['images']]).tolist()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'validation.json').write_text(json.dumps(subset(boards, set(ids[:VALIDATION]))))
    rest = subset(boards, set(ids[VALIDATION:]))
    write_splits(rest, 'images', folder / 'deeppcb', Plan(counts=(LABELLED[BOARDS], LABELLED[FEW_MORE]), folds=folds))
    cells = read_coco(data_folder('bccd') / 'annotations' / 'instances_trainval.json')
    write_splits(cells, 'images', folder / 'bccd', Plan(counts=(LABELLED[CELLS],), folds=folds))


def _search(folder: Path, seed: int) -> dict[str, float]:
    """The rate of each arm whose short training from a burn-in with other labelled boards is best on the validation boards."""

    def search() -> dict[str, dict[str, float]]:
        burn_in = _burn_in(BOARDS, seed, folder)
        train_all([burn_in], 1)
        trainings = {}
        for arm in SEARCHED:
            for rate in RATES:
                trainings[arm, rate] = _on_validation(_training(BOARDS, arm, rate, seed, folder, SEARCH_STEPS), folder)
        train_all(trainings.values(), PROCESSES)
        return {arm: {f'{rate:g}': score(arm, _row(trainings[arm, rate], seed), 'ap') for rate in RATES} for arm in SEARCHED}

    found = kept(folder / 'search.json', search)
    best = {arm: float(max(figures, key=figures.get)) for arm, figures in found.items()}
    return dict.fromkeys(ARMS, best[OURS]) | best


def _search_trust(rate: float, folder: Path, seed: int) -> dict[str, str]:
    """For each number of labelled boards the pseudo boxes whose short training is best on the validation boards."""

    def search() -> dict[str, dict[str, float]]:
        train_all([_burn_in(data, seed, folder) for data in (BOARDS, FEW_MORE)], PROCESSES)
        trainings = {
            (data, name): _on_validation(_training(data, OURS, rate, seed, folder, SEARCH_STEPS, name), folder)
            for data in (BOARDS, FEW_MORE)
            for name in TRUST
        }
        train_all(trainings.values(), PROCESSES)
        scores: dict[str, dict[str, float]] = {}
        for (data, name), training in trainings.items():
            scores.setdefault(data, {})[name] = score(OURS, _row(training, seed), 'ap')
        return scores

    return {data: max(found, key=found.get) for data, found in kept(folder / 'trust.json', search).items()}


def _on_validation(training: Training, folder: Path) -> Training:
    for part in (training.config.val_dataloader.dataset, training.config.val_evaluator):
        part.ann_file = str(folder / 'splits' / 'validation.json')
    return training


def _burn_in(data: str, seed: int, folder: Path, steps: int = BURN_IN_STEPS) -> Training:
    cfg = _config(BURN_IN, data, seed, folder)
    cfg.train_cfg.update(max_iters=steps, val_interval=steps)
    length = '' if steps == BURN_IN_STEPS else f'_{steps}i'
    return Training(cfg, folder / f'{_slug(data)}_burn-in{length}_seed{seed}', seed)


def _training(
    data: str,
    arm: str,
    rate: float,
    seed: int,
    folder: Path,
    steps: int = STEPS,
    trust: str = next(iter(TRUST)),
    burn_in: int = BURN_IN_STEPS,
) -> Training:
    config, changes = ARMS[arm]
    cfg = _config(config, data, seed, folder)
    number = list(TRUST).index(trust)
    if arm != BASELINE:
        trusted = dict(zip(TRUST_KEYS, TRUST[trust], strict=True))
        cfg.model.semi_train_cfg.update(trusted | dict(rpn_pseudo_thr=trusted['cls_pseudo_thr']) | changes)
    cfg.optim_wrapper.optimizer.lr = rate
    cfg.train_cfg.update(max_iters=steps, val_interval=steps)
    cfg.param_scheduler[1].milestones = [round(steps * 650 / 800)]
    cfg.load_from = str(_burn_in(data, seed, folder, burn_in).work_dir / f'iter_{burn_in}.pth')
    trusts = f'_trust{number}' if number and arm != BASELINE else ''
    return Training(cfg, folder / f'{_slug(data)}_{_slug(arm)}_{rate:g}{trusts}_{steps}i_seed{seed}', seed)


def _config(name: str, data: str, seed: int, folder: Path) -> Config:
    """A config of the boards with the labelled images of a seed, on the data that are asked for."""
    cfg, source = load_config(CONFIGS / f'{name}.py'), 'deeppcb'
    if data == CELLS:
        _to_cells(cfg)
        source = 'bccd'
    at_data(cfg, {source: data_folder(source)})
    stem = folder / 'splits' / source / f'images.{seed + 1}@{LABELLED[data]}img'
    parts = cfg.train_dataloader.dataset.get('datasets', [cfg.train_dataloader.dataset])
    for part, suffix in zip(parts, ('', '-unlabeled'), strict=False):
        part.ann_file = f'{stem}{suffix}.json'
    if len(parts) > 1:
        parts[1].hidden = True  # for the log alone: how many pseudo boxes are right
    return cfg


def _to_cells(cfg: Config) -> None:
    """Set data and classes to those of the blood cells' config."""
    cells = load_config(CONFIGS / 'soft-teacher_r18-gn_1xb4-800i_bccd-15img.py')
    labelled = 'datasets' not in cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = cells.labelled if labelled else cells.train_dataloader.dataset
    cfg.model.detector = cells.model.detector
    for key in ('val_dataloader', 'test_dataloader', 'val_evaluator', 'test_evaluator'):
        cfg[key] = cells[key]


def _row(training: Training, seed: int) -> dict:
    return dict(seed=seed, **figures(training.work_dir))


def _slug(name: str) -> str:
    return name.replace(',', '').replace(' ', '-').lower()


def _verdicts(rows: dict) -> dict:
    def values(data: str, arm: str) -> np.ndarray:
        return np.array([score(arm, row, 'ap') for row in rows[data][arm]])

    pairs = [(data, arm) for data, arms in ARMS_OF.items() for arm in arms if arm != OURS]
    gaps = {f'{data}: {OURS} - {arm}': over_seeds(values(data, OURS) - values(data, arm)) for data, arm in pairs}
    main, more, cells = (gaps[f'{data}: {OURS} - {BASELINE}'] for data in (BOARDS, FEW_MORE, CELLS))
    every, tie = 'above 0 in every seed', THRESHOLDS['cells']
    statements = [
        _statement(
            f'{BOARDS}: {OURS} above supervised', f'{THRESHOLDS["gain"]:g} or more on average, {every}', main, _gains(main)
        ),
        _statement(f'{FEW_MORE}: {OURS} above supervised', every, more, min(more['values']) > 0),
        _statement(f'{CELLS}: a tie', f'at most {tie:g} apart on average', cells, abs(cells['mean']) <= tie),
    ]
    for arm, what in (
        ('without soft weights', 'soft background weights help'),
        ('without jitter filter', 'the jitter filter helps'),
    ):
        gap = gaps[f'{BOARDS}: {OURS} - {arm}']
        statements.append(_statement(what, every, gap, min(gap['values']) > 0))
    return dict(thresholds=THRESHOLDS, gaps=gaps, statements=statements)


def _statement(statement: str, threshold: str, gap: dict, holds: bool) -> dict:
    return dict(statement=statement, threshold=threshold, seen=seen(gap), holds=bool(holds))


def _gains(gap: dict) -> bool:
    return gap['mean'] >= THRESHOLDS['gain'] and min(gap['values']) > 0


def table(result: dict) -> str:
    """The result as the Markdown tables of the paper's page."""
    lines = ['| data | arm | AP that counts | AP50 | pseudo boxes that are right |', '|---|---|---|---|---|']
    for data, arms in result['rows'].items():
        for arm, runs in arms.items():
            cells = [cell([score(arm, row, key) for row in runs]) for key in ('ap', 'ap50')]
            precision = [100 * row['precision_cls'] for row in runs if 'precision_cls' in row]
            lines.append(f'| {data} | {arm} | {cells[0]} | {cells[1]} | {cell(precision) if precision else ""} |')
    return '\n'.join(
        lines + gap_lines(result['verdicts']['gaps'], 'difference of AP') + statement_lines(result['verdicts']['statements'])
    )


def draw(result: dict, file: Path) -> None:
    """AP of the arms on the three sets, a dot for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout='constrained')
    axes = figure.subplots(1, len(result['rows']), width_ratios=[len(arms) for arms in result['rows'].values()])
    for axis, (data, arms) in zip(axes, result['rows'].items(), strict=True):
        for place, (arm, runs) in enumerate(arms.items()):
            values = [score(arm, row, 'ap') for row in runs]
            axis.bar(place, np.mean(values), width=0.6, color='C0' if arm == OURS else '0.7')
            axis.scatter([place] * len(values), values, color='black', s=14, zorder=2)
            axis.annotate(f'{np.mean(values):.1f}', (place, max(values)), (0, 4), textcoords='offset points', ha='center')
        axis.set_xticks(range(len(arms)), [arm.replace(' ', '\n', 1) for arm in arms], fontsize=8)
        axis.set(title=data)
        axis.margins(y=0.15)
        axis.spines[['top', 'right']].set_visible(False)
    axes[0].set_ylabel('AP on test images (%)')
    figure.savefig(file, dpi=110)


def publish(result: dict) -> None:
    """The tables and the figure of the page."""
    draw(result, ROOT / 'docs' / 'soft_teacher_deeppcb.png')
    replace_part(CONFIGS / 'README.md', 'measured on DeepPCB', table(result))
