"""MaskCo on real scenes: does contrastive mask prediction learn more than MoCo v2 where views of a picture show several things?

Street scenes of CamVid, with CIFAR-10 (one object a picture) as the control. The arms of a seed see the same batches and have
parameters of their own; those of one rate are trained side by side. Frozen features are probed on cells of frames from other
sequences. The rate of each arm is searched before, by trainings as long with another seed, whose probe is tested on the
validation sequence.

Stated before the runs, in points of mean class accuracy on cells of the official test frames, means over the seeds:

* every arm is trained: at least 3 above random weights;
* MaskCo (J = 0) - MoCo v2 >= 3, and above 0 in every seed;
* CIFAR-10: MaskCo within 1 point of MoCo v2 in 5-NN accuracy;
* the head helps: MaskCo - without its head > 0 with the 95 % interval over seeds above 0, both at J = 0;
* the gain is region matching, not mask prediction: region contrast (J = 0) is at least as good as MaskCo (J = 0).

Stated after longer trainings were looked at so, and before any training of this experiment was:

* where classes weigh alike in the probe: MaskCo (J = 0) - MoCo v2 >= 3, and above 0 in every seed.
"""

from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import default_collate
from mmengine.registry import DefaultScope
from torch import nn

import openmsra.maskco  # noqa: F401 - registers the parts
from benchmarks.precision import fast_autocast, fast_precision, in_precision
from benchmarks.real_data import (
    ROOT,
    at_data,
    cell,
    cifar10_folder,
    data_folder,
    gap_lines,
    over_items,
    over_seeds,
    replace_part,
    search_lines,
    seen,
    statement_lines,
    train_only,
)
from benchmarks.side_by_side import SideBySide, arm_key, load_arm
from benchmarks.training import Training, by_arm_and_rate, kept, seeded_model, side_by_side, train_all
from openmsra.common.probes import neighbour_classifier
from openmsra.engine.config.files import load_config
from openmsra.maskco.evaluation.cell_probe import CellProbe, figures_of
from openmsra.registry import DATASETS, METRICS, MODELS, TRANSFORMS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONFIGS = ROOT / 'configs' / 'maskco'
ARMS = {  # name -> config, negatives of the same image
    'MoCo v2': ('mocov2', 0),
    'MaskCo, J = 4': ('maskco', 4),
    'MaskCo, J = 0': ('maskco', 0),
    'MaskCo without its head, J = 0': ('maskco-nomph', 0),
    'region contrast, J = 0': ('regionco', 0),
}
CONTROL_ARMS = ('MoCo v2', 'MaskCo, J = 0')
MAIN_ARMS = (*CONTROL_ARMS, 'region contrast, J = 0')
RANDOM, COLOURS, CEILING = 'random weights', '5-NN on colours of a cell', 'supervised, same network'
RATES = (1e-3, 2e-3, 4e-3, 8e-3, 16e-3, 32e-3)
STEPS, BATCH = 1000, 64  # the search is as long as the runs: short ones prefer high rates
SEARCH_SEED, PROCESSES, PRECISION = 100, 2, fast_precision()
THRESHOLDS = dict(trained_over_random=3.0, maskco_over_moco=3.0, control=1.0)
LONGER = dict(
    lengths=(1000, 2000),
    unit='steps',
    figure='mean class accuracy of the probe (%)',
    pair=CONTROL_ARMS[::-1],
    gain=3.0,
    second_look='the same, classes weighing alike in the fit',
)
BLOCK = 10  # neighbouring test frames that are drawn together
EVERY = 3  # so many training frames are one that the probe is fitted on: neighbours are alike
_reading = Lock()  # of the threads that probe: the first one reads what they share


@MODELS.register_module()
class RegionsSideBySide(SideBySide):
    """MaskCo and its baselines on the same views.

    Args:
        negatives: regions of the same image that an arm uses, by its key.
    """

    def __init__(self, arms: dict[str, dict], negatives: dict[str, int], seed: int, data_preprocessor: dict) -> None:
        super().__init__(arms, seed, data_preprocessor)
        self.negatives = negatives
        self.to(memory_format=torch.channels_last)

    def losses(self, name: str, arm: nn.Module, inputs: list[torch.Tensor], regions: dict) -> dict[str, torch.Tensor]:
        count = self.negatives[name]
        few = {key: regions[key][:, :count] for key in ('negatives', 'valid')}
        losses = arm.loss([view.to(memory_format=torch.channels_last) for view in inputs], {**regions, **few})
        return dict(loss=losses['loss'], choice=losses['choice_accuracy'])


