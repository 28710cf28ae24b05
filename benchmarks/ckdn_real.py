"""CKDN on real photographs: does the degraded image tell which detail of a restored one is true?

Patches of BSDS500 with six versions of equal look (openmsra/ckdn/data/versions.py): all are equally sharp, and they differ in how
much of their detail belongs to the scene. The label is the mean rank by four formulas; nobody looked at them. Photographs of
training, validation and test are the official parts. The arms of a seed are trained side by side on the same batches with
parameters of their own. The rate of each arm and the weight of the alignment are chosen on the validation photographs.

Stated before the runs; SRCC x 100 within a scene, means over the test scenes:

* the instrument: the full reference reaches 85, and a predictor that knows the number of a version and no image stays within 10
  of 0; else nothing is compared;
* DR - no reference >= 20 in every seed, bootstrap over photographs above 0;
* DR - the full-reference network given the degraded image >= 20;
* the condition helps: DR + pristine score - DR, interval over photographs above 0;
* the alignment helps: CKDN - (DR + pristine score), interval over photographs above 0.

Then with few labels: the versions of a tenth of the training scenes have labels, and every scene gives a pair of a degraded and a
pristine patch, which the alignment takes without a score. Rates and weight are chosen as above.

* the alignment helps where labels are few: CKDN - (DR + pristine score), interval over photographs above 0;
* and pays for the condition: CKDN - DR, interval over photographs above 0.
"""

import json
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from torch import nn

import openmsra.ckdn  # noqa: F401 - registers the parts
from benchmarks.precision import fast_precision, in_precision
from benchmarks.real_data import (
    ROOT,
    cell,
    data_folder,
    gap_lines,
    over_seeds,
    replace_part,
    search_lines,
    seen,
    statement_lines,
    train_only,
)
from benchmarks.side_by_side import SideBySide, arm_key, load_arm, rates_apart
from benchmarks.training import Training, by_arm_and_rate, kept, kept_array, side_by_side, train_all
from openmsra.apis import init_model
from openmsra.ckdn.data.versions import write_scenes
from openmsra.ckdn.metrics import correlations, version_oracle
from openmsra.ckdn.report.compare import paired_bootstrap
from openmsra.engine.config.files import load_config
from openmsra.registry import DATASETS, MODELS

CONFIGS = ROOT / 'configs' / 'ckdn'
ARMS: dict[str, dict] = {  # changes of the model of the real config
    'no reference': dict(reference='none'),
    'DR': dict(distil=False),
    'DR + pristine score': dict(loss=dict(kd_weight=0.0, kd_power=1)),
    'CKDN, 0.03': dict(loss=dict(kd_weight=0.03, kd_power=1)),
    'CKDN, 0.1': dict(loss=dict(kd_weight=0.1, kd_power=1)),
    'CKDN, 0.3': dict(loss=dict(kd_weight=0.3, kd_power=1)),
    'full reference': dict(reference='pristine'),
}
CKDN_ARMS = tuple(arm for arm in ARMS if arm.startswith('CKDN'))
MAIN_ARMS = ('no reference', 'DR', 'CKDN, 0.1')
FEW_ARMS = ('DR', 'DR + pristine score', *CKDN_ARMS)
FEW = dict(labelled=0.1, extra_pairs=True)  # of the training set
SWAPPED, ORACLE = 'full reference given D', 'version oracle (sees no image)'
RATES = (2.5e-4, 5e-4, 1e-3, 2e-3)
STEPS, BATCH = 600, 64  # the search is as long as the runs: after 150 steps the order of rates was chance
SEARCH_SEED, PROCESSES, PRECISION = 100, 2, fast_precision()
THRESHOLDS = dict(full_reference=85.0, oracle=10.0, dr_over_nr=20.0, dr_over_swapped=20.0)
LONGER = dict(lengths=(600, 1200), unit='steps', figure='SRCC x 100 within a scene', pair=('DR', 'no reference'), gain=20.0)


