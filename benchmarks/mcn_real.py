"""MCN on real recordings: does adapting in two stages find more of the action than contrast alone?

FIR actions: recordings of minutes under a ceiling camera. Pieces of four seconds of the training recordings, and their labelled
clips without the labels, are pre-trained on; clips of other recordings are looked up among the clips of the training recordings,
and probed. A batch holds 16 pieces of one recording and 16 of another, so that the background does not tell them apart (pilots of
contrast alone learnt nothing from mixed batches); MCN adapts to the former and is judged on the latter. The arms of a seed are
trained side by side on the same clips with parameters of their own. The rate of each arm, and the inner rate of MCN, are chosen
before by clips of every third training recording, which are looked up and probed with those of the others.

MCN at the inner rate 0 is the arm "contrast + meta branch": the same objective without an inner step.

Stated before the runs; points of mean class accuracy of the linear probe on the test clips, paired by seed:

* every arm is trained: at least 5 above random weights on average;
* MCN (query clips of another recording) - contrast >= 2 on average and above 0 in every seed;
* the gain is that of adapting: contrast + meta branch - contrast < 2 on average;
* query clips of another recording serve better than those of the same videos: above 0 on average;
* gradients of two halves of a batch agree more after MCN than after contrast: their cosine is higher in every seed.
"""

import copy
import json
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from torch import Tensor, nn

import openmsra.mcn  # noqa: F401 - registers the parts
from benchmarks.real_data import (
    ROOT,
    at_data,
    cell,
    data_folder,
    gap_lines,
    over_items,
    over_seeds,
    replace_part,
    seen,
    statement_lines,
    train_only,
)
from benchmarks.side_by_side import SideBySide, arm_key, load_arm, rates_apart
from benchmarks.training import Training, kept, seeded_model, train_all
from openmsra.apis import init_model
from openmsra.common.probes import linear_classifier, normalised, ranking
from openmsra.engine.config.files import load_config
from openmsra.mcn.data.videos import read_list
from openmsra.registry import DATASETS, MODELS

CONFIGS = ROOT / 'configs' / 'mcn'
RANDOM, CONTRAST, META = 'random weights', 'contrast', 'contrast + meta branch'
SAME, OURS = 'MCN, same videos', 'MCN, other recording'
PIXELS, CEILING = 'pixels of a clip', 'supervised, same network'
ARMS = {  # name -> config
    CONTRAST: 'contrastive_tiny_1xb32-600i_fir-actions',
    META: 'multitask_tiny_1xb32-600i_fir-actions',
    SAME: 'mcn-same_tiny_1xb16-600i_fir-actions',
    OURS: 'mcn_tiny_1xb32-600i_fir-actions',
}
RATES, INNER_RATES = (1e-3, 2e-3, 4e-3), (0.003, 0.03, 0.3)
STEPS, SEARCH_STEPS, SEARCH_SEED = 600, 200, 100
THRESHOLDS = dict(trained_over_random=5.0, mcn_over_contrast=2.0)
EPISODES, SHOTS, INNER_STEPS, SCALE = 10, 3, (0, 1, 3, 10), 10.0  # few-shot: draws, clips a class, SGD steps, factor of cosines
LONGER = dict(lengths=(600, 1800), unit='steps', figure='mean class accuracy of the probe (%)', pair=(OURS, CONTRAST), gain=2.0)
PROCESSES = 2
FIGURES = {
    'R_1': 'R@1',
    'class_R_1': 'R@1, mean over classes',
    'probe': 'linear probe',
    'class_probe': 'probe, mean over classes',
    'agreement': 'cosine of gradients',
}