def run(seeds: list[int], folder: Path, control: bool = True) -> dict:
    """All runs; finished ones are read from ``folder``. Figures in percent.

    Args:
        control: also train on CIFAR-10.
    """
    folder.mkdir(parents=True, exist_ok=True)
    searched = _search(folder)
    rates = {arm: float(max(figures, key=figures.get)) for arm, figures in searched.items()}
    rows: dict[str, dict[str, list]] = {'camvid': {}, 'cifar10': {}}
    confusions: dict[str, list[np.ndarray]] = {}
    runs = [(kind, _arms(kind), seed) for kind in (rows if control else ['camvid']) for seed in seeds]
    for kind, arm, row, tables in _rows(runs, rates, STEPS, folder):
        rows[kind].setdefault(arm, []).append(row)
        if tables is not None:
            confusions.setdefault(arm, []).append(tables)
    rows['camvid'][COLOURS] = [_cached(folder / 'colours', _colour_floor)[0]]
    rows['camvid'][CEILING] = [_cached(folder / f'supervised_{STEPS}i', partial(_supervised, 0))[0]]
    settings = dict(
        seeds=seeds,
        steps=STEPS,
        batch=BATCH,
        rates=rates,
        search=dict(rates=RATES, judged='mean class accuracy on the validation sequence', found=searched),
        precision=f'{PRECISION}, channels last',
    )
    return dict(settings=settings, rows=rows, views=_views(folder), verdicts=_verdicts(rows, confusions))


def main_figures(rows: dict, seeds: list[int]) -> dict[str, list[float]]:
    """Mean class accuracy of the probe on CamVid of the main arms, by seed."""
    return {arm: [row['mean_class_accuracy'] for row in rows['camvid'][arm] if row['seed'] in seeds] for arm in MAIN_ARMS}


def longer(steps: int, seeds: list[int], folder: Path, settings: dict) -> dict[str, list[float]]:
    """:func:`main_figures` of trainings of so many steps."""
    rows = _longer_rows(steps, seeds, folder, settings)
    return {arm: [row['mean_class_accuracy'] for row in rows[arm]] for arm in MAIN_ARMS}


def second_look(steps: int, seeds: list[int], folder: Path, settings: dict) -> dict[str, list[float]]:
    """:func:`longer`, with a probe in which classes weigh alike, however many cells they have; and random weights."""
    rows = _longer_rows(steps, seeds, folder, settings)
    return {arm: [row['balanced'] for row in rows[arm]] for arm in (RANDOM, *MAIN_ARMS)}


def _longer_rows(steps: int, seeds: list[int], folder: Path, settings: dict) -> dict[str, list[dict]]:
    """The rows of each arm, by seed."""
    rows: dict[str, list[dict]] = {}
    for _, arm, row, _ in _rows([('camvid', MAIN_ARMS, seed) for seed in seeds], settings['rates'], steps, folder):
        rows.setdefault(arm, []).append(row)
    return rows


def _rows(
    runs: list[tuple[str, tuple[str, ...], int]], rates: dict[str, float], steps: int, folder: Path
) -> list[tuple[str, str, dict, np.ndarray | None]]:
    """Data, arm, figures and tables of every arm of runs (data, arms, seed), and of random weights."""
    jobs, trainings = [], {}
    for kind, arms, seed in runs:
        jobs.append((kind, RANDOM, None, seed, folder))
        for rate in sorted({rates[arm] for arm in arms}):
            same = [arm for arm in arms if rates[arm] == rate]
            training = _training(kind, same, rate, steps, seed, folder)
            trainings[training.work_dir] = training
            jobs += [(kind, arm, rate, seed, training.work_dir) for arm in same]
    train_all(trainings.values(), PROCESSES)
    measured = side_by_side(_measured, *zip(*jobs, strict=True), processes=PROCESSES)
    return [(kind, arm, *found) for (kind, arm, *_), found in zip(jobs, measured, strict=True)]


def _arms(kind: str) -> tuple[str, ...]:
    return tuple(ARMS) if kind == 'camvid' else CONTROL_ARMS


def _config(kind: str, arm: str):
    name = ARMS[arm][0] if arm in ARMS else 'mocov2'
    return at_data(load_config(CONFIGS / f'{name}_r18-w16_1xb64-1000i_{kind}.py'), {kind: _folder(kind)})