@MODELS.register_module()
class ScoresSideBySide(SideBySide):
    """CKDN networks on the same batches, trained to score."""

    def __init__(self, arms: dict[str, dict], seed: int) -> None:
        super().__init__(arms, seed, dict(type='PairDataPreprocessor'))
        for arm in self.arms.values():
            arm.stage = 'score'
        self.to(memory_format=torch.channels_last)

    def losses(self, name: str, arm: nn.Module, inputs: dict, data_samples: list) -> dict[str, torch.Tensor]:
        inputs = {role: image.to(memory_format=torch.channels_last) for role, image in inputs.items()}
        terms = arm.loss(inputs, data_samples)
        return dict(loss=sum(value for key, value in terms.items() if key.startswith('loss')))


def run(seeds: list[int], folder: Path) -> dict:
    """All runs; finished ones are read from ``folder``. SRCC x 100 by arm and seed."""
    scenes = _scenes(folder)
    few_folder = folder / 'few_labels'
    searches = [(folder, {}), (few_folder, FEW)]
    left = [(place, data) for place, data in searches if not (place / 'search.json').exists()]
    train_all([_search_training(rate, place, scenes, data) for (place, data), rate in product(left, RATES)], PROCESSES)
    found, few_found = (_searched(place, scenes, data) for place, data in searches)
    rates, few_rates = (best_rates(place) for place, _ in searches)
    jobs = [(rates, ARMS, folder, {}), (few_rates, FEW_ARMS, few_folder, FEW)]
    trainings = [
        _training({arm: [values[arm]] for arm in arms}, run_folder_of(seed, place), seed, scenes, data)
        for values, arms, place, data in jobs
        for seed in seeds
    ]
    train_all(trainings, PROCESSES)
    parts, few = (_judged(values, arms, seeds, place, scenes) for values, arms, place, _ in jobs)
    for part in ('val', 'test'):
        arm = 'full reference'
        parts[part][SWAPPED] = [_srcc(arm, rates[arm], run_folder_of(seed, folder), scenes, part, True) for seed in seeds]
    best, few_best = (max(CKDN_ARMS, key=lambda arm: np.mean(figures['val'][arm])) for figures in (parts, few))
    oracle = _oracle(scenes)
    settings = dict(seeds=seeds, steps=STEPS, batch=BATCH, rates=rates, few_rates=few_rates)
    settings |= dict(search=dict(rates=RATES, found=found, few_found=few_found))
    settings |= dict(precision=f'{PRECISION}, channels last', scenes=len(oracle))
    settings |= dict(chosen_on_validation=best, few_chosen_on_validation=few_best)
    rows, few_rows = _means(parts), _means(few)
    rows['test'][ORACLE] = [100 * float(oracle.mean())]
    verdicts = _verdicts(rows['test'], parts['test'], best, _photographs(scenes))
    _add_few(verdicts, few_rows['test'], few['test'], few_best, _photographs(scenes))
    return dict(settings=settings, rows=rows, few_rows=few_rows, verdicts=verdicts)


def main_figures(rows: dict, seeds: list[int]) -> dict[str, list[float]]:
    """SRCC x 100 on the test photographs of the main arms, by seed."""
    return {arm: rows['test'][arm][: len(seeds)] for arm in MAIN_ARMS}


def longer(steps: int, seeds: list[int], folder: Path, settings: dict) -> dict[str, list[float]]:
    """:func:`main_figures` of trainings of so many steps."""
    scenes, rates = _scenes(folder), settings['rates']
    chosen = {arm: [rates[arm]] for arm in MAIN_ARMS}
    trainings = [_training(chosen, run_folder_of(seed, folder, steps), seed, scenes, {}, steps) for seed in seeds]
    train_all(trainings, PROCESSES)
    srcc = {arm: [_srcc(arm, rates[arm], training.work_dir, scenes, 'test') for training in trainings] for arm in MAIN_ARMS}
    return main_figures(_means(dict(test=srcc)), seeds)


