"""AutoFormer on CIFAR-10: is weight entanglement better than classical sharing, and does its search find better networks?

4,000 training images (400 a class); 500 others, which no arm trains on, choose the rate of each arm and score the searches;
1,500 test images judge. A space of some 10^10 networks around width 96 to 192 and depth 6 to 10.

Stated before the runs, in points of test accuracy over the seeds:

* the mean of 30 random sub-networks with inherited weights: entangled - classical >= 15 at equal steps, in every seed;
* inherited accuracy ranks: Kendall's tau with the stand-alone accuracy of 10 networks from cheap to dear, interval above 0;
* the network found under the measured latency of a uniformly scaled one (all layers alike), both trained alone: found - uniform
  above 0 in every seed;
* evolution finds more than random search of as many evaluations (validation accuracy): above 0 in every seed.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks import autoformer_claims
from benchmarks.precision import fast_autocast
from benchmarks.real_data import (
    ROOT,
    at_data,
    cell,
    cifar10_folder,
    gap_lines,
    over_seeds,
    replace_part,
    seen,
    statement_lines,
)
from benchmarks.training import Training, kept, side_by_side, train_all
from openmsra.apis import init_model
from openmsra.autoformer import SearchSpace, arch_rng, extract_subnet
from openmsra.autoformer.search.budgets import Budgets, Cost, growing_cost
from openmsra.autoformer.search.evolution import Evolution, EvolutionSettings
from openmsra.autoformer.search.latency import LatencySettings, LatencyTable, cached_latency
from openmsra.autoformer.search.ranking import rank_correlation
from openmsra.common.images import list_images, read_rgb
from openmsra.engine.config.files import load_config

CONFIGS = ROOT / 'configs' / 'autoformer'
SUPERNET, ALONE = 'autoformer-w192_supernet_1xb128-20e_cifar10.py', 'autoformer-w192_vit_1xb128-20e_cifar10.py'
LONG = 'classical, 4 x steps'
ARMS = {'entangled': ('entangled', 1), 'classical': ('classical', 1), LONG: ('classical', 4)}
SEARCHED = ('entangled', 'classical')
IMAGES = dict(train=(400, 'train'), val=(50, 'train'), test=(150, 'test'))  # of each class, from which part
BATCH, EPOCHS, ALONE_EPOCHS, SEARCH_EPOCHS, SEARCH_SEED = 32, 12, 6, 2, 100
RATES = (2.5e-4, 5e-4, 1e-3, 2e-3)
CANDIDATES, RETRAINED = 30, 10
UNIFORM = dict(embed_dim=128, depth=8, num_heads=[3] * 8, mlp_ratio=[3.0] * 8)
SEARCH = dict(generations=5, population=16, parents=5, mutations=8, crossovers=8)
BUDGETS, SLACK = ('latency', 'params'), 0.05  # a search may spend as much as the uniform network, and this share less
ALONE_NAMES = ('uniform', 'evolution')  # the networks of a latency that are trained alone
THRESHOLDS = dict(sharing=15.0)
LONGER = dict(
    lengths=(12, 48), unit='epochs', figure='mean accuracy of 30 sub-networks (%)', pair=('entangled', 'classical'), gain=15.0
)
PROCESSES = 2
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'  # trainings take a GPU where there is one; latency is that of a processor


def run(seeds: list[int], folder: Path) -> dict:
    """All runs; finished ones are read from ``folder``. Accuracies in percent."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_data(folder / 'data')
    rates = _search_rates(folder)
    ranked = [_alone(arch, rates['entangled'], seeds[0], folder) for arch in _from_cheap_to_dear()]
    train_all([*(_supernet(arm, rates[arm], seed, folder) for arm, seed in _trained(seeds)), *ranked], PROCESSES)
    table = _latency(rates, seeds[0], folder)
    sharing = _sharings(rates, seeds, folder)
    budgets = [BUDGETS if seed == seeds[0] else BUDGETS[:1] for seed in seeds]  # the second is looked at once
    searches = side_by_side(
        lambda seed, asked: _searches(rates['entangled'], seed, asked, table, folder), seeds, budgets, processes=PROCESSES
    )
    named = {seed: _named(row) for seed, row in zip(seeds, searches, strict=True)}
    alone = {seed: [_alone(arch, rates['entangled'], seed, folder) for arch in named[seed].values()] for seed in seeds}
    train_all([training for rows in alone.values() for training in rows], PROCESSES)
    standalone = [dict(zip(named[seed], map(_alone_accuracy, alone[seed]), strict=True), seed=seed) for seed in seeds]
    ranking = _ranking(ranked, rates, seeds[0], folder)
    settings = dict(
        seeds=seeds,
        epochs=EPOCHS,
        alone_epochs=ALONE_EPOCHS,
        batch=BATCH,
        rates=rates,
        rate_search=dict(rates=RATES, epochs=SEARCH_EPOCHS),
        images=IMAGES,
        candidates=CANDIDATES,
        uniform=UNIFORM,
        search=SEARCH,
        latency_check=table.check,
        device=torch.cuda.get_device_name() if DEVICE == 'cuda' else 'CPU',
    )
    rows = dict(sharing=sharing, searches=searches, standalone=standalone, ranking=ranking)
    return dict(settings=settings, rows=rows, verdicts=_verdicts(rows))