def _folder(kind: str) -> Path:
    return cifar10_folder() if kind == 'cifar10' else data_folder(kind)


def _training(kind: str, arms: Iterable[str], rate: float, steps: int, seed: int, folder: Path) -> Training:
    """Arms side by side at one rate."""
    cfg, by_key = _config(kind, 'MaskCo, J = 0'), {_key(arm, rate): arm for arm in arms}
    cfg.train_dataloader.batch_size = BATCH
    for dataset in cfg.train_dataloader.dataset.get('datasets', [cfg.train_dataloader.dataset]):
        dataset.pipeline[0].num_negatives = 4
    models = {key: _config(kind, arm).model for key, arm in by_key.items()}
    negatives = {key: ARMS[arm][1] for key, arm in by_key.items()}
    preprocessor = cfg.pop('data_preprocessor')
    cfg.model = dict(type='RegionsSideBySide', arms=models, negatives=negatives, seed=seed, data_preprocessor=preprocessor)
    optimizer = dict(cfg.optim_wrapper.optimizer.to_dict(), lr=rate)
    cfg.optim_wrapper = in_precision(dict(optimizer=optimizer), PRECISION)
    train_only(cfg, steps, start_factor=0.05)
    cfg.custom_imports.imports.append('benchmarks.maskco_real')
    return Training(cfg, folder / f'rate_{rate:g}' / f'{kind}_{steps}i_seed{seed}', seed)


def _key(arm: str, rate: float) -> str:
    return arm_key(f'{ARMS[arm][0]} {ARMS[arm][1]}', rate)


def _search(folder: Path) -> dict[str, dict[str, float]]:
    """Mean class accuracy on the validation sequence of every arm at every rate, trained with another seed."""

    def search() -> dict[str, dict[str, dict]]:
        trainings = {rate: _training('camvid', ARMS, rate, STEPS, SEARCH_SEED, folder) for rate in RATES}
        train_all(trainings.values(), PROCESSES)
        return by_arm_and_rate(lambda arm, rate: _validated(arm, rate, trainings[rate].work_dir), ARMS, RATES, PROCESSES)

    found = kept(folder / 'search.json', search)
    return {arm: {rate: row['mean_class_accuracy'] for rate, row in rows.items()} for arm, rows in found.items()}


def _validated(arm: str, rate: float, run_folder: Path) -> dict[str, float]:
    """Figures of the probe on the validation sequence."""
    figures = figures_of(CellProbe().confusions(_cells(_loaded('camvid', arm, rate, run_folder), 'val')).sum(0))
    print(arm, rate, figures, flush=True)
    return figures


def _loaded(kind: str, arm: str, rate: float | None, run_folder: Path, seed: int = 0) -> nn.Module:
    """An arm with the weights of its run; with random weights without a rate."""
    model = seeded_model(_config(kind, arm), seed)
    if rate is not None:
        load_arm(model, run_folder, _key(arm, rate))
    return model.eval()


def _cached(stem: Path, measure: Callable[[], tuple[dict, np.ndarray | None]]) -> tuple[dict, np.ndarray | None]:
    """A row and its tables by test frame, from files where that was done before."""
    tables = stem.with_suffix('.npy')

    def row() -> dict:
        figures, table = measure()
        if table is not None:
            np.save(tables, table)
        return figures

    return kept(stem.with_suffix('.json'), row), np.load(tables) if tables.exists() else None


def _measured(kind: str, arm: str, rate: float | None, seed: int, run_folder: Path) -> tuple[dict, np.ndarray | None]:
    """The figures of an arm's run, or of random weights where it has no rate; and its tables by test frame."""

    def measure() -> tuple[dict, np.ndarray | None]:
        model = _loaded(kind, arm, rate, run_folder, seed)
        row, tables = (_image_probe(model), None) if kind == 'cifar10' else _probed(model)
        print(f'{kind}, seed {seed}, {arm}: {row}', flush=True)
        return dict(seed=seed, **row), tables

    name = _key(arm, rate) if rate else f'random_{kind}_seed{seed}'
    return _cached(run_folder / f'{name}_probed', measure)


