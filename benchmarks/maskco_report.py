"""Verdicts, table and plot of the MaskCo comparison."""

from pathlib import Path

import numpy as np

ARMS = {'MoCo v2': 'mocov2', 'MaskCo': 'maskco', 'MaskCo without its head': 'maskco-nomph', 'region contrast': 'regionco'}
RANDOM = 'random weights'
THRESHOLDS = dict(trained_over_random=5.0, maskco_over_moco=2.0)  # points of the linear region probe
COLUMNS = {
    'multi': {
        'region_linear': 'region, linear',
        'region_knn': 'region, 5-NN',
        'image_map': 'image, mAP',
        'detector': 'detector, AP50',
        'pretext_cut': 'pretext, cut',
        'pretext_missed': 'pretext, missed',
    },
    'single': {'region_linear': 'region, linear', 'linear': 'image, linear', 'knn': 'image, 5-NN'},
}
TITLES = {'multi': 'Four digits in a scene', 'single': 'One digit in a scene (control)'}


def verdicts(rows: dict[str, dict[str, list[dict]]]) -> dict:
    """The statements with their thresholds, on differences paired by seed (points of the linear region probe)."""
    linear = {
        kind: {arm: np.array([row['region_linear'] for row in seeds]) for arm, seeds in arms.items()}
        for kind, arms in rows.items()
    }
    multi, single = linear['multi'], linear['single']
    pairs = {
        'multi: MaskCo - MoCo v2': multi['MaskCo'] - multi['MoCo v2'],
        'multi: MaskCo - without its head': multi['MaskCo'] - multi['MaskCo without its head'],
        'multi: region contrast - MaskCo': multi['region contrast'] - multi['MaskCo'],
        'single: MaskCo - MoCo v2': single['MaskCo'] - single['MoCo v2'],
    }
    gaps = {name: _gap(gap) for name, gap in pairs.items()}
    ahead, head = gaps['multi: MaskCo - MoCo v2'], gaps['multi: MaskCo - without its head']
    trained = min((multi[arm] - multi[RANDOM]).mean() for arm in ARMS)
    statements = dict(
        every_arm_is_trained=bool(trained >= THRESHOLDS['trained_over_random']),
        maskco_beats_moco_on_scenes=bool(ahead['mean'] >= max(THRESHOLDS['maskco_over_moco'], ahead['spread'])),
        comparable_on_single_objects=bool(abs(gaps['single: MaskCo - MoCo v2']['mean']) <= _spread(single['MoCo v2'])),
        head_helps=bool(head['mean'] > head['spread']),
        gain_is_region_matching=bool(gaps['multi: region contrast - MaskCo']['mean'] >= 0),
    )
    return dict(thresholds=THRESHOLDS, gaps=gaps, statements=statements, transfer=_transfer(rows['multi']))


def _transfer(arms: dict[str, list[dict]]) -> dict[str, dict]:
    """Average precision of the detector above that from random weights, paired by seed."""
    precision = {arm: np.array([row['detector'] for row in seeds]) for arm, seeds in arms.items()}
    return {arm: _gap(values - precision[RANDOM]) for arm, values in precision.items() if arm != RANDOM}


def _gap(values: np.ndarray) -> dict[str, float]:
    return dict(mean=float(values.mean()), spread=_spread(values))


def _spread(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def table(result: dict) -> str:
    """The result as the Markdown tables of the paper's page."""
    lines = []
    for kind, columns in COLUMNS.items():
        lines += [f'{TITLES[kind]}:', '', '| arm | ' + ' | '.join(columns.values()) + ' |', '|---' * (len(columns) + 1) + '|']
        lines += [
            f'| {arm} | ' + ' | '.join(_cell(seeds, key) for key in columns) + ' |' for arm, seeds in result['rows'][kind].items()
        ] + ['']
    lines += ['| difference, paired by seed | linear region probe |', '|---|---|']
    lines += [f'| {name} | {gap["mean"]:+.1f} ± {gap["spread"]:.1f} |' for name, gap in result['verdicts']['gaps'].items()]
    lines += ['', '| detector, above random weights | AP50 |', '|---|---|']
    lines += [f'| {arm} | {gap["mean"]:+.1f} ± {gap["spread"]:.1f} |' for arm, gap in result['verdicts']['transfer'].items()]
    lines += ['', '| statement | holds |', '|---|---|']
    lines += [
        f'| {name.replace("_", " ")} | {"yes" if holds else "no"} |' for name, holds in result['verdicts']['statements'].items()
    ]
    return '\n'.join(lines)


def _cell(seeds: list[dict], key: str) -> str:
    values = np.array([row[key] for row in seeds if key in row])
    return f'{values.mean():.1f} ± {_spread(values):.1f}' if len(values) else ''


def draw(result: dict, file: Path) -> None:
    """Bars of the mean of the linear region probe, one dot a seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout='constrained')
    for axis, (kind, arms) in zip(figure.subplots(1, 2, width_ratios=[5, 4]), result['rows'].items(), strict=True):
        for place, (arm, seeds) in enumerate(arms.items()):
            values = [row['region_linear'] for row in seeds]
            axis.bar(place, np.mean(values), color='0.7' if arm == RANDOM else 'C0', width=0.6)
            axis.scatter([place] * len(values), values, color='black', s=14, zorder=2)
            axis.annotate(f'{np.mean(values):.1f}', (place, max(values) + 1), ha='center')
        axis.set_xticks(
            range(len(arms)), [arm.replace(' without its', '\nwithout its').replace(' ', '\n', 1) for arm in arms], fontsize=8
        )
        axis.set_title(TITLES[kind], fontsize=10)
        axis.axhline(10, color='0.4', linestyle=':', linewidth=1)
        axis.spines[['top', 'right']].set_visible(False)
    figure.axes[0].set_ylabel('linear region probe, accuracy (%)')
    figure.savefig(file, dpi=110)
