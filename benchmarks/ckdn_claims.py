"""CKDN in miniature, on photographs: what does a degraded reference bring, and what the pristine one in training?

Patches of photographs are degraded in four ways and restored in eight; the label of a version is its rank by SSIM among the
versions of one degraded patch. No human looked at them. Photographs and restorers of the test are unseen in training.

    arms     SRCC within the versions of one degraded patch, mean over the patches, for each way of training
    FR given D   the full-reference arm with the degraded patch at test: the failure that motivates the paper
    version oracle, constant   predictors that look at no image

Every run is one of tools/train.py with the mini config; an arm changes the options below and nothing else.
"""

import re
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from benchmarks.ckdn_pretraining import pretrain
from benchmarks.training import Training, train_all
from openmsra.apis import init_model
from openmsra.ckdn.data.degrade import LEVELS
from openmsra.ckdn.metrics import correlations, version_oracle
from openmsra.ckdn.report.compare import paired_bootstrap
from openmsra.engine.config.files import load_config
from openmsra.registry import DATASETS

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/ckdn/ckdn_r18_1xb64-4e_photos_mini.py'
LAST = 'epoch_4.pth'
FEW = {'train_dataloader.dataset.labelled_patches': 36}  # of 288
OFFICIAL = {'model.loss.kd_weight': 30.0, 'model.loss.kd_power': 2}
ARMS: dict[str, dict[str, object]] = {
    'no reference': {'model.reference': 'none'},
    'DR': {'model.distil': False},
    'DR + pristine score': {'model.loss.kd_weight': 0.0},
    'full reference': {'model.reference': 'pristine'},
    'CKDN, power 1': {},
    'CKDN, official recipe': {**OFFICIAL, 'custom_hooks.0.rank_epochs': 1, 'model.imagenet_weights': '{pretrained}'},
    'CKDN, official loss': OFFICIAL,
    'DR + pristine score, 1/8 of the labels': {'model.loss.kd_weight': 0.0, **FEW},
    'CKDN, power 1, 1/8, extra pairs': {**FEW, 'train_dataloader.dataset.extra_pairs': True},
    'CKDN, power 1, detached': {'model.detach': 'pristine'},
}
SWAPPED, ORACLE = 'full reference given D', 'version oracle'
# first arm, second arm, least difference that is claimed: fixed before the runs
COMPARED = [('DR', 'no reference', 0.05), ('full reference', 'DR', 0.10), ('DR', SWAPPED, 0.10),
            ('DR + pristine score', 'DR', 0.05), ('CKDN, power 1', 'DR', 0.05), ('CKDN, official loss', 'no reference', 0.05),
            ('CKDN, power 1', 'DR + pristine score', 0.0), ('CKDN, power 1, detached', 'DR + pristine score', 0.0),
            ('CKDN, official loss', 'DR + pristine score', 0.0),
            ('CKDN, official recipe', 'CKDN, official loss', 0.0),
            ('CKDN, power 1, 1/8, extra pairs', 'DR + pristine score, 1/8 of the labels', 0.0)]  # fmt: skip


def run(seeds: list[int], processes: int, folder: Path) -> dict:
    """All runs; SRCC of each arm and seed, and paired comparisons over the pristine patches of the test."""
    config = load_config(ROOT / CONFIG)
    archive, start = config.train_dataloader.dataset.archive, folder / 'pretrained.pth'
    data = DATASETS.build(dict(type='RestoredPhotos', archive=archive, split='train', pipeline=[]))  # once, before the runs
    if not start.exists():
        accuracy = pretrain(data.pixels, config.model.depth, config.model.base_channels, start)
        print(f'pre-trained start: {100 * accuracy:.0f} % of the training patches assigned to their photograph', flush=True)
    train_all([_training(arm, seed, folder, start) for arm in ARMS for seed in seeds], processes)
    scores: dict[str, dict[str, list[np.ndarray]]] = {split: {} for split in ('val', 'test')}
    for split, table in scores.items():
        for arm in ARMS:
            table[arm] = [_srcc(arm, seed, folder, split) for seed in seeds]
        table[SWAPPED] = [_srcc('full reference', seed, folder, split, reference='degraded') for seed in seeds]
    oracle = _oracle(archive)
    return dict(
        settings=dict(config=CONFIG, arms=ARMS, seeds=seeds, patches=len(oracle)),
        srcc={
            split: {arm: [float(values.mean()) for values in rows] for arm, rows in table.items()}
            for split, table in scores.items()
        },
        image_blind={ORACLE: float(oracle.mean()), 'constant': None},
        comparisons=[_compared(*row, scores['test']) for row in COMPARED],
    )


def _training(arm: str, seed: int, folder: Path, start: Path) -> Training:
    options = {key: value.format(pretrained=start) if isinstance(value, str) else value for key, value in ARMS[arm].items()}
    return Training(CONFIG, _work_dir(arm, seed, folder), seed, options)


