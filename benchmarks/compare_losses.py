"""Do two revisions train alike?  python benchmarks/compare_losses.py BEFORE [AFTER]

Every instant config is trained once with each revision, from the same seed, and the logs are compared to the last digit;
so are the names of the weights. Without AFTER the working tree is compared. Exit code 1 when anything differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
CLOCKS = {'time', 'data_time', 'memory', 'eta'}  # logged, but no result of the training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('before', help='git revision')
    parser.add_argument('after', nargs='?', help='git revision (default: the working tree)')
    parser.add_argument('--only', default='', help='configs whose name contains this')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sides = [_checkout(args.before, Path(folder) / 'before'), ROOT]
        if args.after:
            sides[1] = _checkout(args.after, Path(folder) / 'after')
        try:
            rows = [_compare(name, sides, Path(folder)) for name in _instant_configs(sides[1]) if args.only in name]
        finally:
            for tree in sides:
                if tree != ROOT:
                    _git('worktree', 'remove', '--force', str(tree))
    width = max(len(row['config']) for row in rows)
    for row in rows:
        print(f'{row["config"]:{width}}  {row["logged"]} logged values, {row["weights"]} weights: {row["verdict"]}')
    sys.exit(any(row['verdict'] != 'equal' for row in rows))


def _git(*arguments: str) -> None:
    subprocess.run(['git', '-C', str(ROOT), *arguments], check=True, capture_output=True)


def _checkout(revision: str, folder: Path) -> Path:
    _git('worktree', 'add', '--detach', str(folder), revision)
    return folder


def _instant_configs(tree: Path) -> list[str]:
    return sorted(str(path.relative_to(tree)) for path in tree.glob('configs/*/*_instant.py'))


def _compare(config: str, sides: list[Path], folder: Path) -> dict:
    (logs, weights), (new_logs, new_weights) = (_train(config, tree, folder / f'{number}') for number, tree in enumerate(sides))
    faults = [f'log line {n}: {a} became {b}' for n, (a, b) in enumerate(zip(logs, new_logs)) if a != b][:1]
    if len(logs) != len(new_logs):
        faults.append(f'{len(logs)} log lines became {len(new_logs)}')
    if weights != new_weights:
        faults.append(f'weights gone: {sorted(weights - new_weights)[:3]}, new: {sorted(new_weights - weights)[:3]}')
    return dict(config=Path(config).stem, logged=sum(map(len, logs)), weights=len(weights), verdict='; '.join(faults) or 'equal')


def _train(config: str, tree: Path, folder: Path) -> tuple[list[dict], set[str]]:
    """Log lines without clocks, and names of the weights, of one training with the code of ``tree``."""
    work_dir = folder / Path(config).stem
    command = [sys.executable, 'tools/train.py', config, '--work-dir', str(work_dir), '--seed', '0']
    command += ['--cfg-options', 'default_hooks.logger.interval=1']  # an instant run is shorter than the usual interval
    environment = {**os.environ, 'PYTHONPATH': str(tree), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'{config} in {tree} ended with {done.returncode}:\n{done.stderr[-3000:]}')
    (scalars,) = work_dir.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    last = Path((work_dir / 'last_checkpoint').read_text().strip())
    weights = torch.load(last, map_location='cpu', weights_only=False)['state_dict']
    return [{key: value for key, value in line.items() if key not in CLOCKS} for line in lines], set(weights)


if __name__ == '__main__':
    main()
