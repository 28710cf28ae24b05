"""FTCN on real faces: does a network without spatial kernels find generators that it was never trained on?

All arms train on real clips of 18 people and on forgeries made from the same clips (openmsra/ftcn/data/forge.py): an ellipse on
the face is replaced, frame by frame, by a warped, recoloured, resampled or compressed copy of the same frame. They are tested on
8 other people, against clips of three talking-head generators (EDTalk, AniPortrait, SadTalker) of other people again. The rate of
each arm is chosen on four of the training people, who take no part in the trainings of the search; then all 18 train. The network
with average pools takes the rate of FTCN. A window has 32 frames of 112 pixels; a video's score is the mean over its windows.

Rows for comparison: random weights, and two statistics of the pixels without any training: sharpness (variance of the Laplacian),
in the direction that does better on the test, which is generous to it, and the mean change between neighbouring frames.

Stated before the runs, in points of AUC of videos, intervals over people:

* the instrument: FTCN and the plain 3D network reach 80 on forgeries of the training's kind of the test people, else nothing is
  compared;
* FTCN - plain 3D on the unseen generators >= 5 on average, above 0 in every seed, interval above 0;
* the same above 0 on average, interval above 0, with every clip blurred down to one sharpness;
* FTCN - plain 2D on the unseen generators above 0 on average, interval above 0;
* FTCN finds more than pixels tell: above the better one of the two statistics, interval above 0;
* the transformer helps: FTCN-TT - FTCN above 0 on average, interval above 0;
* average pools, which see no order statistics of neighbouring pixels, cost at most 5.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

import openmsra.ftcn  # noqa: F401 - registers the parts
from benchmarks.real_data import (
    ROOT,
    at_data,
    cell,
    data_folder,
    gap_lines,
    over_seeds,
    replace_part,
    seen,
    statement_lines,
    train_only,
)
from benchmarks.training import Training, kept, kept_array, seeded_model, side_by_side, train_all
from openmsra.engine.config.files import load_config
from openmsra.ftcn.data.perturb import sharpness
from openmsra.ftcn.metrics import detection_figures, drawn_aucs
from openmsra.registry import DATASETS

CONFIGS = ROOT / 'configs' / 'ftcn'
FTCN, TT, POOLED, PLAIN, FRAMES = 'FTCN', 'FTCN-TT', 'FTCN, average pools', 'plain 3D', 'plain 2D'
ARMS = {
    FRAMES: 'r2d-avg_tiny_1xb8-320i_faces',
    PLAIN: 'r3d-avg_tiny_1xb8-320i_faces',
    FTCN: 'ftcn-avg_tiny_1xb8-320i_faces',
    POOLED: 'ftcn-avg_tiny-meanpool_1xb8-320i_faces',
    TT: 'ftcn-tt_tiny_1xb8-320i_faces',
}
RANDOM, SHARPNESS, CHANGE = 'random weights', 'sharpness alone', 'change between frames alone'
STATISTICS = (SHARPNESS, CHANGE)
STEPS, SEARCH_STEPS, SEARCH_SEED, PROCESSES = 320, 160, 100, 2
RATES = (1e-3, 3e-3, 1e-2)
SEARCHED = (FRAMES, PLAIN, FTCN, TT)  # average pools take the rate of FTCN
CLEAN, SEEN, COHERENT, SOFT = 'unseen generators', 'seen forgeries', 'the same in all frames', 'blurred to one level'
ROBUSTNESS = {'compression': (1, 3, 5), 'blur': (1, 3, 5), 'noise': (1, 3, 5), 'pixelation': (1, 3, 5)}
WINDOWS = {CLEAN: 9, SEEN: 4, COHERENT: 4, SOFT: 4}  # of a video; 2 under perturbations
THRESHOLDS = dict(instrument=80.0, over_plain=5.0, pools=5.0)
MAIN_ARMS = (PLAIN, FTCN, POOLED)
LONGER = dict(lengths=(320, 640), unit='steps', figure='AUC of videos, unseen generators (%)', pair=(FTCN, PLAIN), gain=5.0)


class Windows(NamedTuple):
    """Clips (N, 3, T, H, W) uint8, and of each its video, method, label (1 is forged) and person."""

    clips: Tensor
    videos: np.ndarray
    methods: np.ndarray
    labels: np.ndarray
    people: np.ndarray


class Videos(NamedTuple):
    """What is known of each video, and its score: (V,) each."""

    methods: np.ndarray
    labels: np.ndarray
    people: np.ndarray
    scores: np.ndarray


def run(seeds: list[int], folder: Path) -> dict:
    """All runs; finished ones are read from ``folder``. AUC and rates of found forgeries in percent."""
    folder.mkdir(parents=True, exist_ok=True)
    rates, started = _search(folder), time.time()
    trainings = {arm: [training_of(arm, rates[arm], seed, STEPS, folder) for seed in seeds] for arm in ARMS}
    train_all([training for runs in trainings.values() for training in runs], PROCESSES)
    print(f'trained in {time.time() - started:.0f} s', flush=True)
    level = min(map(sharpness, windows_of('test', WINDOWS[SOFT]).clips.permute(0, 2, 3, 4, 1).numpy()))
    rows, videos = {}, {}
    for name, options in _conditions(level).items():
        windows = windows_of(**options)
        scores = {key: [_statistic(key, windows)] for key in STATISTICS}
        scores |= _scores(name, windows, {RANDOM: seeds} | trainings, folder)
        videos[name] = {arm: [_videos(windows, values) for values in runs] for arm, runs in scores.items()}
        rows[name] = {arm: [_figures(windows, values) for values in runs] for arm, runs in scores.items()}
        print(f'{name}: {time.time() - started:.0f} s', flush=True)
    settings = dict(seeds=seeds, steps=STEPS, rates=rates, sharpness=level, windows=WINDOWS, robustness=ROBUSTNESS)
    settings |= dict(search=dict(rates=RATES, steps=SEARCH_STEPS, judged='AUC of windows of four training people held out'))
    return dict(settings=settings, rows=rows, verdicts=_verdicts(rows, videos))


def main_figures(rows: dict, seeds: list[int]) -> dict[str, list[float]]:
    """AUC of videos on unseen generators of the main arms, by seed."""
    return {arm: [row['AUC'] for row in rows[CLEAN][arm][: len(seeds)]] for arm in MAIN_ARMS}


def longer(steps: int, seeds: list[int], folder: Path, settings: dict) -> dict[str, list[float]]:
    """:func:`main_figures` of trainings of so many steps."""
    rates = settings['rates']
    trainings = {arm: [training_of(arm, rates[arm], seed, steps, folder) for seed in seeds] for arm in MAIN_ARMS}
    train_all([training for runs in trainings.values() for training in runs], PROCESSES)
    windows = windows_of('test', WINDOWS[CLEAN])
    scores = _scores(CLEAN, windows, trainings, folder)
    return main_figures({CLEAN: {arm: [_figures(windows, values) for values in scores[arm]] for arm in MAIN_ARMS}}, seeds)


def config_of(arm: str) -> Config:
    return at_data(load_config(CONFIGS / f'{ARMS[arm]}.py'), dict(faces=data_folder('faces')))


def training_of(arm: str, rate: float, seed: int, steps: int, folder: Path, search: bool = False) -> Training:
    cfg = config_of(arm)
    if not search:
        cfg.train_dataloader.dataset.held_out = ()
    cfg.optim_wrapper.optimizer.lr = rate
    train_only(cfg, steps, start_factor=0.1)
    return Training(cfg, folder / f'{"search_" if search else ""}{_slug(arm)}_{rate:g}_{steps}i_seed{seed}', seed)


def _search(folder: Path) -> dict[str, float]:
    """The rate of each arm that tells forgeries of people best who were not trained on; equal AUC: the lower loss."""

    def search() -> dict[str, dict[str, dict]]:
        trainings = {
            (arm, rate): training_of(arm, rate, SEARCH_SEED, SEARCH_STEPS, folder, search=True)
            for arm in SEARCHED
            for rate in RATES
        }
        train_all(trainings.values(), PROCESSES)
        windows, found = windows_of('val', 9, forge=True), {}
        for (arm, rate), training in trainings.items():
            found.setdefault(arm, {})[f'{rate:g}'] = figures_of_rate(arm, training, windows)
        return found

    found = kept(folder / 'search.json', search)
    best = {arm: best_rate(rows) for arm, rows in found.items()}
    return best | {POOLED: best[FTCN]}


def figures_of_rate(arm: str, training: Training, windows: Windows) -> dict[str, float]:
    """What a training of the search is judged by: AUC of the windows in percent, and the cross entropy."""
    scores = network_scores(arm, training.checkpoint, windows.clips)
    right = np.where(windows.labels, scores, 1 - scores)
    auc = detection_figures(windows.labels, scores)['AUC']
    return dict(AUC=auc, loss=-float(np.log(right.clip(1e-7)).mean()))


def best_rate(rows: dict[str, dict[str, float]]) -> float:
    """The rate with the highest AUC; equal AUC: the lower loss."""
    return float(max(rows, key=lambda rate: (rows[rate]['AUC'], -rows[rate]['loss'])))


def _conditions(level: float) -> dict[str, dict]:
    """Arguments of :func:`windows_of` for everything that is tested; ``level`` is the sharpness to which clips are blurred."""
    forgeries = config_of(FTCN).forgeries
    conditions = {
        CLEAN: dict(count=WINDOWS[CLEAN]),
        SEEN: dict(count=WINDOWS[SEEN], forge=True, steps=[dict(forgeries, seed=1)]),
        COHERENT: dict(count=WINDOWS[COHERENT], forge=True, steps=[dict(forgeries, seed=1, jitter=(0, 0))]),
        SOFT: dict(count=WINDOWS[SOFT], steps=[dict(type='SoftenClip', sharpness=level)]),
    }
    for kind, levels in ROBUSTNESS.items():
        for strength in levels:
            conditions[_perturbed(kind, strength)] = dict(count=2, steps=[dict(type='PerturbClip', kind=kind, level=strength)])
    return {name: dict(options, part='test') for name, options in conditions.items()}


def _perturbed(kind: str, level: int) -> str:
    return f'{kind} {level}'


def windows_of(part: str, count: int, forge: bool = False, steps: list[dict] | None = None) -> Windows:
    """Windows of a part, ``count`` of each video: real ones, and forgeries of them by the ``steps`` or the listed forgeries."""
    cfg = config_of(FTCN)
    options = dict(cfg.val_dataloader.dataset if part == 'val' else cfg.test_dataloader.dataset, clips_per_video=count)
    if forge:
        options |= dict(forge=True, methods=[])
    if steps is not None:
        options['pipeline'] = [*steps, dict(type='PackClip')]
    with DefaultScope.overwrite_default_scope('openmsra'):
        dataset = DATASETS.build(options)
    items = [dataset[i] for i in range(len(dataset))]
    samples = [item['data_samples'] for item in items]
    facts = [np.array([sample.get(key) for sample in samples]) for key in ('video', 'method', 'gt_label', 'person')]
    return Windows(torch.stack([item['inputs'] for item in items]), *facts)


def _scores(
    name: str, windows: Windows, networks: dict[str, Sequence[Training | int]], folder: Path
) -> dict[str, list[np.ndarray]]:
    """Scores (N,) of the windows by every run of each network, kept in files; a seed stands for FTCN with random weights."""
    file = f'scores_{_slug(name)}.npy'

    def scored(arm: str, run: Training | int) -> np.ndarray:
        if isinstance(run, Training):
            return kept_array(run.work_dir / file, lambda: network_scores(arm, run.checkpoint, windows.clips))
        return kept_array(folder / f'random_seed{run}' / file, lambda: network_scores(FTCN, None, windows.clips, run))

    jobs = [(arm, run) for arm, runs in networks.items() for run in runs]
    scores: dict[str, list[np.ndarray]] = {arm: [] for arm in networks}
    for (arm, _), values in zip(jobs, side_by_side(scored, *zip(*jobs, strict=True), processes=PROCESSES), strict=True):
        scores[arm].append(values)
    return scores


def network_scores(arm: str, checkpoint: Path | None, clips: Tensor, seed: int = 0) -> np.ndarray:
    """Probabilities (N,) of a forgery; without a checkpoint by random weights of the seed."""
    model = seeded_model(config_of(arm), seed, checkpoint)
    with torch.inference_mode():
        batches = [model.test_step(dict(inputs=few)) for few in clips.split(8)]
    return np.array([sample.pred_score for batch in batches for sample in batch])


def _statistic(name: str, windows: Windows) -> np.ndarray:
    """A figure of the pixels of each window (N,); sharpness with the sign that does better on these windows."""
    if name == CHANGE:
        return np.array([clip.float().diff(dim=1).abs().mean().item() for clip in windows.clips])
    values = np.array([sharpness(clip) for clip in windows.clips.permute(0, 2, 3, 4, 1).numpy()])
    return values if detection_figures(windows.labels, values)['AUC'] >= 50 else -values


def _videos(windows: Windows, scores: np.ndarray) -> Videos:
    """Mean scores of the videos, and their facts."""
    _, first, index = np.unique(windows.videos, return_index=True, return_inverse=True)
    means = np.bincount(index, scores) / np.bincount(index)
    return Videos(windows.methods[first], windows.labels[first], windows.people[first], means)


def _figures(windows: Windows, scores: np.ndarray) -> dict:
    """AUC of videos, of windows with the hits at 1 and 5 % false alarms, and of each method's videos against all reals."""
    videos, of_windows = _videos(windows, scores), detection_figures(windows.labels, scores)
    rows = {'AUC': detection_figures(videos.labels, videos.scores)['AUC']}
    rows |= dict(windows=of_windows['AUC'], TPR1=of_windows['TPR_at_FPR1'], TPR5=of_windows['TPR_at_FPR5'])
    for method in sorted(set(videos.methods[videos.labels == 1].tolist())):
        chosen = (videos.labels == 0) | (videos.methods == method)
        rows[method] = detection_figures(videos.labels[chosen], videos.scores[chosen])['AUC']
    return rows


