"""Reproduce the central claim of a paper:  python benchmarks/claims.py PAPER [--seeds 3] [--miniature]

ckdn_human is the second experiment of CKDN, on people's scores; it starts from the networks of the first.

On real data; it goes on where it was stopped, unless its settings have changed since, and writes
benchmarks/results/claims_real_PAPER.json, the tables and the figure of the page. The data are looked for in the folder that
OPENMSRA_DATA names, or in data/; python tools/download_data.py gets them. With --longer its main arms are trained several times
as long (claims_longer_PAPER.json), with --miniature the experiment is one on toys made by us.
"""

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import longer  # noqa: E402
from benchmarks.training import adding_time, kept, require_same_settings  # noqa: E402
from openmsra.engine.launch import run_tool  # noqa: E402


def main(argv: list[str] | None = None) -> None:
    toys, experiments = (
        {path.name.removesuffix(end) for path in Path(__file__).parent.glob(f'*{end}')} for end in ('_claims.py', '_real.py')
    )
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('paper', choices=sorted(toys | experiments))
    parser.add_argument('--seeds', type=int, default=3)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument('--miniature', action='store_true', help='the toy experiment in the place of that on real data')
    kinds.add_argument('--longer', action='store_true', help='the main arms, trained longer: how far from converged they are')
    parser.add_argument('--processes', type=int, default=2, help='of the toy experiment: runs side by side, one thread each')
    args = parser.parse_args(argv)
    if args.paper not in (toys if args.miniature else experiments):
        parser.error(f'{args.paper} has no experiment {"in miniature" if args.miniature else "on real data"}')
    os.environ['OMP_NUM_THREADS'] = '1'
    torch.set_num_threads(1)
    kind = 'longer' if args.longer else '' if args.miniature else 'real'
    module = importlib.import_module(f'benchmarks.{args.paper}_{"claims" if args.miniature else "real"}')
    if args.longer and not hasattr(module, 'LONGER'):
        parser.error(f'{args.paper} has no longer trainings')
    folder, seeds = ROOT / 'work_dirs/claims' / '_'.join(filter(None, (args.paper, kind))), list(range(args.seeds))
    require_same_settings(module, folder)
    with adding_time(seconds := folder / 'seconds.json'):  # of all calls
        if args.longer:
            result = longer.run(module, args.paper, seeds, folder)
        else:
            result = module.run(seeds, folder) if kind else module.run(seeds, args.processes, folder)
    result |= dict(wall_seconds=round(kept(seconds, float)), torch=torch.__version__, machine=platform.machine())
    file = ROOT / 'benchmarks' / 'results' / f'{f"claims_{kind}_" if kind else ""}{args.paper}.json'
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    if args.longer:
        longer.publish(result, args.paper)
    elif kind:
        module.publish(result)
    else:
        module.draw(result, ROOT / 'docs' / f'{args.paper}_claims.png')
    print((longer if args.longer else module).table(result))
    print(f'wrote {file.relative_to(ROOT)} in {result["wall_seconds"]} s')


if __name__ == '__main__':
    run_tool(main)
