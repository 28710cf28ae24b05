"""Claims on real data: where the data are, intervals over seeds and test items, and the table of a page."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mmengine.config import Config

from openmsra.errors import MissingFileError

ROOT = Path(__file__).resolve().parents[1]


def data_folder(name: str) -> Path:
    """The folder of a data set below the one that ``OPENMSRA_DATA`` names, or below ``data``.

    Raises:
        MissingFileError: it is not there.
    """
    folder = Path(os.environ.get('OPENMSRA_DATA', ROOT / 'data')) / name
    if not folder.is_dir():
        raise MissingFileError(
            f'{folder}: the data set {name} is not there; python tools/download_data.py {name}, or OPENMSRA_DATA=FOLDER'
        )
    return folder


def cifar10_folder() -> Path:
    """CIFAR-10 as folders of classes; unpacked into ``work_dirs/claims/data`` where it is there as arrays."""
    folder = data_folder('cifar10')
    if (folder / 'train' / 'cat').is_dir():
        return folder
    from tools.download_data import unpack_images

    return unpack_images(folder, ROOT / 'work_dirs' / 'claims' / 'data' / 'cifar10')


def train_only(cfg: Config, steps: int, start_factor: float) -> None:
    """Set a config to ``steps`` iterations: a warm-up of a tenth from ``start_factor`` of the rate, then a cosine to zero; a
    checkpoint to go on from every 50; no evaluation and no hooks of its own."""
    warm_up = steps // 10
    cfg.train_cfg = dict(by_epoch=False, max_iters=steps, val_interval=steps)
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=start_factor, by_epoch=False, begin=0, end=warm_up),
        dict(type='CosineAnnealingLR', T_max=steps - warm_up, by_epoch=False, begin=warm_up, end=steps),
    ]
    cfg.default_hooks.checkpoint.update(interval=50, max_keep_ckpts=2)
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=10)
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator'):
        cfg[key] = None
    cfg.custom_hooks = []


def at_data(cfg: Config, folders: dict[str, Path]) -> Config:
    """The config with every ``data/NAME`` replaced by the folder given for NAME."""

    def moved(value):
        if isinstance(value, dict):
            for key in value:
                value[key] = moved(value[key])
        elif isinstance(value, list | tuple):
            return type(value)(moved(item) for item in value)
        elif isinstance(value, str):
            for name, folder in folders.items():
                if value == f'data/{name}' or value.startswith(f'data/{name}/'):
                    return str(folder) + value.removeprefix(f'data/{name}')
        return value

    moved(cfg._cfg_dict)
    return cfg


def over_seeds(values: np.ndarray) -> dict:
    """Mean, standard deviation and 95 % interval of the mean (Student's t) over seeds; for one seed the last two are ``None``."""
    from scipy.stats import t

    values = np.asarray(values, float)
    mean, spread, interval = float(values.mean()), None, None
    if len(values) > 1:
        spread = float(values.std(ddof=1))
        reach = float(t.ppf(0.975, len(values) - 1)) * spread / len(values) ** 0.5
        interval = [mean - reach, mean + reach]
    return dict(mean=mean, spread=spread, interval=interval, values=values.tolist())


def over_items(items: int, block: int, figure: Callable[[np.ndarray], float], draws: int = 1000) -> list[float]:
    """95 % bootstrap interval of a figure over test items, drawn in blocks of neighbours (frames of a video are alike).

    Args:
        items: how many there are, in their order.
        block: neighbours that are drawn together.
        figure: gives the figure of the items with the numbers that it is given.
    """
    rng = np.random.default_rng(0)
    blocks = np.array_split(np.arange(items), max(1, round(items / block)))
    values = [figure(np.concatenate([blocks[i] for i in rng.integers(len(blocks), size=len(blocks))])) for _ in range(draws)]
    return [float(value) for value in np.percentile(values, [2.5, 97.5])]


def seen(gap: dict) -> str:
    """A difference of :func:`over_seeds` in a cell: its mean, and that of every seed."""
    return f'{gap["mean"]:+.1f} ({_each(gap)})'


def cell(values: list[float]) -> str:
    """Mean and standard deviation over the seeds."""
    return f'{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}' if len(values) > 1 else f'{values[0]:.1f}'


def search_lines(found: dict[str, dict[str, float]], figure: str) -> list[str]:
    """What the search of rates saw as a Markdown table; ``found`` has the figure of each arm by rate."""
    heads = (f'rate searched by {figure}', *next(iter(found.values())))
    lines = ['', f'| {" | ".join(heads)} |', '|---' * len(heads) + '|']
    for arm, rates in found.items():
        best = max(rates.values())
        cells = (f'**{value:.1f}**' if value == best else f'{value:.1f}' for value in rates.values())
        lines.append(f'| {arm} | {" | ".join(cells)} |')
    return lines


def gap_lines(gaps: dict[str, dict], title: str, intervals: dict[str, str] | None = None) -> list[str]:
    """The table of differences of :func:`over_seeds` by name.

    Args:
        intervals: key of a difference -> what the heading of its interval says; by default that over seeds alone.
    """
    intervals = intervals or dict(interval='seeds')
    heads = ''.join(f' 95 % over {what} |' for what in intervals.values())
    lines = ['', f'| {title} | mean | each seed |{heads}', '|---' * (3 + len(intervals)) + '|']
    for name, gap in gaps.items():
        cells = ''.join(f' {_interval(gap.get(key))} |' for key in intervals)
        lines.append(f'| {name} | {gap["mean"]:+.1f} | {_each(gap)} |{cells}')
    return lines


def _each(gap: dict) -> str:
    return ', '.join(f'{value:+.1f}' for value in gap['values'])


def _interval(interval: list[float] | None) -> str:
    return f'{interval[0]:+.1f} to {interval[1]:+.1f}' if interval else ''


def statement_lines(statements: list[dict]) -> list[str]:
    """The table of what was stated before the runs and what was seen; ``holds`` is ``None`` where it was not run."""
    lines = ['', '| statement, set before the runs | threshold | seen | holds |', '|---|---|---|---|']
    words = {True: 'yes', False: '**no**', None: ''}
    return lines + [f'| {row["statement"]} | {row["threshold"]} | {row["seen"]} | {words[row["holds"]]} |' for row in statements]


def replace_part(page: Path, name: str, text: str) -> None:
    """Write what a command makes between ``<!-- NAME -->`` and ``<!-- end of NAME -->`` of a page.

    Raises:
        ValueError: the page has no such place.
    """
    content, start, end = page.read_text(encoding='utf-8'), f'<!-- {name} -->\n', f'<!-- end of {name} -->'
    if start not in content or end not in content:
        raise ValueError(f'{page}: no place for {start.strip()}')
    head, rest = content.split(start, 1)
    page.write_text(head + start + text.strip() + '\n' + end + rest.split(end, 1)[1], encoding='utf-8')