@MODELS.register_module()
class EncodersSideBySide(SideBySide):
    """MCN and its baselines on the same clips: two of every video, or four of those of a batch's first recording."""

    def losses(self, name: str, arm: nn.Module, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        if arm.query_videos == 'same':
            half = len(inputs) // 2
            return arm.loss(inputs[:half], data_samples[:half])
        return arm.loss(inputs[:, :2], data_samples)


def run(seeds: list[int], folder: Path) -> dict:
    """All runs; finished ones are read from ``folder``. Figures in percent, but the cosine."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = _search(folder)
    trainings = [_training(_settings_of(settings), STEPS, seed, folder) for seed in seeds]
    train_all(trainings, PROCESSES)
    rows: dict[str, list[dict]] = {arm: [] for arm in (RANDOM, *ARMS)}
    for seed, training in zip(seeds, trainings, strict=True):
        for arm in rows:
            rows[arm].append(_measured(arm, settings, seed, training.work_dir))
            print(f'seed {seed}, {arm}: {rows[arm][-1]["class_probe"]:.1f}', flush=True)
    rows = {PIXELS: [_pixels()]} | rows | {CEILING: [kept(folder / f'supervised_{STEPS}i.json', partial(_supervised, folder))]}
    said = dict(seeds=seeds, steps=STEPS, settings=settings, episodes=EPISODES, shots=SHOTS)
    said |= dict(search=dict(rates=RATES, inner_rates=INNER_RATES, steps=SEARCH_STEPS))
    return dict(settings=said, rows=rows, gains=_gains(trainings[0], settings), verdicts=_verdicts(rows, _clips('test')[1]))


def main_figures(rows: dict, seeds: list[int]) -> dict[str, list[float]]:
    """Mean class accuracy of the probe of the main arms, by seed."""
    return {arm: [row['class_probe'] for row in rows[arm] if row['seed'] in seeds] for arm in (CONTRAST, META, OURS)}


def longer(steps: int, seeds: list[int], folder: Path, settings: dict) -> dict[str, list[float]]:
    """:func:`main_figures` of trainings of so many steps."""
    chosen = {arm: settings['settings'][arm] for arm in (CONTRAST, META, OURS)}
    trainings = [_training(_settings_of(chosen), steps, seed, folder, 'longer_') for seed in seeds]
    train_all(trainings, PROCESSES)

    def measured(arm: str, seed: int, run_folder: Path) -> dict:
        setting = chosen[arm].values()
        file = run_folder / f'{arm_key(arm, *setting)}.json'
        return dict(kept(file, lambda: _judged(_loaded(arm, *setting, run_folder, seed))), seed=seed)

    runs = list(zip(seeds, [training.work_dir for training in trainings], strict=True))
    return main_figures({arm: [measured(arm, *run) for run in runs] for arm in chosen}, seeds)


def _settings_of(chosen: dict[str, dict]) -> list[tuple[str, float, float]]:
    return [(arm, row['rate'], row['inner_rate']) for arm, row in chosen.items()]


def _config(arm: str, folder: Path, inner_rate: float = 0.0) -> Config:
    cfg = at_data(load_config(CONFIGS / f'{ARMS.get(arm, ARMS[CONTRAST])}.py'), dict(fir_actions=data_folder('fir_actions')))
    if cfg.model.get('inner') is not None:
        cfg.model.inner.rate = inner_rate
    cfg.train_dataloader.dataset.datasets[0].ann_file = str(_recordings(folder))
    return cfg


def _recordings(folder: Path) -> Path:
    """The list of the training recordings."""
    file = folder / 'recordings_train.txt'
    if not file.exists():
        rows = [line.split() for line in (data_folder('fir_actions') / 'full.txt').read_text().splitlines()]
        file.write_text(''.join(f'{path}\n' for path, _, part in rows if part == 'train'))
    return file


def _training(settings: list[tuple[str, float, float]], steps: int, seed: int, folder: Path, name: str = '') -> Training:
    """Arms, each with a rate and an inner rate, side by side."""
    arms = {arm_key(arm, rate, inner): _config(arm, folder, inner).model for arm, rate, inner in settings}
    rates = {arm_key(arm, rate, inner): rate for arm, rate, inner in settings}
    cfg = _config(CONTRAST, folder)
    preprocessor = cfg.model.data_preprocessor
    cfg.model = dict(type='EncodersSideBySide', arms=arms, seed=seed, data_preprocessor=preprocessor)
    cfg.optim_wrapper = rates_apart(rates, dict(type='Adam'))
    for dataset in cfg.train_dataloader.dataset.datasets:
        dataset.clips = 4
    train_only(cfg, steps, start_factor=0.05)
    cfg.custom_imports.imports.append('benchmarks.mcn_real')
    return Training(cfg, folder / f'{name}{steps}i_seed{seed}', seed)


def _search(folder: Path) -> dict[str, dict[str, float]]:
    """Rate and inner rate of each arm: those that serve best when clips of every third training recording are looked up among
    those of the others, by the mean over classes of R@1 and of the probe."""

    def search() -> dict[str, list]:
        plain = [(arm, rate, 0.0) for arm in (CONTRAST, META) for rate in RATES]
        ours = [(OURS, rate, inner) for rate in RATES for inner in INNER_RATES]
        trainings = [
            _training(group, SEARCH_STEPS, SEARCH_SEED, folder, f'search-{name}_')
            for name, group in (('plain', plain), ('mcn', ours))
        ]
        train_all(trainings, PROCESSES)
        found: dict[str, list] = {}
        for training, group in zip(trainings, (plain, ours), strict=True):
            for arm, rate, inner in group:
                model = _loaded(arm, rate, inner, training.work_dir)
                figures, _ = _frozen(*_halves(model, folder))
                score = (figures['class_R_1'] + figures['class_probe']) / 2
                found.setdefault(arm, []).append(dict(rate=rate, inner_rate=inner, score=score))
                print(found[arm][-1], arm, flush=True)
        return found

    found = kept(folder / 'search.json', search)
    best = {arm: max(rows, key=lambda row: row['score']) for arm, rows in found.items()}
    best[SAME] = best[OURS]  # not searched on its own
    return {arm: dict(rate=best[arm]['rate'], inner_rate=best[arm]['inner_rate']) for arm in ARMS}


def _loaded(arm: str, rate: float, inner: float, run_folder: Path, seed: int = 0) -> nn.Module:
    model = seeded_model(_config(arm, run_folder.parent, inner), seed)
    if arm == RANDOM:
        model.init_weights()
        return model.eval()
    return load_arm(model, run_folder, arm_key(arm, rate, inner))


@cache
def _clips(part: str) -> tuple[Tensor, np.ndarray, list[str]]:
    """Clips (V, C, 3, T, H, W), labels and recordings of the labelled clips of a part: 'train' or 'test'."""
    cfg = load_config(CONFIGS / f'{ARMS[CONTRAST]}.py').val_dataloader.dataset
    settings = at_data(Config(dict(sets=cfg.datasets)), dict(fir_actions=data_folder('fir_actions'))).sets[part == 'test']
    with DefaultScope.overwrite_default_scope('openmsra'):
        dataset = DATASETS.build(settings)
    rows = [dataset[number] for number in range(len(dataset))]
    names = [Path(video).stem.rpartition('_')[0] for video, _ in read_list(settings.ann_file)]
    return torch.stack([row['inputs'] for row in rows]), np.array([row['data_samples'].gt_label for row in rows]), names


def _features(model: nn.Module, clips: Tensor) -> Tensor:
    """(V, C, 3, T, H, W) to (V, D)."""
    inputs = model.data_preprocessor(dict(inputs=clips))['inputs']
    return model.backbone(inputs.flatten(0, 1)).mean((2, 3, 4)).unflatten(0, inputs.shape[:2]).mean(1)


@torch.inference_mode()
def _unit_features(model: nn.Module, part: str) -> np.ndarray:
    features = torch.cat([_features(model, clips) for clips in _clips(part)[0].split(16)]).numpy()
    return normalised(features, [part] * len(features))


def _halves(model: nn.Module, folder: Path) -> tuple[np.ndarray, ...]:
    """Features and labels of the clips of most training recordings, and of those of every third."""
    _, labels, recordings = _clips('train')
    held = np.isin(recordings, sorted(set(recordings))[::3])
    features = _unit_features(model, 'train')
    return features[~held], labels[~held], features[held], labels[held]


def _frozen(gallery: np.ndarray, known: np.ndarray, queries: np.ndarray, wanted: np.ndarray) -> tuple[dict, np.ndarray]:
    """Retrieval and probe, over clips and as means over the classes; and which queries the probe told (Q,)."""
    found = known[ranking(queries, gallery)[:, 0]] == wanted
    probed = linear_classifier(1.0).fit(gallery, known).predict(queries) == wanted
    figures = {}
    for name, right in (('R_1', found), ('probe', probed)):
        figures[name] = 100 * float(right.mean())
        figures[f'class_{name}'] = _class_mean(right, wanted)
    return figures, probed


def _class_mean(right: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy of every class, then their mean, in percent."""
    return 100 * float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def _measured(arm: str, settings: dict, seed: int, run_folder: Path) -> dict:
    """All figures of an arm, from a file where that was done before."""
    chosen = settings.get(arm, dict(rate=0.0, inner_rate=0.0))

    def measure() -> dict:
        model = _loaded(arm, chosen['rate'], chosen['inner_rate'], run_folder, seed)
        figures = _judged(model) | dict(seed=seed, agreement=_agreement(model, run_folder.parent))
        return figures | dict(few_shot=_few_shot(model, settings[OURS]['inner_rate']))

    return kept(run_folder / f'{arm_key(arm, *chosen.values())}.json', measure)


def _judged(model: nn.Module) -> dict:
    """What a classifier and retrieval make of frozen features of the test clips."""
    sides = [(_unit_features(model, part), _clips(part)[1]) for part in ('train', 'test')]
    figures, told = _frozen(*sides[0], *sides[1])
    return figures | dict(told=told.tolist())


def _pixels() -> dict:
    """The floor without a network: the middle clip at 16 x 16 pixels."""
    sides = []
    for part in ('train', 'test'):
        clips, labels, _ = _clips(part)
        small = F.avg_pool2d(clips[:, 1].flatten(1, 2).float(), 4).flatten(1).numpy()
        sides += [normalised(small - 128, [part] * len(small)), labels]
    return _frozen(*sides)[0]


def _supervised(folder: Path) -> dict:
    """The ceiling: the same encoder trained on the labels of the training clips, then judged alike."""
    torch.manual_seed(0)
    np.random.seed(0)
    cfg = _config(CONTRAST, folder)
    model = init_model(cfg).train()
    with DefaultScope.overwrite_default_scope('openmsra'):
        dataset = DATASETS.build(dict(cfg.train_dataloader.dataset.datasets[1], clips=1))
    classifier = nn.Linear(model.backbone.feat_dim, 8)
    parameters = [*model.backbone.parameters(), *classifier.parameters()]
    optimiser = torch.optim.Adam(parameters, 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=STEPS)
    for _ in range(STEPS):
        rows = [dataset[int(number)] for number in np.random.choice(len(dataset), cfg.train_dataloader.batch_size, replace=False)]
        targets = torch.tensor([row['data_samples'].gt_label for row in rows])
        loss = F.cross_entropy(classifier(_features(model, torch.stack([row['inputs'] for row in rows]))), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return _judged(model.eval())


def _agreement(model: nn.Module, folder: Path, batches: int = 8) -> float:
    """Cosine of the gradients of the contrastive loss on two halves of a batch of videos, mean over batches."""
    alone = init_model(_config(CONTRAST, folder))
    own = {key: value for key, value in model.state_dict().items() if key in alone.state_dict()}
    alone.load_state_dict(own)
    cosines = []
    for clips, samples in _training_batches(folder, batches):
        inputs, half, gradients = alone.data_preprocessor(dict(inputs=clips))['inputs'], len(clips) // 2, []
        for part in (slice(half), slice(half, None)):
            loss = alone.loss(inputs[part], samples[part])['loss']
            gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(alone.backbone.parameters()))]))
        cosines.append(float(F.cosine_similarity(*gradients, dim=0)))
    return float(np.mean(cosines))