def _probed(model: nn.Module) -> tuple[dict, np.ndarray]:
    """Figures of the probe on CamVid's test frames and its tables by frame.

    ``balanced`` is the mean class accuracy of a second probe, in which classes weigh alike, however many cells they have.
    """
    cells = _cells(model, 'test')
    tables, alike = (CellProbe(balanced=balanced).confusions(cells) for balanced in (False, True))
    return dict(balanced=figures_of(alike.sum(0))['mean_class_accuracy'], **figures_of(tables.sum(0))), tables


@cache
def _frames(part: str) -> list[dict]:
    """The prepared frames of a part, read once."""
    with DefaultScope.overwrite_default_scope('openmsra'):
        dataset = DATASETS.build(_config('camvid', 'MoCo v2')[f'{part}_frames'])
    return [dataset[i] for i in range(0, len(dataset), EVERY if part == 'train' else 1)]


@torch.inference_mode()
def _cells(model: nn.Module, part: str) -> list[dict]:
    """Features and classes of the cells of the training frames and of a part, as CellProbe keeps them."""
    metric = CellProbe()
    with _reading:
        frames = [*_frames('train'), *_frames(part)]
    model.to(memory_format=torch.channels_last)
    for start in range(0, len(frames), 32):
        with fast_autocast('cpu'):
            metric.process({}, model.val_step(default_collate(frames[start : start + 32])))
    return metric.results


@cache
def _images() -> list[dict]:
    """The prepared images of the control's probe, read once."""
    with DefaultScope.overwrite_default_scope('openmsra'):
        dataset = DATASETS.build(_config('cifar10', 'MoCo v2').test_dataloader.dataset)
    return [dataset[i] for i in range(len(dataset))]


@torch.inference_mode()
def _image_probe(model: nn.Module) -> dict[str, float]:
    metric = METRICS.build(model.cfg.test_evaluator)
    with _reading:
        images = _images()
    for start in range(0, len(images), 100):
        metric.process({}, model.val_step(default_collate(images[start : start + 100])))
    return metric.compute_metrics(metric.results)


