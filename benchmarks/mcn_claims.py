"""MCN in miniature: where motion is the class and appearance is not, does adapting in two stages help contrastive learning?

Cut-outs of photographs move over drifting photographs (MovingPatches; made by us, says nothing about UCF101). All arms see
the same clips in the same number of steps, through tools/train.py. Frozen features are judged by retrieval and a linear probe,
and the whole network by what a few labelled videos make of it in a few steps, which is what meta-learning is about.
"""

import copy
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from torch import nn

from benchmarks.training import Training, seeded_model, train_all
from openmsra.engine.config.files import load_config
from openmsra.registry import DATASETS

ROOT = Path(__file__).resolve().parents[1]
ARMS = {'contrast': 'contrastive', 'contrast + meta branch': 'multitask', 'MCN, first order': 'mcn-first', 'MCN': 'mcn'}
RANDOM = 'random weights'
FIGURES = {'R@1': 'retrieval R@1', 'probe': 'linear probe', 'few_shot': '5-shot, 15 steps'}
SHOTS, STEPS, RATE, DRAWS = 5, 15, 3e-3, 3  # labelled videos a class, Adam steps, their rate, draws of the videos
THRESHOLDS = dict(trained_over_random=5.0, mcn_over_contrast=2.0)  # points


def run(seeds: list[int], processes: int, folder: Path) -> dict:
    """All runs; figures in percent."""
    train_all([_training(arm, seed, folder) for seed in seeds for arm in ARMS], processes)
    rows = {arm: [_judge(arm, seed, folder) for seed in seeds] for arm in (RANDOM, *ARMS)}
    curves = {arm: [_curve(arm, seed, folder) for seed in seeds] for arm in ARMS}
    settings = dict(
        seeds=seeds,
        thresholds=THRESHOLDS,
        shots=SHOTS,
        steps=STEPS,
        rate=RATE,
        draws=DRAWS,
        configs={arm: _config(arm).name for arm in ARMS},
    )
    return dict(settings=settings, rows=rows, curves=curves, verdicts=_verdicts(rows))


def _config(arm: str) -> Path:
    return ROOT / 'configs' / 'mcn' / f'{ARMS.get(arm, "contrastive")}_tiny_1xb32-8e_motions_mini.py'


def _work_dir(arm: str, seed: int, folder: Path) -> Path:
    return folder / f'{ARMS[arm]}_seed{seed}'


def _training(arm: str, seed: int, folder: Path) -> Training:
    return Training(_config(arm), _work_dir(arm, seed, folder), seed)


def _curve(arm: str, seed: int, folder: Path) -> list[dict[str, float]]:
    """What the validation wrote: epoch, R@1 and linear probe."""
    newest = max(_work_dir(arm, seed, folder).glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for line in newest.read_text().splitlines()]
    return [
        dict(epoch=line['step'], R_1=line['retrieval/R@1'], probe=line['retrieval/probe'])
        for line in lines
        if 'retrieval/R@1' in line
    ]


def _judge(arm: str, seed: int, folder: Path) -> dict[str, float]:
    """Final figures of a run; random weights are those from which the runs of this seed start."""
    kept = folder / f'{ARMS.get(arm, "random")}_seed{seed}.json'
    if kept.exists():
        return json.loads(kept.read_text())
    model = seeded_model(_config(arm), seed, None if arm == RANDOM else _work_dir(arm, seed, folder) / 'epoch_8.pth')
    (gallery, labels), (queries, wanted) = _videos(arm)
    row = dict(seed=seed, **_frozen(model, gallery, labels, queries, wanted))
    row['few_shot'] = float(np.mean([_few_shot(model, draw, gallery, labels, queries, wanted) for draw in range(DRAWS)]))
    kept.write_text(json.dumps(row))
    return row


def _videos(arm: str) -> list[tuple[torch.Tensor, np.ndarray]]:
    """Clips (V, C, 3, T, H, W) and labels of gallery and queries."""
    with DefaultScope.overwrite_default_scope('openmsra'):
        sets = [DATASETS.build(settings) for settings in load_config(_config(arm)).val_dataloader.dataset.datasets]
    items = [[part[number] for number in range(len(part))] for part in sets]
    return [
        (torch.stack([item['inputs'] for item in rows]), np.array([item['data_samples'].gt_label for item in rows]))
        for rows in items
    ]


def _features(model: nn.Module, clips: torch.Tensor) -> torch.Tensor:
    """(V, C, 3, T, H, W) to (V, C, D)."""
    inputs = model.data_preprocessor(dict(inputs=clips))['inputs']
    return model.backbone(inputs.flatten(0, 1)).mean((2, 3, 4)).unflatten(0, inputs.shape[:2])


@torch.no_grad()
def _frozen(model, gallery, labels, queries, wanted) -> dict[str, float]:
    from openmsra.common.probes import linear_classifier, normalised, ranking, retrieval_figures

    sides = [torch.cat([_features(model, part).mean(1) for part in clips.split(64)]).numpy() for clips in (gallery, queries)]
    known, asked = (normalised(side, [''] * len(side)) for side in sides)
    figures, _ = retrieval_figures(ranking(asked, known), wanted, labels, (1, 5, 10))
    return dict(figures, probe=100 * float(linear_classifier(1.0).fit(known, labels).score(asked, wanted)))


