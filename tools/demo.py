"""The demonstration: every paper trained, tested and used in miniature, and a page, work_dirs/demo/report.html, with it."""

import argparse
import os
import sys
import webbrowser
from pathlib import Path

from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError
from openmsra.resources import PAPERS
from openmsra.suggest import did_you_mean


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('papers', nargs='*', metavar='PAPER', help=f'{", ".join(PAPERS)} (default: all)')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs') / 'demo', help='default: %(default)s')
    parser.add_argument('--jobs', type=int, default=min(2, os.cpu_count() or 1), help='papers at a time (default: %(default)s)')
    parser.add_argument('--open', action='store_true', help='open the page in your browser')
    args = parser.parse_args(argv)
    for paper in args.papers:
        if paper not in PAPERS:
            raise ToolError(f'no paper is called {paper!r}. {did_you_mean(paper, PAPERS)}')
    writable_folder(args.work_dir)

    from openmsra.demo.run import demonstrate, summary

    report = args.work_dir / 'report.html'
    sections = demonstrate(args.papers or PAPERS, args.work_dir, args.jobs, report)
    print(f'\n{summary(sections)}\n\nOpen {report.resolve()} in a browser.')
    if args.open:
        webbrowser.open(report.resolve().as_uri())
    if any(section.failed for section in sections):
        sys.exit(1)


if __name__ == '__main__':
    run_tool(main)