def _over_people(runs: list[Videos], others: list[Videos] | None = None) -> list[float]:
    """95 % interval of the AUC, mean over the runs, or of its difference to that of ``others``; people are drawn."""

    def drawn(group: list[Videos]) -> np.ndarray:
        return np.mean([drawn_aucs(video.labels, video.scores, video.people) for video in group], axis=0)

    values = drawn(runs) - (drawn(others) if others else 0)
    return [100 * float(value) for value in np.nanpercentile(values, (2.5, 97.5))]


def _verdicts(rows: dict, videos: dict[str, dict[str, list[Videos]]]) -> dict:
    def auc(name: str, arm: str) -> np.ndarray:
        return np.array([row['AUC'] for row in rows[name][arm]])

    best = max(STATISTICS, key=lambda arm: auc(CLEAN, arm).mean())
    pairs = [(CLEAN, FTCN, PLAIN), (SOFT, FTCN, PLAIN), (CLEAN, FTCN, FRAMES), (CLEAN, FTCN, best)]
    pairs += [(CLEAN, TT, FTCN), (CLEAN, POOLED, FTCN)]
    gaps = {}
    for name, first, second in pairs:
        gap = over_seeds(auc(name, first) - auc(name, second))
        gaps[f'{name}: {first} - {second}'] = gap | dict(people=_over_people(videos[name][first], videos[name][second]))
    plain, soft, frames, pixels, transformer, pools = gaps.values()
    measured = {arm: float(auc(SEEN, arm).mean()) for arm in (FTCN, PLAIN)}
    measures = min(measured.values()) >= THRESHOLDS['instrument']
    above = 'above 0 on average, interval over people above 0'
    statements = [
        ('the instrument measures: FTCN and plain 3D on seen forgeries of the test people', '80 or more each', None, measures),
        (
            'unseen generators: FTCN above plain 3D',
            '5 or more on average, every seed and interval over people above 0',
            plain,
            plain['mean'] >= THRESHOLDS['over_plain'] and min(plain['values']) > 0 and plain['people'][0] > 0,
        ),
        ('the same with every clip blurred to one sharpness', above, soft, _above(soft)),
        ('unseen generators: FTCN above plain 2D', above, frames, _above(frames)),
        (f'FTCN finds more than pixels tell: above {best}', above, pixels, _above(pixels)),
        ('the transformer helps: FTCN-TT above FTCN', above, transformer, _above(transformer)),
        ('average pools cost little', 'at most 5 on average', pools, pools['mean'] >= -THRESHOLDS['pools']),
    ]
    instrument = ', '.join(f'{arm} {value:.1f}' for arm, value in measured.items())
    statements = [
        dict(statement=what, threshold=threshold, seen=seen(gap) if gap else instrument, holds=bool(holds and measures))
        for what, threshold, gap, holds in statements
    ]
    intervals = {name: {arm: _over_people(runs) for arm, runs in videos[name].items()} for name in (CLEAN, SOFT)}
    return dict(thresholds=THRESHOLDS, gaps=gaps, intervals=intervals, statements=statements)