def main_figures(rows: dict, seeds: list[int]) -> dict[str, list[float]]:
    """Mean test accuracy of the sub-networks of each kind of sharing and seed."""
    return {arm: [float(np.mean(row['accuracies'])) for row in rows['sharing'][arm] if row['seed'] in seeds] for arm in SEARCHED}


def longer(epochs: int, seeds: list[int], folder: Path, settings: dict) -> dict[str, list[float]]:
    """:func:`main_figures` of trainings of so many epochs."""
    _write_data(folder / 'data')
    trainings = {(arm, seed): _supernet(arm, settings['rates'][arm], seed, folder, epochs) for seed in seeds for arm in SEARCHED}
    train_all(trainings.values(), PROCESSES)
    rows = {arm: [_sharing(trainings[arm, seed], seed, folder) for seed in seeds] for arm in SEARCHED}
    return main_figures(dict(sharing=rows), seeds)


def _trained(seeds: list[int]) -> list[tuple[str, int]]:
    """Arm and seed of every supernet; the long one is trained once, it decides nothing and costs as much as four others."""
    return [(arm, seed) for seed in seeds for arm in ARMS if arm != LONG or seed == seeds[0]]


def _write_data(folder: Path) -> None:
    """Folders of classes with links to the images of each part."""
    if (folder / 'done').exists():
        return
    source, taken = cifar10_folder(), {}
    for part, (count, origin) in IMAGES.items():
        for place in sorted(path for path in (source / origin).iterdir() if path.is_dir()):
            first = taken.get(place, 0)
            taken[place] = first + count
            target = folder / part / place.name
            target.mkdir(parents=True, exist_ok=True)
            for file in list_images(place)[first : first + count]:
                if not (target / file.name).exists():
                    (target / file.name).symlink_to(file.resolve())
    (folder / 'done').touch()


def _search_rates(folder: Path) -> dict[str, float]:
    """The rate of each kind of sharing whose short training is best on the validation images, over ten sub-networks."""

    def search() -> dict[str, dict[str, float]]:
        runs = {(arm, rate): _supernet(arm, rate, SEARCH_SEED, folder, SEARCH_EPOCHS) for arm in SEARCHED for rate in RATES}
        train_all(runs.values(), PROCESSES)
        split, found = _split('val', folder), {}

        def score(training: Training) -> float:
            return float(np.mean(inherited(_net(training), _candidates(10), split)))

        for (arm, rate), value in zip(runs, side_by_side(score, runs.values(), processes=PROCESSES), strict=True):
            found.setdefault(arm, {})[f'{rate:g}'] = value
        return found

    best = {arm: float(max(figures, key=figures.get)) for arm, figures in kept(folder / 'search.json', search).items()}
    return {arm: best[sharing] for arm, (sharing, _) in ARMS.items()}


def _supernet(arm: str, rate: float, seed: int, folder: Path, epochs: int | None = None) -> Training:
    sharing, factor = ARMS[arm]
    epochs = epochs or EPOCHS
    cfg = _config(SUPERNET, rate, epochs * factor, folder)
    cfg.model.sharing = sharing
    return Training(cfg, folder / f'{sharing}_{rate:g}_{epochs * factor}e_seed{seed}', seed)


