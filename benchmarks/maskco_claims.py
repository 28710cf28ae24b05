"""MaskCo in miniature: where views of an image need not show one thing, is contrastive mask prediction better than MoCo v2?

Scenes of four digits on photographs (DigitScenes; made by us, says nothing about ImageNet or COCO). All arms see the same
images with the same budget, through tools/train.py; the frozen features of the digits' boxes are then probed. Plain
region contrast is an arm, since it tells what region matching alone gives.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import default_collate
from mmengine.registry import DefaultScope

from openmsra.apis import init_model
from openmsra.core.launch import load_config
from openmsra.registry import DATASETS, METRICS

ROOT = Path(__file__).resolve().parents[1]
ARMS = {'MoCo v2': 'mocov2', 'MaskCo': 'maskco', 'MaskCo without its head': 'maskco-nomph', 'region contrast': 'regionco'}
RANDOM = 'random weights'
THRESHOLDS = dict(trained_over_random=5.0, maskco_over_moco=2.0)  # points of the linear region probe


def run(seeds: list[int], processes: int, folder: Path) -> dict:
    """All runs; accuracies in percent."""
    jobs = [(arm, seed) for seed in seeds for arm in ARMS]
    with ThreadPoolExecutor(processes) as pool:
        for number, _ in enumerate(pool.map(lambda job: _train(*job, folder), jobs), start=1):
            print(f'{number}/{len(jobs)} runs', flush=True)
    probes = {arm: [_probe(arm, seed, folder) for seed in seeds] for arm in (RANDOM, *ARMS)}
    return dict(settings=dict(seeds=seeds, thresholds=THRESHOLDS, configs={arm: _config(arm).name for arm in ARMS}),
                probes=probes, verdicts=_verdicts(probes))  # fmt: skip


def _config(arm: str) -> Path:
    return ROOT / 'configs' / 'maskco' / f'{ARMS.get(arm, "mocov2")}_r18-tiny_1xb64-15e_digits_mini.py'


def _work_dir(arm: str, seed: int, folder: Path) -> Path:
    return folder / f'{ARMS[arm]}_seed{seed}'


def _train(arm: str, seed: int, folder: Path) -> None:
    work_dir = _work_dir(arm, seed, folder)
    if (work_dir / 'epoch_15.pth').exists():
        return
    command = [sys.executable, 'tools/train.py', str(_config(arm)), '--work-dir', str(work_dir), '--seed', str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'{command} failed:\n{done.stderr[-3000:]}')


@torch.inference_mode()
def _probe(arm: str, seed: int, folder: Path) -> dict[str, float]:
    torch.manual_seed(seed)
    config = _config(arm)
    model = init_model(config, None if arm == RANDOM else _work_dir(arm, seed, folder) / 'epoch_15.pth')
    settings = load_config(config).val_dataloader
    with DefaultScope.overwrite_default_scope('openmsra'):
        dataset, metric = DATASETS.build(settings.dataset), METRICS.build(dict(type='FrozenProbe'))
    for start in range(0, len(dataset), settings.batch_size):
        rows = [dataset[i] for i in range(start, min(start + settings.batch_size, len(dataset)))]
        metric.process({}, model.val_step(default_collate(rows)))
    return dict(seed=seed, **metric.compute_metrics(metric.results))


def _verdicts(probes: dict) -> dict:
    """The statements with their thresholds, on differences paired by seed."""
    linear = {arm: np.array([row['region_linear'] for row in rows]) for arm, rows in probes.items()}
    gains = {arm: linear[arm] - linear[RANDOM] for arm in ARMS}
    pairs = {
        'MaskCo - MoCo v2': linear['MaskCo'] - linear['MoCo v2'],
        'MaskCo - without its head': linear['MaskCo'] - linear['MaskCo without its head'],
        'region contrast - MaskCo': linear['region contrast'] - linear['MaskCo'],
    }
    verdicts = {name: dict(mean=float(gap.mean()), spread=_spread(gap)) for name, gap in pairs.items()}
    ahead = verdicts['MaskCo - MoCo v2']
    return dict(
        verdicts,
        every_arm_is_trained=bool(min(gain.mean() for gain in gains.values()) >= THRESHOLDS['trained_over_random']),
        maskco_beats_moco=bool(ahead['mean'] >= THRESHOLDS['maskco_over_moco'] and ahead['mean'] > ahead['spread']),
        gain_is_region_matching=bool(verdicts['region contrast - MaskCo']['mean'] >= 0),
    )


def _spread(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def table(result: dict) -> str:
    """The result as the Markdown tables of the paper's page."""
    lines = ['| arm | region, linear | region, 5-NN |', '|---|---|---|']
    for arm, rows in result['probes'].items():
        cells = [np.array([row[key] for row in rows]) for key in ('region_linear', 'region_knn')]
        lines.append(f'| {arm} | ' + ' | '.join(f'{cell.mean():.1f} ± {_spread(cell):.1f}' for cell in cells) + ' |')
    lines += ['', '| difference, paired by seed | linear region probe |', '|---|---|']
    lines += [f'| {name} | {gap["mean"]:+.1f} ± {gap["spread"]:.1f} |' for name, gap in result['verdicts'].items()
              if isinstance(gap, dict)]  # fmt: skip
    return '\n'.join(lines)


def draw(result: dict, file: Path) -> None:
    """Bars of the mean, one dot a seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout='constrained')
    axis = figure.subplots()
    for place, (arm, rows) in enumerate(result['probes'].items()):
        values = [row['region_linear'] for row in rows]
        axis.bar(place, np.mean(values), color='0.7' if arm == RANDOM else 'C0', width=0.6)
        axis.scatter([place] * len(values), values, color='black', s=14, zorder=2)
        axis.annotate(f'{np.mean(values):.1f}', (place, max(values) + 1), ha='center')
    axis.set_xticks(range(len(result['probes'])), list(result['probes']), fontsize=8)
    axis.set(ylabel='linear region probe, accuracy (%)', title='Four digits on photographs; frozen features')
    axis.axhline(10, color='0.4', linestyle=':', linewidth=1)
    axis.spines[['top', 'right']].set_visible(False)
    figure.savefig(file, dpi=110)