def _above(gap: dict) -> bool:
    return gap['mean'] > 0 and gap['people'][0] > 0


def _slug(name: str) -> str:
    return name.replace(',', '').replace(' ', '-').lower()


def table(result: dict) -> str:
    """The result as the Markdown tables of the paper's page."""
    rows, verdicts, rates = result['rows'], result['verdicts'], result['settings']['rates']

    def value(name: str, arm: str, key: str = 'AUC') -> str:
        return cell([row[key] for row in rows[name][arm]])

    def interval(name: str, arm: str) -> str:
        return '{:.0f} to {:.0f}'.format(*verdicts['intervals'][name][arm])

    arms = list(rows[CLEAN])
    lines = [
        f'| AUC of videos, test people | rate | {SEEN} | {COHERENT} | {CLEAN} | 95 % over people | {SOFT} | 95 % over people |',
        '|---' * 8 + '|',
    ]
    for arm in arms:
        cells = [arm, f'{rates[arm]:g}' if arm in rates else '', value(SEEN, arm), value(COHERENT, arm)]
        cells += [value(CLEAN, arm), interval(CLEAN, arm), value(SOFT, arm), interval(SOFT, arm)]
        lines.append(f'| {" | ".join(cells)} |')
    methods = sorted(set(rows[CLEAN][FTCN][0]) - {'AUC', 'windows', 'TPR1', 'TPR5'})
    heads = ''.join(f' {method} |' for method in methods)
    lines += ['', f'| unseen generators | AUC of windows | found at 1 % false alarms | at 5 % |{heads}']
    lines.append('|---' * (4 + len(methods)) + '|')
    for arm in arms:
        lines.append(f'| {arm} | {" | ".join(value(CLEAN, arm, key) for key in ("windows", "TPR1", "TPR5", *methods))} |')
    lines += ['', f'| {CLEAN}, AUC of videos at levels {", ".join(map(str, ROBUSTNESS["blur"]))} | {" | ".join(ROBUSTNESS)} |']
    lines.append('|---' * (1 + len(ROBUSTNESS)) + '|')
    for arm in arms:
        curves = [[_mean(rows, _perturbed(kind, level), arm) for level in levels] for kind, levels in ROBUSTNESS.items()]
        lines.append(f'| {arm} | {" | ".join(", ".join(f"{x:.1f}" for x in curve) for curve in curves)} |')
    lines += gap_lines(verdicts['gaps'], 'difference of AUC', dict(interval='seeds', people='people'))
    return '\n'.join(lines + statement_lines(verdicts['statements']))