@cache
def _training_batches(folder: Path, batches: int) -> list[tuple[Tensor, list]]:
    """Batches of augmented training videos, the same for every arm."""
    cfg = _config(CONTRAST, folder).train_dataloader
    with DefaultScope.overwrite_default_scope('openmsra'):
        dataset = DATASETS.build(cfg.dataset)
    np.random.seed(0)
    drawn = np.random.permutation(len(dataset))[: batches * cfg.batch_size].reshape(batches, -1)
    collated = [pseudo_collate([dataset[int(number)] for number in numbers]) for numbers in drawn]
    return [(torch.stack(batch['inputs']), batch['data_samples']) for batch in collated]


def _few_shot(model: nn.Module, rate: float) -> list[float]:
    """Accuracy on the test clips after 0, 1, 3 and 10 plain SGD steps at the inner rate, on a few clips of each class.

    The classifier starts as the class means of the clips, as cosines, so that step 0 is that of prototypes.
    """
    (clips, labels, _), (queries, wanted, _), figures = _clips('train'), _clips('test'), []
    for episode in range(EPISODES):
        rng, adapted = np.random.default_rng(episode), copy.deepcopy(model)
        classes = np.unique(labels)
        chosen = np.concatenate([rng.choice(np.flatnonzero(labels == label), SHOTS, replace=False) for label in classes])
        support, targets = clips[chosen, :1], torch.from_numpy(np.searchsorted(classes, labels[chosen]))
        with torch.no_grad():
            means = F.normalize(_features(adapted, support), dim=1).unflatten(0, (len(classes), SHOTS)).mean(1)
        head, curve = nn.Parameter(F.normalize(means, dim=1)), []
        parameters = [*adapted.backbone.parameters(), head]
        for step in range(INNER_STEPS[-1] + 1):
            if step in INNER_STEPS:
                with torch.no_grad():
                    scores = torch.cat([_cosines(adapted, part[:, :1], head) for part in queries.split(32)])
                curve.append(100 * float((classes[scores.argmax(1).numpy()] == wanted).mean()))
            loss = F.cross_entropy(SCALE * _cosines(adapted, support, head), targets)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                    parameter -= rate * gradient
        figures.append(curve)
    return np.mean(figures, axis=0).tolist()


