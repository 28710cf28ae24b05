"""Run a retrieval, fine-tuning or linear-probe config on several official splits and report each and the mean.

    python tools/mcn_splits.py configs/mcn/finetune_r2plus1d-18_8xb4-100e_ucf101.py --cfg-options model.pretrained=encoder.pth
    python tools/mcn_splits.py configs/mcn/retrieval_r2plus1d-18_1xb4_hmdb51.py --checkpoint encoder.pth

A config that trains is trained and tested on each split, another is tested with the checkpoint. Lists of another split are those
with another number in the place of `split_1`. With --gpus the runs go through tools/dist_train.sh and tools/dist_test.sh.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from openmsra.common.annotations import read_text
from openmsra.common.outputs import require_writable
from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError

TOOLS = Path(__file__).resolve().parent


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path)
    parser.add_argument('--checkpoint', type=Path, help='what a config without training tests')
    parser.add_argument('--splits', type=int, nargs='+', default=[1, 2, 3])
    parser.add_argument('--gpus', type=int, default=0, help='processes of each run; 0 runs in one plain process')
    parser.add_argument('--work-dir', type=Path, help='folder of all runs (default: work_dirs/<config>)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='passed on to every run')
    args = parser.parse_args(argv)
    folder = require_writable(args.work_dir or Path('work_dirs') / args.config.stem)
    from openmsra.engine.config.files import load_config

    cfg = load_config(args.config)
    trains = 'train_dataloader' in cfg
    if trains == bool(args.checkpoint):
        raise ToolError(f'{args.config} {"trains: give no" if trains else "only tests: give a"} --checkpoint.')
    figures = {}
    for split in args.splits:
        place, checkpoint = folder / f'split_{split}', args.checkpoint
        options = [*args.cfg_options, *(f'{key}={value}' for key, value in lists_of(cfg.to_dict(), split))]
        if trains:
            call('train', place, [], options, args)
            checkpoint = read_text(place / 'last_checkpoint').strip()
        call('test', place / 'test', [str(checkpoint)], options, args)
        newest = max(place.glob('test/*/*.json'), key=lambda path: path.stat().st_mtime)
        figures[f'split {split}'] = json.loads(read_text(newest))
    report = summary(figures)
    (folder / 'splits.json').write_text(json.dumps(report, indent=1) + '\n', encoding='utf-8')
    for name, row in report.items():
        print(f'{name}: ' + ', '.join(f'{key} {value:.2f}' for key, value in row.items()))


def lists_of(value, split: int, place: str = '') -> Iterator[tuple[str, str]]:
    """Dotted keys and values that turn the lists of split 1 below ``value`` into those of another split."""
    if isinstance(value, str) and place.endswith('.ann_file') and 'split_1' in value:
        yield place, value.replace('split_1', f'split_{split}')
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from lists_of(child, split, f'{place}.{key}' if place else str(key))


def call(kind: str, work_dir: Path, arguments: list[str], options: list[str], args: argparse.Namespace) -> None:
    """Train or test in a process of its own.

    Raises:
        ToolError: it failed; its own message stands above.
    """
    script = [sys.executable, str(TOOLS / f'{kind}.py'), str(args.config), *arguments]
    if args.gpus:
        script = ['bash', str(TOOLS / f'dist_{kind}.sh'), str(args.config), *arguments, str(args.gpus)]
    command = [*script, '--work-dir', str(work_dir), *(['--cfg-options', *options] if options else [])]
    if subprocess.run(command).returncode:
        raise ToolError(f'{" ".join(command)} failed; see above.')


def summary(figures: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Figures of each split and their mean, without the times that the logger adds."""
    kept = {split: {name: value for name, value in row.items() if '/' in name} for split, row in figures.items()}
    names = next(iter(kept.values()))
    return kept | {'mean': {name: sum(row[name] for row in kept.values()) / len(kept) for name in names}}


if __name__ == '__main__':
    run_tool(main)
