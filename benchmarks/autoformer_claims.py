"""AutoFormer in miniature, on real digits: is weight entanglement better than classical sharing, and are inherited
weights good enough to choose architectures by?

    sharing      mean test accuracy of 30 random sub-networks with inherited weights, over training: entangled and
                 classical at equal iterations, classical at four times as many
    search       evolution against random search, equal evaluations, the same parameter budget, in a larger space (in
                 that of the other rows 160 evaluations see nearly all that the budget allows)
    retraining   sub-networks trained alone for as many iterations, against their inherited accuracy

Every run goes through tools/train.py; nothing was tuned on one side only (the settings are the digits config's).
"""

import itertools
from pathlib import Path

import numpy as np
import torch

from benchmarks.training import Training, train_all
from openmsra.apis import init_model
from openmsra.autoformer import arch_rng
from openmsra.autoformer.search.budgets import Budgets, growing_cost
from openmsra.autoformer.search.evolution import Evolution, EvolutionSettings
from openmsra.autoformer.search.ranking import rank_correlation
from openmsra.miniatures.digits import Digits

ROOT = Path(__file__).resolve().parents[1]
SUPERNET = 'configs/autoformer/autoformer_supernet_1xb32-45e_digits_mini.py'
ALONE = 'configs/autoformer/autoformer_vit_1xb32-45e_digits_mini.py'
EPOCHS, SAVED = 45, 9  # training length, epochs between checkpoints
ARMS = {'entangled': ('entangled', 1), 'classical': ('classical', 1), 'classical, 4 x iterations': ('classical', 4)}
CANDIDATES, RETRAINED = 30, 10
WIDE_SPACE = dict(depth=[4, 5, 6], mlp_ratio=[1.0, 1.5, 2.0])  # some 1.8 million architectures
BUDGET = (16_000, 22_000)
SEARCH = dict(generations=8, population=20, parents=5, mutations=10, crossovers=10)


def run(seeds: list[int], processes: int, folder: Path) -> dict:
    """All runs; accuracies in percent."""
    trainings = [_supernet(arm, seed, folder) for seed in seeds for arm in ARMS]
    trainings += [_wide(seed, folder) for seed in seeds]
    trainings += [_alone(i, seed, folder) for seed in seeds for i in range(RETRAINED)]
    train_all(trainings, processes)
    splits = {name: _split(name) for name in ('val', 'test')}
    return dict(
        settings=dict(
            epochs=EPOCHS,
            candidates=CANDIDATES,
            retrained=RETRAINED,
            budget=BUDGET,
            search=SEARCH,
            wide_space=WIDE_SPACE,
            seeds=seeds,
        ),
        sharing={arm: [_sharing(arm, seed, folder, splits) for seed in seeds] for arm in ARMS},
        search=[_searches(seed, folder, splits) for seed in seeds],
        retraining=[_retraining(seed, folder, splits) for seed in seeds],
    )


def _supernet(arm: str, seed: int, folder: Path) -> Training:
    sharing, factor = ARMS[arm]
    return _training(SUPERNET, _folder(folder, arm, seed), seed, factor, {'model.sharing': sharing})


def _wide(seed: int, folder: Path) -> Training:
    options = {f'model.space.{key}': value for key, value in WIDE_SPACE.items()}
    return _training(SUPERNET, _folder(folder, 'wide', seed), seed, 1, options)


def _alone(index: int, seed: int, folder: Path) -> Training:
    options = {f'model.arch.{key}': value for key, value in _arch(index).items()}
    return _training(ALONE, _folder(folder, f'alone{index}', seed), seed, 1, options)


def _training(config: str, work_dir: Path, seed: int, factor: int, options: dict) -> Training:
    epochs = EPOCHS * factor
    schedule = {
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': epochs,
        'default_hooks.checkpoint.interval': SAVED * factor,
        'default_hooks.checkpoint.max_keep_ckpts': -1,
        'param_scheduler.0.end': 2 * factor,
        'param_scheduler.1.begin': 2 * factor,
        'param_scheduler.1.end': epochs,
    }
    return Training(config, work_dir, seed, options | schedule)


def _folder(folder: Path, arm: str, seed: int) -> Path:
    return folder / f'{arm.replace(" ", "_").replace(",", "")}_seed{seed}'


def _arch(index: int) -> dict:
    """The random candidates, the same in every arm and for every seed."""
    from openmsra.autoformer import SearchSpace
    from openmsra.engine.config.files import load_config

    return SearchSpace.from_config(load_config(ROOT / SUPERNET).model.space.to_dict()).sample(arch_rng(1000, index))


def _split(name: str) -> dict:
    dataset = Digits(split=name, pipeline=[])
    images = torch.stack([torch.from_numpy(sample['img']) for sample in dataset]).permute(0, 3, 1, 2).float()
    return dict(images=(images - 4.8) / 6.08, labels=torch.tensor([sample['gt_label'] for sample in dataset]))


def _load(arm: str, seed: int, folder: Path, epoch: int):
    checkpoint = _folder(folder, arm, seed) / f'epoch_{epoch}.pth'
    return init_model(ROOT / SUPERNET, checkpoint, cfg_options={'model.sharing': ARMS[arm][0]})


@torch.inference_mode()
def _accuracy(net, split: dict) -> float:
    classes = torch.cat([net(images).argmax(1) for images in split['images'].split(50)])
    return 100 * (classes == split['labels']).float().mean().item()