def _supervised(seed: int) -> tuple[dict, None]:
    """The ceiling: the same backbone trained on the labels of the cells of the training frames, then probed alike."""
    model = seeded_model(_config('camvid', 'MoCo v2'), seed).train()
    rows = _frames('train')
    classifier, rng = nn.Conv2d(64, 11, 1), np.random.default_rng(seed)
    parameters = [*model.backbone.parameters(), *classifier.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=STEPS)
    for _ in range(STEPS):
        batch = model.data_preprocessor(default_collate([rows[i] for i in rng.choice(len(rows), 8, replace=False)]), True)
        images, labels = batch['inputs'], batch['regions']['cell_labels']
        if rng.uniform() < 0.5:
            images, labels = images.flip(-1), labels.flip(-1)
        with fast_autocast('cpu'):
            logits = classifier(model.backbone(images.to(memory_format=torch.channels_last))[-1])
        loss = F.cross_entropy(logits.float(), labels, ignore_index=-1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return dict(seed=seed, **_probed(model.eval())[0]), None


def _colour_floor() -> tuple[dict, np.ndarray]:
    """5-NN on mean and deviation of the colours of a cell: what needs no network."""
    parts = []
    for rows in (_frames('train'), _frames('test')):
        cells = torch.stack([row['inputs'] for row in rows]).float().unfold(2, 8, 8).unfold(3, 8, 8).flatten(4)
        labels = torch.stack([row['regions']['cell_labels'] for row in rows])
        parts.append((torch.cat([cells.mean(-1), cells.std(-1)], 1).movedim(1, -1).numpy(), labels.numpy()))
    (bank, bank_labels), (rest, rest_labels) = parts
    known = bank_labels >= 0
    classifier = neighbour_classifier(5).set_params(metric='euclidean').fit(bank[known][::4], bank_labels[known][::4])
    tables = []
    for features, labels in zip(rest, rest_labels, strict=True):
        true, predicted = labels[labels >= 0], classifier.predict(features[labels >= 0])
        tables.append(np.bincount(true * 11 + predicted, minlength=121).reshape(11, 11))
    tables = np.stack(tables)
    return figures_of(tables.sum(0)), tables


def _views(folder: Path) -> dict[str, float]:
    """What the views show: share of pairs whose crops have no common majority class, of 1,000 pairs."""

    def measure() -> dict[str, float]:
        cfg = _config('camvid', 'MoCo v2')
        with DefaultScope.overwrite_default_scope('openmsra'):
            frames = DATASETS.build(cfg.train_frames)
            views = TRANSFORMS.build(dict(cfg.train_dataloader.dataset.datasets[0].pipeline[0], photometric=[]))
        np.random.seed(0)
        differ, figures = [], []
        for i in range(1000):
            labels = frames.class_map(frames.get_data_info(i % len(frames))['seg_map_path'])
            drawn = views(dict(img=np.zeros((*labels.shape, 3), np.uint8)))
            majority = []
            for view in drawn['geometry']:
                x, y, w, h = view.crop
                majority.append(np.bincount(labels[y : y + h, x : x + w].ravel() + 1, minlength=12)[1:].argmax())
            differ.append(majority[0] != majority[1])
            figures.append(drawn['figures'])
        shown = dict(no_common_majority_class=100 * float(np.mean(differ)))
        return shown | {key: float(np.mean([row[key] for row in figures])) for key in ('overlap', 'redraws')}

    return kept(folder / 'views.json', measure)


def _verdicts(rows: dict, confusions: dict[str, list[np.ndarray]]) -> dict:
    probe = {arm: np.array([row['mean_class_accuracy'] for row in seeds]) for arm, seeds in rows['camvid'].items()}
    pairs = [
        ('MaskCo, J = 0', 'MoCo v2'),
        ('MaskCo, J = 4', 'MoCo v2'),
        ('MaskCo, J = 0', 'MaskCo, J = 4'),
        ('MaskCo, J = 0', 'MaskCo without its head, J = 0'),
        ('region contrast, J = 0', 'MaskCo, J = 0'),
        ('region contrast, J = 0', 'MoCo v2'),
    ]
    gaps = {}
    for first, second in pairs:
        gap = over_seeds(probe[first] - probe[second])
        tables = [np.stack(confusions[arm]) for arm in (first, second)]  # (seeds, frames, K, K)

        def figure(frames: np.ndarray, tables=tables) -> float:
            means = [
                np.mean([figures_of(seed[frames].sum(0))['mean_class_accuracy'] for seed in arm_tables]) for arm_tables in tables
            ]
            return means[0] - means[1]

        gap['frames_interval'] = over_items(tables[0].shape[1], BLOCK, figure)
        gaps[f'{first} - {second}'] = gap
    balanced = {arm: np.array([row['balanced'] for row in rows['camvid'][arm]]) for arm in ARMS}
    for first, second in pairs:
        gaps[f'classes weighing alike: {first} - {second}'] = over_seeds(balanced[first] - balanced[second])
    control = None
    if rows['cifar10']:
        knn = [np.array([row['knn'] for row in rows['cifar10'][arm]]) for arm in ('MaskCo, J = 0', 'MoCo v2')]
        control = gaps['CIFAR-10, 5-NN: MaskCo, J = 0 - MoCo v2'] = over_seeds(knn[0] - knn[1])
    main, head = gaps['MaskCo, J = 0 - MoCo v2'], gaps['MaskCo, J = 0 - MaskCo without its head, J = 0']
    matching = gaps['region contrast, J = 0 - MaskCo, J = 0']
    alike = gaps['classes weighing alike: MaskCo, J = 0 - MoCo v2']
    trained = min(float((probe[arm] - probe[RANDOM]).mean()) for arm in ARMS)
    statements = [
        dict(
            statement='every arm is trained: above random weights',
            threshold='3 or more',
            seen=f'{trained:.1f} and more',
            holds=trained >= THRESHOLDS['trained_over_random'],
        ),
        dict(
            statement='MaskCo above MoCo v2 on scenes (both without negatives of the same image)',
            threshold='3 or more on average, above 0 in every seed',
            seen=seen(main),
            holds=main['mean'] >= THRESHOLDS['maskco_over_moco'] and min(main['values']) > 0,
        ),
        dict(
            statement='MaskCo within a point of MoCo v2 on CIFAR-10 (5-NN)',
            threshold='at most 1 apart',
            seen=seen(control) if control else 'not run',
            holds=control and abs(control['mean']) <= THRESHOLDS['control'],
        ),
        dict(
            statement='the mask prediction head helps',
            threshold='interval over seeds above 0',
            seen=seen(head),
            holds=head['interval'] is not None and head['interval'][0] > 0,
        ),
        dict(
            statement='region contrast without mask is at least as good: the gain is region matching',
            threshold='0 or more on average',
            seen=seen(matching),
            holds=matching['mean'] >= 0,
        ),
        dict(
            statement='MaskCo above MoCo v2 where classes weigh alike in the probe (stated later than the others)',
            threshold='3 or more on average, above 0 in every seed',
            seen=seen(alike),
            holds=alike['mean'] >= THRESHOLDS['maskco_over_moco'] and min(alike['values']) > 0,
        ),
    ]
    held = [dict(row, holds=None if row['holds'] is None else bool(row['holds'])) for row in statements]
    return dict(thresholds=THRESHOLDS, gaps=gaps, statements=held)


def table(result: dict) -> str:
    """The result as the Markdown tables of the paper's page."""
    heads = ('CamVid, test cells', 'mean class accuracy', 'mIoU', 'accuracy', 'mean, classes weighing alike')
    lines = [f'| {" | ".join(heads)} |', '|---' * len(heads) + '|']
    camvid = result['rows']['camvid']
    order = [COLOURS, RANDOM, *ARMS, CEILING]
    for arm in (arm for arm in order if arm in camvid):
        cells = ' | '.join(_cell(camvid[arm], key) for key in ('mean_class_accuracy', 'miou', 'accuracy'))
        balanced = '' if arm == COLOURS else _cell(camvid[arm], 'balanced')
        lines.append(f'| {arm} | {cells} | {balanced} |')
    if result['rows']['cifar10']:
        lines += ['', '| CIFAR-10, control | 5-NN | linear |', '|---|---|---|']
    for arm, seeds in result['rows']['cifar10'].items():
        lines.append(f'| {arm} | {_cell(seeds, "knn")} | {_cell(seeds, "linear")} |')
    lines += search_lines(result['settings']['search']['found'], 'mean class accuracy on the validation sequence')
    verdicts, intervals = result['verdicts'], dict(interval='seeds', frames_interval='test frames')
    lines += gap_lines(verdicts['gaps'], 'difference of mean class accuracy', intervals)
    return '\n'.join(lines + statement_lines(verdicts['statements']))


def _cell(seeds: list[dict], key: str) -> str:
    return cell([row[key] for row in seeds])


def draw(result: dict, file: Path) -> None:
    """Mean class accuracy of every arm by both probes: a dot for each seed, a stroke at the mean; floors and ceiling as lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout='constrained')
    axes = figure.subplots(1, 2, sharey=True)
    probes = {'mean_class_accuracy': 'probe fitted on cells as they are', 'balanced': 'probe in whose fit classes weigh alike'}
    for axis, (key, title) in zip(axes, probes.items(), strict=True):
        _panel(axis, result['rows']['camvid'], key)
        axis.set_xlabel(title)
    axes[0].set_yticks(range(len(ARMS)), list(reversed(ARMS)))
    axes[0].set_ylim(-0.6, len(ARMS) - 0.4)
    figure.supxlabel('mean class accuracy on cells of CamVid test frames (%)', fontsize=10)
    figure.savefig(file, dpi=110)


def _panel(axis: 'Axes', rows: dict, key: str) -> None:
    """One figure of every arm."""
    for place, arm in enumerate(reversed(ARMS)):
        values = [row[key] for row in rows[arm]]
        colour = '0.4' if arm == 'MoCo v2' else 'C0'
        axis.plot([min(values), max(values)], [place, place], color=colour, linewidth=2)
        axis.scatter(values, [place] * len(values), color=colour, s=22)
        axis.scatter(np.mean(values), place, color=colour, marker='|', s=260, linewidth=2.5)
        axis.annotate(f'{np.mean(values):.1f}', (np.mean(values), place + 0.22), ha='center', va='bottom')
    for height, (arm, label) in zip((1.02, 1.1, 1.02), {RANDOM: RANDOM, COLOURS: 'colours alone', CEILING: 'supervised'}.items()):
        values = [row[key] for row in rows.get(arm, []) if key in row]
        if values:
            axis.axvline(np.mean(values), color='0.3', linestyle=':', linewidth=1.2)
            text = f'{label} {np.mean(values):.1f}'
            axis.text(np.mean(values), height, text, transform=axis.get_xaxis_transform(), ha='center', fontsize=9)
    axis.spines[['top', 'right']].set_visible(False)


def publish(result: dict) -> None:
    """The tables and the figure of the page."""
    draw(result, ROOT / 'docs' / 'maskco_camvid.png')
    replace_part(CONFIGS / 'README.md', 'measured on CamVid', table(result))
