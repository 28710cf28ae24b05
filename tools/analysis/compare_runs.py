"""Runs side by side: the settings in which their configs differ, and what they have reached."""

import argparse
import csv
from pathlib import Path

from openmsra.common.outputs import printable, writable_folder
from openmsra.engine.launch import run_tool

NOT_COMPARED = ('work_dir', 'launcher', 'load_from', 'resume')


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', type=Path, help='work dirs')
    parser.add_argument('--out', type=Path, help='also write the table to this CSV file')
    args = parser.parse_args(argv)
    if args.out:
        writable_folder(args.out.parent)

    from openmsra.engine.runs import read_run

    runs = [read_run(folder) for folder in args.runs]
    rows = table(runs)
    width = max(len(row[0]) for row in rows)
    for row in rows:
        print(f'{row[0]:<{width}}  ' + '  '.join(f'{value:<20}' for value in row[1:]).rstrip())
    if args.out:
        with args.out.open('w', newline='', encoding='utf-8') as stream:
            csv.writer(stream).writerows(rows)
        print(f'wrote {printable(args.out)}')


def table(runs: list) -> list[list[str]]:
    """A header, the settings that differ, and the figures of the last evaluations and losses."""
    settings = [_flat(run.config()) for run in runs]
    keys = list(dict.fromkeys(key for setting in settings for key in setting))
    rows = [['', *(run.name for run in runs)]]
    for key in keys:
        values = [setting.get(key, '-') for setting in settings]
        if len(set(values)) > 1 and key.partition('.')[0] not in NOT_COMPARED:
            rows.append([key, *(value if len(value) <= 60 else f'{value[:57]}...' for value in values)])
    figures = [{**_last_loss(run), **run.last()} for run in runs]
    for key in dict.fromkeys(key for figure in figures for key in figure):
        rows.append([key, *(_number(figure.get(key)) for figure in figures)])
    return rows


def _last_loss(run) -> dict[str, float]:
    rows = [row for row in run.train if 'loss' in row]
    return dict(iterations=rows[-1]['step'], loss=rows[-1]['loss']) if rows else {}


def _number(value) -> str:
    return '-' if value is None else f'{value:.5g}' if isinstance(value, float) else str(value)


def _flat(file: Path | None) -> dict[str, str]:
    """Dotted key -> value as text; nothing is imported that a config names."""
    if file is None:
        return {}

    from mmengine.config import Config

    flat: dict[str, str] = {}

    def walk(value, place: str) -> None:
        children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else None
        if not children:
            flat[place] = repr(value)
            return
        for key, child in children:
            walk(child, f'{place}.{key}' if place else str(key))

    walk(Config.fromfile(file, import_custom_modules=False).to_dict(), '')
    return flat


if __name__ == '__main__':
    run_tool(main)