def _scenes(folder: Path) -> Path:
    """The patches and their versions, drawn once."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = folder / 'versions.npz'
    if not scenes.exists():
        write_scenes(data_folder('bsds500') / 'images', scenes, dict(train=8, val=1, test=1))
    return scenes


def _judged(
    rates: dict[str, float], arms: Iterable[str], seeds: list[int], folder: Path, scenes: Path
) -> dict[str, dict[str, list[np.ndarray]]]:
    """SRCC of every scene by part, arm and seed."""

    def srcc(part: str, arm: str, seed: int) -> np.ndarray:
        return _srcc(arm, rates[arm], run_folder_of(seed, folder), scenes, part)

    parts: dict[str, dict[str, list[np.ndarray]]] = {part: {arm: [] for arm in arms} for part in ('val', 'test')}
    jobs = list(product(parts, arms, seeds))
    for (part, arm, _), values in zip(jobs, side_by_side(srcc, *zip(*jobs, strict=True), processes=PROCESSES), strict=True):
        parts[part][arm].append(values)
    return parts


def _means(parts: dict[str, dict[str, list[np.ndarray]]]) -> dict[str, dict[str, list[float]]]:
    return {part: {arm: [100 * float(x.mean()) for x in seeds] for arm, seeds in arms.items()} for part, arms in parts.items()}


def _model(arm: str) -> dict:
    cfg = load_config(CONFIGS / 'ckdn_r18-s1_1xb64-1500i_bsds500.py')
    return dict(cfg.model.to_dict(), **ARMS[arm])


def run_folder_of(seed: int, folder: Path, steps: int = STEPS) -> Path:
    """Where the arms of a seed are trained."""
    return folder / f'{steps}i_seed{seed}'


def _training(
    rates: dict[str, list[float]], run_folder: Path, seed: int, scenes: Path, data: dict, steps: int = STEPS
) -> Training:
    """A training of arms side by side, at one or several rates each; ``data`` changes the training set."""
    cfg = load_config(CONFIGS / 'ckdn_r18-s1_1xb64-1500i_bsds500.py')
    cfg.train_dataloader.dataset.update(ann_file=str(scenes), **data)
    cfg.train_dataloader.batch_size = BATCH
    to_side_by_side(cfg, rates, _model, steps, seed)
    return Training(cfg, run_folder, seed)


def to_side_by_side(cfg: Config, rates: dict[str, list[float]], model: Callable[[str], dict], steps: int, seed: int) -> None:
    """Set a config to train the ``model`` of every arm at each of its rates, in the fast precision."""
    chosen = {arm_key(arm, rate): (arm, rate) for arm, values in rates.items() for rate in values}
    cfg.model = dict(type='ScoresSideBySide', arms={key: model(arm) for key, (arm, _) in chosen.items()}, seed=seed)
    optimizer = rates_apart({key: rate for key, (_, rate) in chosen.items()}, dict(type='AdamW', weight_decay=1e-4))
    cfg.optim_wrapper = in_precision(optimizer, PRECISION)
    train_only(cfg, steps, start_factor=0.04)
    cfg.custom_imports.imports.append('benchmarks.ckdn_real')


def _arms(data: dict) -> Iterable[str]:
    return FEW_ARMS if data else ARMS


def _search_folder(rate: float, folder: Path) -> Path:
    return folder / f'search_{rate:g}'


def _search_training(rate: float, folder: Path, scenes: Path, data: dict) -> Training:
    """Every arm at one rate, with another seed."""
    arms = {arm: [rate] for arm in _arms(data)}
    return _training(arms, _search_folder(rate, folder), SEARCH_SEED, scenes, data)


def _searched(folder: Path, scenes: Path, data: dict) -> dict[str, dict[str, float]]:
    """SRCC x 100 on the validation scenes of every arm at every rate, trained with another seed."""

    def judge(arm: str, rate: float) -> float:
        return 100 * float(_srcc(arm, rate, _search_folder(rate, folder), scenes, 'val').mean())

    return kept(folder / 'search.json', lambda: by_arm_and_rate(judge, _arms(data), RATES, PROCESSES))


def best_rates(folder: Path) -> dict[str, float]:
    """The rate of each arm that the search in ``folder`` found."""
    figures = json.loads((folder / 'search.json').read_text())
    return {arm: float(max(rows, key=rows.get)) for arm, rows in figures.items()}


def _srcc(arm: str, rate: float, run_folder: Path, scenes: Path, part: str, swapped: bool = False) -> np.ndarray:
    """SRCC in every scene (S,) of a part, 0 where an arm scores all versions alike."""
    key = arm_key(arm, rate)
    file = run_folder / f'{key}_{part}{"_swapped" if swapped else ""}.npy'
    return kept_array(file, lambda: _srcc_of(arm, run_folder, key, scenes, part, swapped))


@torch.inference_mode()
def _srcc_of(arm: str, run_folder: Path, key: str, scenes: Path, part: str, swapped: bool) -> np.ndarray:
    cfg = load_config(CONFIGS / 'ckdn_r18-s1_1xb64-1500i_bsds500.py')
    cfg.model = _model(arm)
    model = load_arm(init_model(cfg), run_folder, key)
    with DefaultScope.overwrite_default_scope('openmsra'):
        dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, ann_file=str(scenes), split=part))
    groups: dict[str, list[tuple[float, float]]] = {}
    for start in range(0, len(dataset), 96):
        batch = pseudo_collate([dataset[i] for i in range(start, min(start + 96, len(dataset)))])
        if swapped:
            batch['inputs']['pristine'] = batch['inputs']['degraded']
        for sample in model.test_step(batch):
            groups.setdefault(sample.scene, []).append((sample.pred_score, sample.gt_score))
    figures = [correlations(*np.array(group).T) for group in groups.values()]
    return np.array([figure['SRCC'] if figure else 0.0 for figure in figures])


def _rows(scenes: Path) -> list[dict]:
    dataset = DATASETS.build(dict(type='PhotoVersions', ann_file=str(scenes), split='test', pipeline=[]))
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def _photographs(scenes: Path) -> np.ndarray:
    """The photograph of every test scene."""
    names = dict.fromkeys(row['scene'] for row in _rows(scenes))
    return np.array([name.rpartition('-')[0] for name in names])


def _oracle(scenes: Path) -> np.ndarray:
    rows = [dict(scene=row['scene'], version=row['version'], target=row['gt_score']) for row in _rows(scenes)]
    groups: dict[str, list[tuple[float, float]]] = {}
    for row, score in zip(rows, version_oracle(rows), strict=True):
        groups.setdefault(row['scene'], []).append((score, row['target']))
    return np.array([(correlations(*np.array(group).T) or dict(SRCC=0.0))['SRCC'] for group in groups.values()])


def _verdicts(rows: dict, srcc: dict[str, list[np.ndarray]], best: str, photographs: np.ndarray) -> dict:
    pairs = {
        'DR - no reference': ('DR', 'no reference'),
        f'DR - {SWAPPED}': ('DR', SWAPPED),
        'full reference - DR': ('full reference', 'DR'),
        'DR + pristine score - DR': ('DR + pristine score', 'DR'),
        f'CKDN ({best}) - DR + pristine score': (best, 'DR + pristine score'),
    }
    gaps = {name: _gap(rows, srcc, first, second, photographs) for name, (first, second) in pairs.items()}
    reference, oracle = float(np.mean(rows['full reference'])), rows[ORACLE][0]
    main, swapped = gaps['DR - no reference'], gaps[f'DR - {SWAPPED}']
    condition, alignment = gaps['DR + pristine score - DR'], gaps[f'CKDN ({best}) - DR + pristine score']
    measures = reference >= THRESHOLDS['full_reference'] and abs(oracle) <= THRESHOLDS['oracle']
    statements = [
        dict(
            statement='the instrument measures: full reference, and the version oracle',
            threshold='85 or more, within 10 of 0',
            seen=f'{reference:.1f}, {oracle:+.1f}',
            holds=measures,
        ),
        dict(
            statement='the degraded reference tells true detail: DR above no reference',
            threshold='20 or more in every seed',
            seen=seen(main),
            holds=min(main['values']) >= THRESHOLDS['dr_over_nr'] and main['photographs_interval'][0] > 0,
        ),
        dict(
            statement='DR above the full-reference network given the degraded image',
            threshold='20 or more on average',
            seen=seen(swapped),
            holds=swapped['mean'] >= THRESHOLDS['dr_over_swapped'],
        ),
        dict(
            statement='the condition helps: DR + pristine score above DR',
            threshold='interval over photographs above 0',
            seen=seen(condition),
            holds=condition['photographs_interval'][0] > 0,
        ),
        dict(
            statement='the alignment helps: CKDN above DR + pristine score',
            threshold='interval over photographs above 0',
            seen=seen(alignment),
            holds=alignment['photographs_interval'][0] > 0,
        ),
    ]
    return dict(
        thresholds=THRESHOLDS, gaps=gaps, statements=[dict(row, holds=bool(row['holds'] and measures)) for row in statements]
    )


def _gap(rows: dict, srcc: dict[str, list[np.ndarray]], first: str, second: str, photographs: np.ndarray) -> dict:
    """The difference of two arms over seeds, and its interval over photographs."""
    by_scene = [100 * np.mean(srcc[arm], axis=0) for arm in (first, second)]
    names = np.unique(photographs)
    by_photograph = [np.array([values[photographs == photo].mean() for photo in names]) for values in by_scene]
    bootstrap = paired_bootstrap(*by_photograph)
    gap = over_seeds(np.array(rows[first]) - np.array(rows[second]))
    return dict(gap, photographs_interval=[bootstrap['low'], bootstrap['high']])


def _add_few(verdicts: dict, rows: dict, srcc: dict[str, list[np.ndarray]], best: str, photographs: np.ndarray) -> None:
    """Add what few labels say; it counts where the instrument measures."""
    for second, statement in (
        ('DR + pristine score', 'the alignment helps where labels are few: CKDN above DR + pristine score'),
        ('DR', 'and pays for the condition: CKDN above DR, few labels'),
    ):
        gap = _gap(rows, srcc, best, second, photographs)
        verdicts['gaps'][f'few labels: CKDN ({best}) - {second}'] = gap
        holds = bool(gap['photographs_interval'][0] > 0 and verdicts['statements'][0]['holds'])
        threshold = 'interval over photographs above 0'
        verdicts['statements'].append(dict(statement=statement, threshold=threshold, seen=seen(gap), holds=holds))


def table(result: dict) -> str:
    """The result as the Markdown tables of the paper's page."""
    rows = result['rows']
    lines = ['| SRCC x 100 within a scene | validation photographs | test photographs |', '|---|---|---|']
    for arm, values in sorted(rows['test'].items(), key=lambda row: np.mean(row[1])):
        lines.append(f'| {arm} | {cell(rows["val"][arm]) if arm in rows["val"] else ""} | {cell(values)} |')
    lines += [
        '',
        '| labels on a tenth of the scenes, pairs on all | validation photographs | test photographs |',
        '|---|---|---|',
    ]
    few = result['few_rows']
    for arm, values in sorted(few['test'].items(), key=lambda row: np.mean(row[1])):
        lines.append(f'| {arm} | {cell(few["val"][arm])} | {cell(values)} |')
    search, verdicts = result['settings']['search'], result['verdicts']
    lines += search_lines(search['found'], 'SRCC x 100 on the validation photographs')
    lines += search_lines(search['few_found'], 'the same, labels on a tenth of the scenes')
    lines += gap_lines(verdicts['gaps'], 'difference, test photographs', dict(photographs_interval='photographs'))
    return '\n'.join(lines + statement_lines(verdicts['statements']))