def _work_dir(arm: str, seed: int, folder: Path) -> Path:
    return folder / f'{re.sub("[^A-Za-z0-9]+", "_", arm)}_seed{seed}'


@torch.inference_mode()
def _srcc(arm: str, seed: int, folder: Path, split: str, reference: str | None = None) -> np.ndarray:
    """SRCC within each degraded patch of a split; 0 for patches that an arm scores alike."""
    work_dir = _work_dir(arm, seed, folder)
    model = init_model(ROOT / CONFIG, work_dir / LAST, cfg_options=ARMS[arm])
    reference = reference or ('pristine' if arm == 'full reference' else 'degraded')
    cfg = dict(model.cfg.test_dataloader.dataset.to_dict(), split=split, reference=reference)
    with DefaultScope.overwrite_default_scope('openmsra'):
        loader = DataLoader(DATASETS.build(cfg), 256, collate_fn=pseudo_collate)
    rows: dict[str, list[tuple[float, float]]] = {}
    for batch in loader:
        if arm == 'full reference':
            batch['inputs']['pristine'] = batch['inputs']['degraded']
        for sample in model.test_step(batch):
            rows.setdefault(sample.scene, []).append((sample.pred_score, sample.gt_score))
    figures = [correlations(*np.array(group).T) for _, group in sorted(rows.items())]
    return np.array([figure['SRCC'] if figure else 0.0 for figure in figures])


def _compared(first: str, second: str, least: float, srcc: dict[str, list[np.ndarray]]) -> dict:
    """Difference of two arms by seed; the interval is over the pristine patches, of the means over seeds and degradations."""
    by_seed = [float((a - b).mean()) for a, b in zip(srcc[first], srcc[second], strict=True)]
    patches = [np.mean(srcc[arm], axis=0).reshape(-1, len(LEVELS)).mean(1) for arm in (first, second)]
    result = dict(first=first, second=second, by_seed=by_seed, **paired_bootstrap(*patches), least=least)
    return dict(result, holds=result['difference'] >= least and result['low'] > 0)


def _oracle(archive: str) -> np.ndarray:
    dataset = DATASETS.build(dict(type='RestoredPhotos', archive=archive, split='test', pipeline=[]))
    rows = [
        dict(scene=row['scene'], version=row['version'], target=row['gt_score'])
        for row in map(dataset.get_data_info, range(len(dataset)))
    ]
    groups: dict[str, list[tuple[float, float]]] = {}
    for row, score in zip(rows, version_oracle(rows), strict=True):
        groups.setdefault(row['scene'], []).append((score, row['target']))
    return np.array([(correlations(*np.array(group).T) or dict(SRCC=0.0))['SRCC'] for group in groups.values()])


def table(result: dict) -> str:
    """The figures as the Markdown tables of the paper's page."""

    def cell(values: list[float]) -> str:
        return f'{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=min(1, len(values) - 1)):.1f}'

    srcc = result['srcc']
    lines = ['| SRCC x 100, mean ± spread over seeds | unseen photographs | unseen photographs and restorers |', '|---|---|---|']
    lines += [f'| {arm} | {cell(srcc["val"][arm])} | {cell(values)} |' for arm, values in srcc['test'].items()]
    lines += [f'| {ORACLE} (sees no image) | | {100 * result["image_blind"][ORACLE]:.1f} |', '| constant | | undefined |', '']
    lines += ['| difference, unseen photographs and restorers | mean (95 % interval) | claimed | |', '|---|---|---|---|']
    for row in result['comparisons']:
        gap, low, high, least = (100 * row[key] for key in ('difference', 'low', 'high', 'least'))
        claimed = f'at least {least:.0f}' if least else 'above 0'
        lines.append(
            f'| {row["first"]} - {row["second"]} | {gap:+.1f} ({low:+.1f} to {high:+.1f}) | {claimed} | '
            f'{"holds" if row["holds"] else "does not hold"} |'
        )
    return '\n'.join(lines)


def draw(result: dict, file: Path) -> None:
    """Every arm with its seeds, on unseen restorers of unseen photographs."""
    import matplotlib.pyplot as plt

    arms = sorted(result['srcc']['test'], key=lambda arm: np.mean(result['srcc']['test'][arm]))
    figure, axis = plt.subplots(figsize=(8, 4.2), layout='constrained')
    for y, arm in enumerate(arms):
        values = result['srcc']['test'][arm]
        axis.barh(y, np.mean(values), color='#c8d6e5' if arm.startswith('full') else '#7fa3c7')
        axis.plot(values, [y] * len(values), 'k.', markersize=5)
    axis.axvline(result['image_blind'][ORACLE], color='#b03a2e', linestyle='--', label='version oracle (sees no image)')
    axis.set_yticks(range(len(arms)), arms)
    axis.set(xlabel='SRCC within one degraded patch (dots: seeds)', title='Unseen photographs, unseen restorers')
    figure.legend(loc='outside upper right', frameon=False)
    axis.spines[['top', 'right']].set_visible(False)
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, dpi=130)
    plt.close(figure)
