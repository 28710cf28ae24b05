"""Reproduce the central claim of a paper:  python benchmarks/claims.py PAPER [--seeds 3] [--miniature]

ckdn_human is the second experiment of CKDN, on people's scores; it starts from the networks of the first.

On real data; it goes on where it was stopped, unless its settings have changed since, and writes
benchmarks/results/claims_real_PAPER.json, the tables and the figure of the page. The data are looked for in the folder that
OPENMSRA_DATA names, or in data/; python tools/download_data.py gets them. With --miniature on toys made by us.
"""

import argparse
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.training import require_same_settings  # noqa: E402
from openmsra.engine.launch import run_tool  # noqa: E402


def main(argv: list[str] | None = None) -> None:
    toys, experiments = (
        {path.name.removesuffix(end) for path in Path(__file__).parent.glob(f'*{end}')} for end in ('_claims.py', '_real.py')
    )
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('paper', choices=sorted(toys | experiments))
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--miniature', action='store_true', help='the toy experiment in the place of that on real data')
    parser.add_argument('--processes', type=int, default=2, help='of the toy experiment: runs side by side, one thread each')
    args = parser.parse_args(argv)
    if args.paper not in (toys if args.miniature else experiments):
        parser.error(f'{args.paper} has no experiment {"in miniature" if args.miniature else "on real data"}')
    os.environ['OMP_NUM_THREADS'] = '1'
    torch.set_num_threads(1)
    real = not args.miniature
    module, started = importlib.import_module(f'benchmarks.{args.paper}_{"real" if real else "claims"}'), time.time()
    folder, seeds = ROOT / 'work_dirs/claims' / (f'{args.paper}_real' if real else args.paper), list(range(args.seeds))
    require_same_settings(module, folder)
    result = module.run(seeds, folder) if real else module.run(seeds, args.processes, folder)
    result |= dict(wall_seconds=round(time.time() - started), torch=torch.__version__, machine=platform.machine())
    file = ROOT / 'benchmarks' / 'results' / f'{"claims_real_" if real else ""}{args.paper}.json'
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    if real:
        module.publish(result)
    else:
        module.draw(result, ROOT / 'docs' / f'{args.paper}_claims.png')
    print(module.table(result))
    print(f'wrote {file.relative_to(ROOT)} in {result["wall_seconds"]} s')


if __name__ == '__main__':
    run_tool(main)