def draw(result: dict, file: Path) -> None:
    """SRCC of every arm on the test photographs, a dot for each seed."""
    from matplotlib.figure import Figure

    rows = {arm: values for arm, values in result['rows']['test'].items() if arm != ORACLE}
    arms = sorted(rows, key=lambda arm: np.mean(rows[arm]))
    figure = Figure(figsize=(8, 3.6), layout='constrained')
    axis = figure.subplots()
    for place, arm in enumerate(arms):
        axis.barh(place, np.mean(rows[arm]), height=0.6, color='0.65' if arm.startswith(('full', 'no')) else 'C0')
        axis.scatter(rows[arm], [place] * len(rows[arm]), color='black', s=16, zorder=3)
        axis.annotate(f'{np.mean(rows[arm]):.1f}', (max(*rows[arm], 0) + 1, place), va='center')
    axis.axvline(0, color='black', linewidth=0.8)
    axis.set_yticks(range(len(arms)), arms)
    axis.set_xlabel('rank correlation within a scene x 100, unseen photographs of BSDS500')
    axis.spines[['top', 'right']].set_visible(False)
    figure.savefig(file, dpi=110)


def publish(result: dict) -> None:
    """The tables and the figure of the page."""
    draw(result, ROOT / 'docs' / 'ckdn_bsds500.png')
    replace_part(CONFIGS / 'README.md', 'measured on BSDS500', table(result))
