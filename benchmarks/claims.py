"""Reproduce the central claim of a paper in miniature:  python benchmarks/claims.py PAPER [--seeds 3]"""

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


def main() -> None:
    papers = sorted(path.name.removesuffix('_claims.py') for path in Path(__file__).parent.glob('*_claims.py'))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('paper', choices=papers)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--processes', type=int, default=2, help='runs side by side, one thread each')
    args = parser.parse_args()
    os.environ['OMP_NUM_THREADS'] = '1'
    torch.set_num_threads(1)
    module, started = importlib.import_module(f'benchmarks.{args.paper}_claims'), time.time()
    result = module.run(list(range(args.seeds)), args.processes, ROOT / 'work_dirs' / 'claims' / args.paper)
    result |= dict(wall_seconds=round(time.time() - started), torch=torch.__version__, machine=platform.machine())
    folder = ROOT / 'benchmarks' / 'results'
    folder.mkdir(exist_ok=True)
    file = folder / f'{args.paper}.json'
    file.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    module.draw(result, ROOT / 'docs' / f'{args.paper}_claims.png')
    print(module.table(result))
    print(f'wrote {file.relative_to(ROOT)} in {result["wall_seconds"]} s')


if __name__ == '__main__':
    main()