def _alone(arch: dict, rate: float, seed: int, folder: Path) -> Training:
    cfg = _config(ALONE, rate, ALONE_EPOCHS, folder)
    cfg.model.arch = arch
    name = f'{arch["embed_dim"]}-' + '-'.join(
        f'{heads}x{ratio:g}' for heads, ratio in zip(arch['num_heads'], arch['mlp_ratio'], strict=True)
    )
    return Training(cfg, folder / f'alone_{name}_seed{seed}', seed)


def _config(name: str, rate: float, epochs: int, folder: Path):
    cfg = at_data(load_config(CONFIGS / name), {'cifar10': folder / 'data'})
    cfg.optim_wrapper.optimizer.lr = rate
    cfg.train_dataloader.batch_size = BATCH
    cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    warm_up, decay = cfg.param_scheduler
    warm_up.end = decay.begin = 1
    decay.end = epochs
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1, max_keep_ckpts=1)
    return cfg


def _net(training: Training) -> nn.Module:
    return init_model(training.config, training.checkpoint, device=DEVICE)


def inherited(net: nn.Module, archs: list[dict], split: dict) -> list[float]:
    """Accuracy in percent of each architecture with the weights of the supernet."""
    with fast_autocast(DEVICE):
        return autoformer_claims.inherited(net, archs, split)


@cache
def _split(part: str, folder: Path) -> dict[str, torch.Tensor]:
    """Normalised images (N, 3, 32, 32) and labels (N,) of a part."""
    processor = load_config(CONFIGS / SUPERNET).model.data_preprocessor
    images, labels = [], []
    for label, place in enumerate(sorted(path for path in (folder / 'data' / part).iterdir() if path.is_dir())):
        files = list_images(place)
        images += [read_rgb(file) for file in files]
        labels += [label] * len(files)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(processor[key]).view(3, 1, 1) for key in ('mean', 'std'))
    return dict(images=((pixels - mean) / std).to(DEVICE), labels=torch.tensor(labels, device=DEVICE))


def _space() -> SearchSpace:
    return SearchSpace.from_config(load_config(CONFIGS / SUPERNET).model.space.to_dict())


def _candidates(count: int) -> list[dict]:
    """The same for every arm and seed."""
    return [_space().sample(arch_rng(1000, number)) for number in range(count)]


def _from_cheap_to_dear() -> list[dict]:
    """Ten of 500 random networks, evenly spread over their numbers of parameters."""
    net = init_model(CONFIGS / SUPERNET)
    archs = sorted((_space().sample(arch_rng(2000, number)) for number in range(500)), key=net.count_params)
    return [archs[place] for place in np.linspace(0, len(archs) - 1, RETRAINED).round().astype(int)]


def _latency(rates: dict, seed: int, folder: Path) -> LatencyTable:
    net = _net(_supernet('entangled', rates['entangled'], seed, folder))
    return cached_latency(
        folder / 'latency.json', lambda arch: extract_subnet(net, arch), net.space, (3, 32, 32), LatencySettings()
    )


def _sharings(rates: dict, seeds: list[int], folder: Path) -> dict[str, list[dict]]:
    """Accuracies on the test images of the same sub-networks of every arm and seed."""

    def measured(arm: str, seed: int) -> dict:
        return _sharing(_supernet(arm, rates[arm], seed, folder), seed, folder)

    jobs, rows = _trained(seeds), {arm: [] for arm in ARMS}
    for (arm, _), row in zip(jobs, side_by_side(measured, *zip(*jobs, strict=True), processes=PROCESSES), strict=True):
        rows[arm].append(row)
    return rows


def _sharing(training: Training, seed: int, folder: Path) -> dict:
    def measure() -> dict:
        net = _net(training)
        parameters = sum(parameter.numel() for parameter in net.parameters())
        accuracies = inherited(net, _candidates(CANDIDATES), _split('test', folder))
        return dict(seed=seed, accuracies=accuracies, parameters=parameters)

    return kept(training.work_dir / 'subnets.json', measure)