def _cosines(model: nn.Module, clips: Tensor, head: Tensor) -> Tensor:
    return F.normalize(_features(model, clips), dim=1) @ F.normalize(head, dim=1).T


def _gains(training: Training, settings: dict) -> dict[str, list[list[float]]]:
    """What the inner step gains on the query clips while an arm is trained: (step, gain), from the log of the first seed."""
    lines = [
        json.loads(line)
        for file in sorted(training.work_dir.glob('*/vis_data/scalars.json'))
        for line in file.read_text().splitlines()
    ]
    curves = {}
    for arm in (SAME, OURS):
        key = f'{arm_key(arm, *settings[arm].values())}/gain'
        curves[arm] = [[line['step'], line[key]] for line in lines if key in line]
    return curves


def _verdicts(rows: dict[str, list[dict]], labels: np.ndarray) -> dict:
    def values(arm: str, figure: str = 'class_probe') -> np.ndarray:
        return np.array([row[figure] for row in rows[arm]])

    pairs = [(OURS, CONTRAST), (META, CONTRAST), (OURS, META), (OURS, SAME), (SAME, CONTRAST)]
    gaps = {}
    for first, second in pairs:
        gap = over_seeds(values(first) - values(second))
        told = [np.array([row['told'] for row in rows[arm]], float).mean(0) for arm in (first, second)]
        gap['clips_interval'] = over_items(
            len(labels), 1, lambda clips, gain=told[0] - told[1]: _class_mean(gain[clips], labels[clips])
        )
        gaps[f'{first} - {second}'] = gap
    for figure in ('R_1', 'class_R_1', 'probe'):
        gaps[f'{FIGURES[figure]}: {OURS} - {CONTRAST}'] = over_seeds(values(OURS, figure) - values(CONTRAST, figure))
    main, rate_0, same = (gaps[f'{a} - {b}'] for a, b in ((OURS, CONTRAST), (META, CONTRAST), (OURS, SAME)))
    trained = min(float((values(arm) - values(RANDOM)).mean()) for arm in ARMS)
    cosines = values(OURS, 'agreement') - values(CONTRAST, 'agreement')
    least = THRESHOLDS['mcn_over_contrast']
    statements = [
        dict(
            statement='every arm is trained: above random weights',
            threshold=f'{THRESHOLDS["trained_over_random"]:g} or more on average',
            seen=f'{trained:+.1f} and more',
            holds=trained >= THRESHOLDS['trained_over_random'],
        ),
        dict(
            statement=f'{OURS}: above contrast',
            threshold=f'{least:g} or more on average, above 0 in every seed',
            seen=seen(main),
            holds=main['mean'] >= least and min(main['values']) > 0,
        ),
        dict(
            statement='and not without the inner step: contrast + meta branch (inner rate 0) - contrast',
            threshold=f'below {least:g} on average',
            seen=seen(rate_0),
            holds=rate_0['mean'] < least,
        ),
        dict(
            statement='query clips of another recording serve better than those of the same videos',
            threshold='above 0 on average',
            seen=seen(same),
            holds=same['mean'] > 0,
        ),
        dict(
            statement='gradients of two halves of a batch agree more after MCN than after contrast',
            threshold='cosine higher in every seed',
            seen=f'{cosines.mean():+.3f} ({", ".join(f"{value:+.3f}" for value in cosines)})',
            holds=cosines.min() > 0,
        ),
    ]
    return dict(thresholds=THRESHOLDS, gaps=gaps, statements=[dict(row, holds=bool(row['holds'])) for row in statements])


