"""``openmsra new PAPER ...``: a config for data of one's own, checked, explained, ready to train."""

import argparse
import importlib
from pathlib import Path

from openmsra.cli.new.looking import Report
from openmsra.errors import ToolError
from openmsra.resources import PAPERS

EXAMPLES = {
    'autoformer': '--images photos/            a folder for each class, or train/ and val/ with these',
    'soft_teacher': '--labelled boxes.json --images photos/ --unlabelled more/      COCO, a VOC folder, or a YOLO folder',
    'ftcn': '--real videos/real --fake videos/fake',
    'ckdn': '--pairs scores.csv          columns restored, degraded, score and, if there are, pristine, scene, split',
    'mcn': '--videos clips/             any folder of videos; sub-folders are taken for classes in the evaluation',
    'maskco': '--images photos/            any folder of images; no labels',
}


def parser_of(paper: str) -> argparse.ArgumentParser:
    """The arguments of a paper."""
    module = importlib.import_module(f'openmsra.cli.new.{paper}')
    parser = argparse.ArgumentParser(prog=f'openmsra new {paper}', description=module.__doc__.partition('\n')[0])
    module.add_arguments(parser)
    parser.add_argument('--out', type=Path, default=Path(f'my_{paper}.py'), help='config to write (default: %(default)s)')
    parser.add_argument(
        '--size',
        choices=('auto', 'small', 'full'),
        default='auto',
        help='small: a network that a CPU trains in about an hour; full: that of the paper; auto: full if there is a GPU',
    )
    parser.add_argument('--overwrite', action='store_true', help='write over a config that is there')
    return parser


def main(argv: list[str]) -> None:
    if not argv or argv[0] in ('--help', '-h'):
        print('usage: openmsra new PAPER DATA ... [--out CONFIG.py]\n')
        print('\n'.join(f'  openmsra new {paper:<14}{example}' for paper, example in EXAMPLES.items()))
        print('\nLooks at your data, checks them, and writes a config of less than 60 lines with a reason for each choice.')
        return
    if argv[0] not in PAPERS:
        raise ToolError(f'no paper is called {argv[0]!r}; there are {", ".join(PAPERS)}.')
    args = parser_of(argv[0]).parse_args(argv[1:])
    if args.out.suffix != '.py':
        raise ToolError(f'--out {args.out}: a config is a Python file; its name must end in .py.')
    if args.out.exists() and not args.overwrite:
        raise ToolError(f'{args.out} is there already; choose another --out, or --overwrite it.')
    args.files = args.out.with_name(f'{args.out.stem}_data').absolute()  # lists and converted annotations

    from openmsra.common.outputs import require_writable
    from openmsra.engine.config.files import load_config

    require_writable(args.out.parent)
    report = Report()
    text = importlib.import_module(f'openmsra.cli.new.{argv[0]}').build(args, report)
    text.write(args.out)
    load_config(args.out)  # a fault would be ours: better now than in the training
    print('\n'.join(report.facts))
    for warning in report.warnings:
        print(f'warning: {warning}')
    print(f'wrote {args.out} ({len(text.lines)} lines). Train with:\n    openmsra train {args.out}')