def _searches(rate: float, seed: int, budgets: Sequence[str], table: LatencyTable, folder: Path) -> dict:
    """By budget and strategy: the best network, its validation and its inherited test accuracy, its costs."""
    training = _supernet('entangled', rate, seed, folder)

    def search() -> dict:
        net, val, test = _net(training), _split('val', folder), _split('test', folder)
        costs = dict(latency=table.as_cost(net.space))
        costs['params'] = growing_cost(lambda archs: np.array([net.count_params(arch) for arch in archs], float), net.space)
        found: dict[str, dict] = dict(seed=seed)
        for budget in budgets:
            bests = dict(uniform=UNIFORM)
            for strategy in ('evolution', 'random'):
                bests[strategy] = _best(net, strategy, budget, costs[budget], val, seed)
            archs = list(bests.values())
            figures = zip(bests, archs, inherited(net, archs, val), inherited(net, archs, test), strict=True)
            found[budget] = {
                name: dict(
                    arch=arch,
                    validation=validation,
                    test=tested,
                    **{cost: float(of.of([arch])[0]) for cost, of in costs.items()},
                )
                for name, arch, validation, tested in figures
            }
        return found

    return kept(training.work_dir / 'searches.json', search)


def _best(net: nn.Module, strategy: str, budget: str, cost: Cost, split: dict, seed: int) -> dict:
    """What a search finds that costs at most as much as the uniform network."""
    most = float(cost.of([UNIFORM])[0])
    budgets = Budgets({budget: ((1 - SLACK) * most, most)}, {budget: cost})
    search = Evolution(net.space, budgets, EvolutionSettings(strategy=strategy, **SEARCH), seed)
    while not search.finished and (pending := search.propose()):
        search.tell(inherited(net, pending, split))
    return search.best(1)[0].arch


def _named(row: dict) -> dict[str, dict]:
    """The networks of the measured latency that are trained alone."""
    return {name: row['latency'][name]['arch'] for name in ALONE_NAMES}


def _alone_accuracy(training: Training) -> float:
    """The last validation, which is that of the test images."""
    newest = max(training.work_dir.glob('*/vis_data/scalars.json'))
    lines = map(json.loads, newest.read_text(encoding='utf-8').splitlines())
    return [line['accuracy/top1'] for line in lines if 'accuracy/top1' in line][-1]


def _ranking(trainings: list[Training], rates: dict, seed: int, folder: Path) -> dict:
    alone, archs, split = list(map(_alone_accuracy, trainings)), _from_cheap_to_dear(), _split('test', folder)

    def measured(arm: str) -> dict:
        training = _supernet(arm, rates[arm], seed, folder)
        values = kept(training.work_dir / 'ranking.json', lambda: inherited(_net(training), archs, split))
        return dict(inherited=values, **rank_correlation(values, alone))

    return dict(alone=alone, arms=dict(zip(ARMS, side_by_side(measured, ARMS, processes=PROCESSES), strict=True)))


def _verdicts(rows: dict) -> dict:
    means = {arm: np.array([np.mean(row['accuracies']) for row in runs]) for arm, runs in rows['sharing'].items()}

    def alone(name: str) -> np.ndarray:
        return np.array([row[name] for row in rows['standalone']])

    def validation(name: str) -> np.ndarray:
        return np.array([row['latency'][name]['validation'] for row in rows['searches']])

    gaps = {
        f'30 sub-networks: entangled - {arm}': over_seeds(means['entangled'][: len(means[arm])] - means[arm])
        for arm in ('classical', LONG)
    }
    gaps['trained alone: evolution - uniform'] = over_seeds(alone('evolution') - alone('uniform'))
    gaps['validation: evolution - random'] = over_seeds(validation('evolution') - validation('random'))
    sharing, found = gaps['30 sub-networks: entangled - classical'], gaps['trained alone: evolution - uniform']
    search, kendall = gaps['validation: evolution - random'], rows['ranking']['arms']['entangled']['kendall']
    every = 'above 0 in every seed'
    statements = [
        dict(
            statement='entangled above classical sharing at equal steps',
            threshold=f'{THRESHOLDS["sharing"]:g} or more in every seed',
            seen=seen(sharing),
            holds=min(sharing['values']) >= THRESHOLDS['sharing'],
        ),
        dict(
            statement='inherited accuracy ranks networks',
            threshold='interval of tau above 0',
            seen=_tau(kendall),
            holds=kendall['low'] > 0,
        ),
        dict(
            statement='found above the uniformly scaled network of the same latency, both trained alone',
            threshold=every,
            seen=seen(found),
            holds=min(found['values']) > 0,
        ),
        dict(
            statement='evolution above random search of as many evaluations',
            threshold=every,
            seen=seen(search),
            holds=min(search['values']) > 0,
        ),
    ]
    return dict(thresholds=THRESHOLDS, gaps=gaps, statements=[dict(row, holds=bool(row['holds'])) for row in statements])