def _mean(rows: dict, name: str, arm: str) -> float:
    return float(np.mean([row['AUC'] for row in rows[name][arm]]))


def draw(result: dict, file: Path) -> None:
    """AUC of videos on unseen generators: as they are and blurred to one level, a dot for each seed; under perturbations."""
    from matplotlib.figure import Figure

    rows, figure = result['rows'], Figure(figsize=(11, 4), layout='constrained')
    axis, *curves = figure.subplots(1, 1 + len(ROBUSTNESS), sharey=True, width_ratios=[4] + [1] * len(ROBUSTNESS))
    for place, arm in enumerate(rows[CLEAN]):
        for shift, name, colour in ((-0.2, CLEAN, 'C0'), (0.2, SOFT, '0.75')):
            values = [row['AUC'] for row in rows[name][arm]]
            axis.bar(place + shift, np.mean(values), width=0.38, color=colour, label=None if place else name)
            axis.scatter([place + shift] * len(values), values, color='black', s=12, zorder=2)
    axis.set_xticks(range(len(rows[CLEAN])), [arm.replace(' ', '\n') for arm in rows[CLEAN]], fontsize=7)
    axis.set(ylabel='AUC of videos (%)', ylim=(0, 103))
    axis.legend(fontsize=7)
    for panel, (kind, levels) in zip(curves, ROBUSTNESS.items(), strict=True):
        for arm in ARMS:
            values = [_mean(rows, name, arm) for name in (CLEAN, *(_perturbed(kind, level) for level in levels))]
            panel.plot((0, *levels), values, marker='.', label=arm)
        panel.set_title(kind, fontsize=8)
        panel.set_xticks((0, *levels))
    curves[-1].legend(fontsize=6)
    for panel in (axis, *curves):
        panel.axhline(50, color='0.4', linestyle=':', linewidth=1)
        panel.spines[['top', 'right']].set_visible(False)
    figure.savefig(file, dpi=110)


def publish(result: dict) -> None:
    """The tables and the figure of the page."""
    draw(result, ROOT / 'docs' / 'ftcn_faces.png')
    replace_part(CONFIGS / 'README.md', 'measured on faces', table(result))
