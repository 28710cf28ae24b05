"""One HTML file with the scored pairs, best first; thumbnails are inside, so that it can be sent around."""

import base64
import html
import io
from pathlib import Path

from openmsra.ckdn.data.transforms import load_rgb

THUMBNAIL = 160  # pixels of the longer side
STYLE = (
    'body{font:15px/1.4 sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}'
    'table{border-collapse:collapse;margin-bottom:2rem}td,th{padding:.3rem .8rem;border-bottom:1px solid #ddd;text-align:left}'
    'td.score{font-variant-numeric:tabular-nums}'
)
FILTER = (
    '<script>document.querySelector("select").onchange=e=>document.querySelectorAll("tr[data-method]").forEach('
    'row=>row.hidden=e.target.value!==""&&row.dataset.method!==e.target.value)</script>'
)


def write_sheet(rows: list[dict], file: Path, comparison: dict | None = None) -> None:
    """Write the sheet.

    Args:
        rows: ``dict(restored=path, degraded=path, score=float, method=str)``, in the order to be shown.
        file: HTML file to write.
        comparison: of several methods, from :func:`openmsra.ckdn.report.compare.compare_methods`.
    """
    several = comparison is not None
    body = ''.join(_row(row, several) for row in rows)
    column = '<th>method</th>' if several else ''
    file.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>CKDN scores</title><style>{STYLE}</style>\n'
        f'<h1>CKDN scores</h1><p>{len(rows)} pairs, best first. Scores rank restored versions of one scene; across scenes '
        f'they mix in content.</p>\n{_methods(comparison) if several else ""}<table><tr><th>score</th>{column}<th>restored</th>'
        f'<th>degraded</th></tr>\n{body}</table>{FILTER if several else ""}</html>\n',
        encoding='utf-8',
        errors='backslashreplace',
    )


def _row(row: dict, several: bool) -> str:
    method = html.escape(row.get('method', ''))
    column = f'<td>{method}</td>' if several else ''
    return (
        f'<tr data-method="{method}"><td class="score">{row["score"]:.4f}</td>{column}<td>{_picture(row["restored"])}</td>'
        f'<td>{_picture(row["degraded"])}</td></tr>\n'
    )


def _methods(comparison: dict) -> str:
    names = [html.escape(row['method']) for row in comparison['methods']]
    methods = ''.join(
        f'<tr><td>{name}</td><td>{row["mean_rank"]:.2f}</td><td>{row["mean_score"]:.4f}</td></tr>\n'
        for name, row in zip(names, comparison['methods'], strict=True)
    )
    pairs = ''.join(
        f'<tr><td>{html.escape(row["first"])} - {html.escape(row["second"])}</td><td>{row["difference"]:+.4f}</td>'
        f'<td>{row["low"]:+.4f} to {row["high"]:+.4f}</td><td>{100 * row["wins"]:.0f} %</td></tr>\n'
        for row in comparison['pairs']
    )
    options = ''.join(f'<option>{name}</option>' for name in names)
    return (
        f'<h2>Methods, {comparison["images"]} images</h2>\n<table><tr><th>method</th><th>mean rank</th><th>mean score</th>'
        f'</tr>\n{methods}</table>\n<table><tr><th>pair</th><th>mean difference</th><th>95 % interval (paired bootstrap)</th>'
        f'<th>images won</th></tr>\n{pairs}</table>\n<p><label>show <select><option value="">all methods</option>{options}'
        f'</select></label></p>\n'
    )


def _picture(path: str) -> str:
    image, stream = load_rgb(Path(path)), io.BytesIO()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    image.save(stream, 'JPEG', quality=85)
    data = base64.b64encode(stream.getvalue()).decode()
    name = html.escape(path)
    return f'<img alt="{name}" title="{name}" src="data:image/jpeg;base64,{data}"><br>{html.escape(Path(path).name)}'
