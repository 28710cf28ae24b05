"""One HTML file with the scored pairs, best first; thumbnails are inside, so that it can be sent around."""

import base64
import html
import io
from pathlib import Path

from openmsra.ckdn.transforms import load_rgb

THUMBNAIL = 160  # pixels of the longer side
STYLE = (
    'body{font:15px/1.4 sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}'
    'table{border-collapse:collapse}td,th{padding:.3rem .8rem;border-bottom:1px solid #ddd;text-align:left}'
    'td.score{font-variant-numeric:tabular-nums}'
)


def write_sheet(rows: list[dict], file: Path) -> None:
    """Write the sheet.

    Args:
        rows: ``dict(restored=path, degraded=path, score=float)``, in the order to be shown.
        file: HTML file to write.
    """
    body = ''.join(
        f'<tr><td class="score">{row["score"]:.4f}</td><td>{_picture(row["restored"])}</td>'
        f'<td>{_picture(row["degraded"])}</td></tr>\n'
        for row in rows
    )
    file.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>CKDN scores</title><style>{STYLE}</style>\n'
        f'<h1>CKDN scores</h1><p>{len(rows)} pairs, best first. Scores rank restored versions of one scene; across scenes '
        f'they mix in content.</p>\n<table><tr><th>score</th><th>restored</th><th>degraded</th></tr>\n{body}</table></html>\n',
        encoding='utf-8',
    )


def _picture(path: str) -> str:
    image, stream = load_rgb(Path(path)), io.BytesIO()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    image.save(stream, 'JPEG', quality=85)
    data = base64.b64encode(stream.getvalue()).decode()
    name = html.escape(path)
    return f'<img alt="{name}" title="{name}" src="data:image/jpeg;base64,{data}"><br>{html.escape(Path(path).name)}'
