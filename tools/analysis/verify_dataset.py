"""Read every sample of a config's data sets, in parallel, and list those that cannot be read.

Each sample goes through its whole pipeline once; the list holds path and reason. Exit code 1 if there are any.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from openmsra.common.outputs import printable, writable_folder
from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError

PHASES = ('train', 'val', 'test')


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', type=Path)
    parser.add_argument('--phase', nargs='+', choices=PHASES, default=PHASES, help='which data sets (default: all)')
    parser.add_argument('--workers', type=int, default=4, help='processes; 0 reads in this one')
    parser.add_argument('--out', type=Path, help='write the list to this file (path, reason; tab-separated)')
    return parser.parse_args(argv)


class Checked:
    """A data set whose samples are (number, path and reason if it cannot be read)."""

    def __init__(self, dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[int, str, str]:
        from openmsra.engine.data.samples import describe, failure

        reason = failure(self.dataset, index)
        return index, describe(self.dataset, index) if reason else '', reason or ''


def broken(dataset, workers: int, title: str) -> Iterator[tuple[str, str]]:
    """Path and reason of each sample that cannot be read."""
    from torch.utils.data import DataLoader
    from tqdm import tqdm

    loader = DataLoader(Checked(dataset), batch_size=None, num_workers=workers)
    for _, path, reason in tqdm(loader, desc=title, unit=' samples', disable=None):
        if reason:
            yield path, reason


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if args.out:
        writable_folder(args.out.parent)

    from mmengine.registry import DATASETS, DefaultScope

    from openmsra.engine.config.files import load_config

    cfg = load_config(args.config)
    loaders = {phase: cfg.get(f'{phase}_dataloader') for phase in args.phase}
    if not any(loaders.values()):
        raise ToolError(f'{args.config}: has no data of {", ".join(args.phase)}.')
    found, total = [], 0
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'openmsra')):
        for phase, loader in loaders.items():
            if loader:
                dataset = DATASETS.build(loader.dataset)
                total += len(dataset)
                found += [(phase, *row) for row in broken(dataset, args.workers, phase)]
    for phase, path, reason in found:
        print(f'{phase}: {path}: {reason}')
    print(f'{len(found)} of {total} samples cannot be read.')
    if args.out:
        lines = (f'{printable(path)}\t{printable(reason)}\n' for _, path, reason in found)
        args.out.write_text(''.join(lines), encoding='utf-8')
    sys.exit(bool(found))


if __name__ == '__main__':
    run_tool(main)