def inherited(net, archs: list[dict], split: dict) -> list[float]:
    """Accuracy in percent of each architecture with the weights of the supernet on ``images`` and ``labels`` of a split."""
    accuracies = []
    for arch in archs:
        net.set_subnet(arch)
        accuracies.append(_accuracy(net, split))
    return accuracies


def _sharing(arm: str, seed: int, folder: Path, splits: dict) -> dict:
    factor, archs, curve = ARMS[arm][1], [_arch(i) for i in range(CANDIDATES)], []
    for epoch in range(SAVED * factor, EPOCHS * factor + 1, SAVED * factor):
        net = _load(arm, seed, folder, epoch)
        curve.append([epoch * 31, float(np.mean(inherited(net, archs, splits['test'])))])
    final = inherited(net, archs, splits['test'])
    return dict(
        seed=seed,
        curve=curve,
        mean=float(np.mean(final)),
        spread=float(np.std(final)),
        lowest=min(final),
        parameters=sum(p.numel() for p in net.parameters()),
    )


def _searches(seed: int, folder: Path, splits: dict) -> dict:
    options, found = {f'model.space.{key}': value for key, value in WIDE_SPACE.items()}, {}
    net = init_model(ROOT / SUPERNET, _folder(folder, 'wide', seed) / f'epoch_{EPOCHS}.pth', cfg_options=options)
    cost = growing_cost(lambda archs: np.array([net.count_params(arch) for arch in archs], float), net.space)
    for strategy in ('evolution', 'random'):
        settings = EvolutionSettings(strategy=strategy, **SEARCH)
        search = Evolution(net.space, Budgets(dict(params=BUDGET), dict(params=cost)), settings, seed)
        while not search.finished and (pending := search.propose()):
            search.tell(inherited(net, pending, splits['val']))
        best = search.best(1)[0]
        scores = [scored.score for scored in search.history]
        found[strategy] = dict(
            mean=float(np.mean(scores)),
            validation=best.score,
            test=inherited(net, [best.arch], splits['test'])[0],
            evaluations=len(scores),
            params=net.count_params(best.arch),
            arch=best.arch,
        )
    return dict(seed=seed, **found)


def _retraining(seed: int, folder: Path, splits: dict) -> dict:
    archs = [_arch(i) for i in range(RETRAINED)]
    alone = []
    for i, arch in enumerate(archs):
        checkpoint = _folder(folder, f'alone{i}', seed) / f'epoch_{EPOCHS}.pth'
        options = {f'model.arch.{key}': value for key, value in arch.items()}
        alone.append(_accuracy(init_model(ROOT / ALONE, checkpoint, cfg_options=options), splits['test']))
    rows = {}
    for arm in ARMS:
        chosen = inherited(_load(arm, seed, folder, EPOCHS * ARMS[arm][1]), archs, splits['val'])
        tested = inherited(_load(arm, seed, folder, EPOCHS * ARMS[arm][1]), archs, splits['test'])
        rows[arm] = dict(inherited_validation=chosen, inherited_test=tested, rank=rank_correlation(chosen, alone))
    return dict(seed=seed, alone_test=alone, arms=rows)


def table(result: dict) -> str:
    """The result as the Markdown tables of the paper's page."""
    lines = [
        '| sharing | parameters stored | mean of 30 sub-networks | lowest | retrained minus inherited | Kendall tau |',
        '|---|---|---|---|---|---|',
    ]
    for arm, runs in result['sharing'].items():
        gaps = [np.mean(r['alone_test']) - np.mean(r['arms'][arm]['inherited_test']) for r in result['retraining']]
        taus = [r['arms'][arm]['rank']['kendall']['value'] for r in result['retraining']]
        means, lows = [r['mean'] for r in runs], [r['lowest'] for r in runs]
        lines.append(f'| {arm} | {runs[0]["parameters"]:,} | {_pm(means)} | {_pm(lows)} | {_pm(gaps)} | {_pm(taus, 2)} |')
    lines += ['', '| search | evaluations | mean of all | validation of the best | its test accuracy |', '|---|---|---|---|---|']
    for strategy in ('evolution', 'random'):
        runs = [r[strategy] for r in result['search']]
        columns = [_pm([run[key] for run in runs]) for key in ('mean', 'validation', 'test')]
        lines.append(f'| {strategy} | {runs[0]["evaluations"]} | {" | ".join(columns)} |')
    return '\n'.join(lines)


def _pm(values: list[float], digits: int = 1) -> str:
    return f'{np.mean(values):.{digits}f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.{digits}f}'


def draw(result: dict, file: Path) -> None:
    """Accuracy of the 30 sub-networks over training; one thin line a seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout='constrained')
    axis = figure.subplots()
    for (arm, runs), colour in zip(result['sharing'].items(), itertools.cycle(('C0', 'C3', 'C1')), strict=False):
        curves = np.array([run['curve'] for run in runs])
        axis.plot(curves[:, :, 0].T, curves[:, :, 1].T, color=colour, alpha=0.35, linewidth=1)
        axis.plot(curves[0, :, 0], curves[:, :, 1].mean(0), color=colour, marker='o', label=arm)
    axis.set(xlabel='iteration', ylabel='test top-1 of 30 random sub-networks (%)', xscale='log')
    ticks = [300, 600, 1200, 2400, 4800]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.legend(title='weight sharing')
    figure.savefig(file, dpi=130)
