"""The main arms of an experiment, trained longer: how far from converged are its figures, and does the difference last?

An experiment that takes part has ``LONGER``: its own length and the longer ones, their unit, the figure, the pair that is
compared, and the gain that was stated for the longest before the runs. ``main_figures(rows, seeds)`` reads the figures of
its main arms off its own result, ``longer(length, seeds, folder, settings)`` trains them for longer, at the rates that its
search chose. It may take a second look at those trainings, with a figure that nothing was stated about: ``second_look`` gives
it as ``longer`` does, ``LONGER['second_look']`` names it.
"""

import json
from pathlib import Path
from types import ModuleType

import numpy as np

from benchmarks.real_data import ROOT, cell, gap_lines, over_seeds, replace_part, seen, statement_lines
from benchmarks.training import kept
from openmsra.errors import ConfigError, MissingFileError

SEARCHED = ('rates', 'settings', 'trust')  # of the settings of a result: what a search chose


def run(experiment: ModuleType, paper: str, seeds: list[int], folder: Path) -> dict:
    """Figures of each arm by length, in percent; those of the experiment's own length are its result.

    Raises:
        MissingFileError: the experiment has no result yet, or not for all of the seeds.
        ConfigError: ``folder`` was begun with other rates than the experiment has now.
    """
    file = ROOT / 'benchmarks' / 'results' / f'claims_real_{paper}.json'
    result = json.loads(file.read_text(encoding='utf-8')) if file.exists() else dict(settings=dict(seeds=[]))
    settings, asked = result['settings'], experiment.LONGER
    if not set(seeds) <= set(settings['seeds']):
        raise MissingFileError(f'{file}: python benchmarks/claims.py {paper} --seeds {len(seeds)} has to run first')
    chosen = {key: settings[key] for key in SEARCHED if key in settings}
    if chosen != (begun := kept(folder / 'chosen.json', lambda: chosen)):
        raise ConfigError(f'{folder} was begun with {begun}, the experiment now has {chosen}. Remove the folder.')
    own, *lengths = asked['lengths']
    rows = {own: experiment.main_figures(result['rows'], seeds)}
    rows |= {length: experiment.longer(length, seeds, folder, settings) for length in lengths}
    gaps, looks = _gaps(asked, rows), {}
    last = list(gaps.values())[-1]
    if 'second_look' in asked:
        looks = {length: experiment.second_look(length, seeds, folder, settings) for length in lengths}
        gaps |= _gaps(asked, looks, f', {asked["second_look"]}')
    ours, other = asked['pair']
    statement = dict(
        statement=f'after {asked["lengths"][-1]} {asked["unit"]} {ours} is above {other}',
        threshold=f'{asked["gain"]:g} or more on average, above 0 in every seed',
        seen=seen(last),
        holds=last['mean'] >= asked['gain'] and min(last['values']) > 0,
    )
    settings = dict(seeds=seeds, precision=getattr(experiment, 'PRECISION', 'float32'), **chosen, **asked)
    return dict(settings=settings, rows=rows, second_look=looks, verdicts=dict(gaps=gaps, statements=[statement]))


def _gaps(asked: dict, rows: dict, title: str = '') -> dict[str, dict]:
    """The difference of the pair over seeds, by length."""
    ours, other = asked['pair']
    return {
        f'{length} {asked["unit"]}{title}: {ours} - {other}': over_seeds(np.subtract(arms[ours], arms[other]))
        for length, arms in rows.items()
    }


def table(result: dict) -> str:
    """The result as Markdown tables."""
    settings, verdicts = result['settings'], result['verdicts']
    lines = _figures(settings['figure'], settings['unit'], result['rows'])
    if result['second_look']:
        lines += ['', *_figures(settings['second_look'], settings['unit'], result['second_look'])]
    return '\n'.join(lines + gap_lines(verdicts['gaps'], 'difference') + statement_lines(verdicts['statements']))


def _figures(title: str, unit: str, rows: dict) -> list[str]:
    """A table of the arms by length."""
    heads = ' | '.join(f'{length} {unit}' for length in rows)
    lines = [f'| {title} | {heads} |', '|---' * (len(rows) + 1) + '|']
    return lines + [f'| {arm} | {" | ".join(cell(arms[arm]) for arms in rows.values())} |' for arm in next(iter(rows.values()))]


def draw(result: dict, file: Path) -> None:
    """A line for each arm over the length of the training, a dot for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.4), layout='constrained')
    axis, settings = figure.subplots(), result['settings']
    lengths = [int(length) for length in result['rows']]
    for arm in next(iter(result['rows'].values())):
        values = np.array([arms[arm] for arms in result['rows'].values()])
        (line,) = axis.plot(lengths, values.mean(1), label=arm)
        axis.scatter(np.repeat(lengths, values.shape[1]), values.ravel(), s=12, color=line.get_color())
    axis.set(xlabel=f'{settings["unit"]}', ylabel=settings['figure'], xscale='log')
    axis.set_xticks(lengths, [f'{length:,}' for length in lengths], minor=False)
    axis.minorticks_off()
    axis.legend(fontsize=8)
    axis.spines[['top', 'right']].set_visible(False)
    figure.savefig(file, dpi=110)


def publish(result: dict, paper: str) -> None:
    """The tables and the figure of the paper's page."""
    draw(result, ROOT / 'docs' / f'{paper}_longer.png')
    replace_part(ROOT / 'configs' / paper / 'README.md', 'measured with longer trainings', table(result))