def table(result: dict) -> str:
    """The result as the Markdown tables of the paper's page."""
    names = ' | '.join(FIGURES.values())
    lines = [f'| arm | {names} |', '|---' * (len(FIGURES) + 1) + '|']
    for arm, rows in result['rows'].items():
        cells = [cell([row[figure] for row in rows]) for figure in FIGURES if figure != 'agreement']
        cells.append(f'{np.mean([row["agreement"] for row in rows]):.2f}' if 'agreement' in rows[0] else '')
        lines.append(f'| {arm} | {" | ".join(cells)} |')
    steps = ' | '.join(f'{step} steps' for step in INNER_STEPS)
    lines += ['', f'| {SHOTS} clips a class, plain SGD at the inner rate | {steps} |', '|---' * (len(INNER_STEPS) + 1) + '|']
    for arm in (RANDOM, *ARMS):
        curves = np.array([row['few_shot'] for row in result['rows'][arm]]).T
        lines.append(f'| {arm} | {" | ".join(cell(list(values)) for values in curves)} |')
    verdicts = result['verdicts']
    intervals = dict(interval='seeds', clips_interval='test clips')
    return '\n'.join(
        lines
        + gap_lines(verdicts['gaps'], 'difference of mean class accuracy, probe', intervals)
        + statement_lines(verdicts['statements'])
    )