def _tau(row: dict) -> str:
    return f'{row["value"]:.2f} ({row["low"]:.2f} to {row["high"]:.2f})'


def table(result: dict) -> str:
    """The result as the Markdown tables of the paper's page."""
    rows = result['rows']
    lines = ['| sharing | parameters stored | mean of 30 sub-networks | Kendall tau with stand-alone |', '|---|---|---|---|']
    for arm, runs in rows['sharing'].items():
        tau = rows['ranking']['arms'][arm]['kendall']
        means = cell([float(np.mean(row['accuracies'])) for row in runs])
        lines.append(
            f'| {arm} | {runs[0]["parameters"]:,} | {means} | {tau["value"]:.2f} ({tau["low"]:.2f} to {tau["high"]:.2f}) |'
        )
    alone, own = np.mean(rows['ranking']['alone']), np.mean(rows['ranking']['arms']['entangled']['inherited'])
    lines += [
        '',
        f'Ten networks from cheap to dear: {own:.1f} with inherited (entangled) weights, {alone:.1f} trained alone for '
        f'{result["settings"]["alone_epochs"]} epochs.',
        '',
    ]
    lines += ['| budget | network | latency, ms | parameters | inherited | trained alone |', '|---|---|---|---|---|---|']
    for budget in BUDGETS:
        for name in ('uniform', 'random', 'evolution'):
            found = [row[budget][name] for row in rows['searches'] if budget in row]
            cells = [cell([row['latency'] for row in found]), f'{np.mean([row["params"] for row in found]):,.0f}']
            cells += [cell([row['test'] for row in found])]
            trained = budget == 'latency' and name in ALONE_NAMES
            cells += [cell([row[name] for row in rows['standalone']]) if trained else '']
            lines.append(f'| {budget} | {name} | {" | ".join(cells)} |')
    return '\n'.join(
        lines
        + gap_lines(result['verdicts']['gaps'], 'difference of accuracy')
        + statement_lines(result['verdicts']['statements'])
    )


def draw(result: dict, file: Path) -> None:
    """Accuracy of the sub-networks by sharing, and inherited against stand-alone accuracy."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout='constrained')
    left, right = figure.subplots(1, 2)
    for place, runs in enumerate(result['rows']['sharing'].values()):
        values = np.concatenate([row['accuracies'] for row in runs])
        left.scatter(np.full(len(values), place) + np.linspace(-0.15, 0.15, len(values)), values, s=8, alpha=0.5)
        left.hlines(values.mean(), place - 0.3, place + 0.3, color='black')
    left.set_xticks(range(len(ARMS)), list(ARMS), fontsize=8)
    left.set(ylabel='test accuracy (%)', title='30 sub-networks, weights shared in training')
    ranking = result['rows']['ranking']
    for arm, row in ranking['arms'].items():
        right.scatter(row['inherited'], ranking['alone'], label=arm, s=18)
    right.set(xlabel='inherited (%)', ylabel='trained alone (%)', title='ten networks, from cheap to dear')
    right.legend(fontsize=8, loc='upper center', bbox_to_anchor=(0.5, -0.18), ncol=len(ARMS))  # beside no dot
    for axis in (left, right):
        axis.spines[['top', 'right']].set_visible(False)
    figure.savefig(file, dpi=110)


def publish(result: dict) -> None:
    """The tables and the figure of the page."""
    draw(result, ROOT / 'docs' / 'autoformer_cifar10.png')
    replace_part(CONFIGS / 'README.md', 'measured on CIFAR-10', table(result))
