"""Curves as SVG that takes its colours from the page, light or dark."""

import html
import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure

# what Matplotlib writes -> what the page understands
INK, GRID, COLOURS = '#010101', '#020202', ('#030303', '#040404', '#050505')
THEME = {
    INK: 'currentColor',
    GRID: 'var(--grid)',
    **{colour: f'var(--series-{number})' for number, colour in enumerate(COLOURS, start=1)},
}
STYLE = {
    'svg.fonttype': 'none',
    'font.size': 11,
    'text.color': INK,
    'axes.edgecolor': GRID,
    'axes.labelcolor': INK,
    'xtick.color': INK,
    'ytick.color': INK,
    'axes.spines.top': False,
    'axes.spines.right': False,
}


@dataclass
class Curve:
    """A line of a chart: ``x`` and ``y`` of one length, and its name at its end."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def line_chart(
    title: str,
    curves: Sequence[Curve],
    x_label: str,
    y_label: str,
    level: tuple[str, float] | None = None,
    band: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    digits: int = 1,
) -> str:
    """An ``<svg>`` with up to three curves.

    Args:
        title: says what is to be seen; read out in place of the chart.
        level: a name and a height: a dashed line to compare with.
        band: from and to: an interval of x that is shaded.
        digits: of the last values in the description.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.1), layout='constrained')
        axis = figure.subplots()
        axis.grid(axis='y', color=GRID, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.tick_params(length=0)
        if band:
            axis.axvspan(*band, color=GRID, linewidth=0)
        if level:
            axis.axhline(level[1], color=INK, linewidth=1, linestyle=(0, (4, 3)))
            axis.annotate(level[0], (1, level[1]), (-2, 4), ('axes fraction', 'data'), 'offset points', fontsize=10, ha='right')
        for curve, colour, dashes in zip(curves, COLOURS, ('-', (0, (5, 2)), (0, (1, 1.5))), strict=False):
            axis.plot(curve.x, curve.y, color=colour, linewidth=2.4, linestyle=dashes, label=curve.name)
        if len(curves) > 1:
            axis.legend(frameon=False, loc='best', handlelength=2.2)
        axis.set(xlabel=x_label, ylabel=y_label, xmargin=0.02)
        if y_range:
            axis.set_ylim(*y_range)
        stream = io.StringIO()
        figure.savefig(stream, format='svg', transparent=True, metadata={'Date': None})
    ends = '; '.join(f'{c.name}: from {c.y[0]:.{digits}f} to {c.y[-1]:.{digits}f}' for c in curves if len(c.y))
    return themed(stream.getvalue(), f'{title}. {ends}.', f'{zlib.crc32(title.encode()):08x}')


def themed(svg: str, description: str, prefix: str) -> str:
    """An ``<svg>`` of Matplotlib for a page: its colours, one picture for readers of screens, names that are unique."""
    svg = svg[svg.index('<svg') :]
    svg = re.sub(r'<metadata>.*?</metadata>|<!--.*?-->', '', svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', '<g', svg)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="c{prefix}-\1"', svg)
    svg = re.sub(r'(url\(#|href="#)', rf'\1c{prefix}-', svg)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', '', svg).replace('xlink:href', 'href')
    svg = re.sub(r'font(-family)?: ([\d.]+px) [^;\"]*', r'font-size: \2', svg)
    for colour, value in THEME.items():
        svg = svg.replace(colour, value)
    box = re.search(r'viewBox="([^"]*)"', svg)[1]
    head = f'<svg class="chart" viewBox="{box}" role="img" aria-label="{html.escape(description)}"'
    return re.sub(r'<svg[^>]*', head, svg, count=1).strip()