def draw(result: dict, file: Path) -> None:
    """The probe of every arm, a dot for each seed; what the inner step gains during the training; accuracy along inner steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout='constrained')
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.3, 1, 1])
    colours = dict(zip((PIXELS, RANDOM, *ARMS, CEILING), ('0.85', '0.7', '0.4', 'C1', 'C2', 'C0', '0.2'), strict=True))
    for place, arm in enumerate(colours):
        rows = result['rows'][arm]
        values = [row['class_probe'] for row in rows]
        left.barh(place, np.mean(values), height=0.6, color=colours[arm])
        left.scatter(values, [place] * len(values), color='black', s=14, zorder=3)
        left.annotate(f'{np.mean(values):.1f}', (max(values) + 1, place), va='center')
        if 'few_shot' in rows[0]:
            right.plot(INNER_STEPS, np.mean([row['few_shot'] for row in rows], axis=0), marker='o', color=colours[arm], label=arm)
    left.set_yticks(range(len(colours)), list(colours))
    left.set(xlabel='mean class accuracy, clips of other recordings (%)', title='Linear probe')
    for arm, curve in result['gains'].items():
        middle.plot(*np.array(curve).T, color=colours[arm], label=arm)
    middle.axhline(0, color='0.6', linewidth=0.8)
    middle.set(xlabel='training step', ylabel='query loss before - after', title='Gain of an inner step')
    right.set(ylim=(0, None), xlabel='SGD steps', ylabel='accuracy (%)', title=f'{SHOTS} labelled clips a class')
    right.legend(fontsize=7)
    for axis in (left, middle, right):
        axis.spines[['top', 'right']].set_visible(False)
    figure.savefig(file, dpi=110)


def publish(result: dict) -> None:
    """The tables and the figure of the page."""
    draw(result, ROOT / 'docs' / 'mcn_fir_actions.png')
    replace_part(CONFIGS / 'README.md', 'measured on FIR actions', table(result))