def _few_shot(model, draw: int, gallery, labels, queries, wanted) -> float:
    """Accuracy after the whole network and a new classifier have taken a few steps on a few videos of each class."""
    rng, model = np.random.default_rng(draw), copy.deepcopy(model)
    chosen = np.concatenate([rng.choice(np.flatnonzero(labels == label), SHOTS, replace=False) for label in np.unique(labels)])
    torch.manual_seed(draw)
    head = nn.Linear(model.backbone.feat_dim, len(np.unique(labels)))
    optimiser = torch.optim.Adam([*model.backbone.parameters(), *head.parameters()], RATE)
    targets = torch.from_numpy(labels[chosen])
    for _ in range(STEPS):
        optimiser.zero_grad()
        logits = head(_features(model, gallery[chosen]))
        F.cross_entropy(logits.flatten(0, 1), targets.repeat_interleave(logits.shape[1])).backward()
        optimiser.step()
    with torch.no_grad():
        scores = torch.cat([head(_features(model, part)).softmax(-1).mean(1) for part in queries.split(64)])
    return 100 * float((scores.argmax(1).numpy() == wanted).mean())


def _verdicts(rows: dict) -> dict:
    """Differences paired by seed, and what follows from them."""
    verdicts = {}
    for base in ('contrast', 'contrast + meta branch', 'MCN, first order'):
        for figure in FIGURES:
            gap = np.array([one[figure] - other[figure] for one, other in zip(rows['MCN'], rows[base], strict=True)])
            verdicts[f'MCN - {base}, {figure}'] = dict(mean=float(gap.mean()), spread=_spread(gap))
    gains = [np.mean([row['R@1'] - start['R@1'] for row, start in zip(rows[arm], rows[RANDOM], strict=True)]) for arm in ARMS]
    ahead = {figure: verdicts[f'MCN - contrast, {figure}'] for figure in FIGURES}
    return dict(
        verdicts,
        every_arm_is_trained=bool(min(gains) >= THRESHOLDS['trained_over_random']),
        mcn_beats_contrast={
            figure: bool(gap['mean'] >= THRESHOLDS['mcn_over_contrast'] and gap['mean'] > gap['spread'])
            for figure, gap in ahead.items()
        },
    )


def _spread(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def table(result: dict) -> str:
    """The result as the Markdown tables of the paper's page."""
    lines = ['| arm | ' + ' | '.join(FIGURES.values()) + ' |', '|---' * (len(FIGURES) + 1) + '|']
    for arm, rows in result['rows'].items():
        cells = [np.array([row[figure] for row in rows]) for figure in FIGURES]
        lines.append(f'| {arm} | ' + ' | '.join(f'{cell.mean():.1f} ± {_spread(cell):.1f}' for cell in cells) + ' |')
    lines += ['', '| difference, paired by seed | |', '|---|---|']
    lines += [
        f'| {name} | {gap["mean"]:+.1f} ± {gap["spread"]:.1f} |'
        for name, gap in result['verdicts'].items()
        if isinstance(gap, dict) and 'mean' in gap
    ]
    return '\n'.join(lines)


def draw(result: dict, file: Path) -> None:
    """Learning curves of retrieval (one line a seed), and bars of the final figures."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout='constrained')
    left, right = figure.subplots(1, 2)
    for number, (arm, curves) in enumerate(result['curves'].items()):
        for seed, curve in enumerate(curves):
            left.plot(
                [point['epoch'] for point in curve],
                [point['R_1'] for point in curve],
                color=f'C{number}',
                linewidth=1,
                marker='o',
                markersize=3,
                label=arm if seed == 0 else None,
            )
    start = np.mean([row['R@1'] for row in result['rows'][RANDOM]])
    left.axhline(start, color='0.5', linestyle='--', linewidth=1, label=RANDOM)
    left.axhline(12.5, color='0.5', linestyle=':', linewidth=1, label='chance')
    left.set(xlabel='epoch', ylabel='retrieval R@1 (%)', title='Learning curves, one line a seed')
    left.legend(fontsize=7)
    width = 0.8 / len(result['rows'])
    for number, (arm, rows) in enumerate(result['rows'].items()):
        places = np.arange(len(FIGURES)) + (number - 2) * width
        values = np.array([[row[name] for name in FIGURES] for row in rows])
        right.bar(places, values.mean(0), width, label=arm, color='0.7' if arm == RANDOM else f'C{number - 1}')
        right.scatter(np.repeat(places[None], len(values), 0), values, color='black', s=8, zorder=2)
    right.set_xticks(range(len(FIGURES)), list(FIGURES.values()))
    right.set(ylabel='%', title='After training, one dot a seed')
    for axis in (left, right):
        axis.spines[['top', 'right']].set_visible(False)
    figure.savefig(file, dpi=110)
