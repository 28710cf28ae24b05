"""Time openmsra against named peers in one process, interleaved:  python benchmarks/speed.py PAPER

With --official FOLDER against the official code itself, of which FOLDER is a checkout (autoformer, ftcn and ckdn, see
benchmarks/official.py).

On a CPU both sides keep the memory of freed tensors, as tools/train.py and tools/test.py do (openmsra.engine.launch).
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

from openmsra.engine.launch import keep_freed_memory  # noqa: E402


def main() -> None:
    papers = sorted(path.name.removesuffix('_speed.py') for path in Path(__file__).parent.glob('*_speed.py'))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('paper', choices=papers)
    parser.add_argument('--threads', type=int, default=1, help='threads of each side')
    parser.add_argument('--repeats', type=int, default=7, help='interleaved repeats')
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument(
        '--official', type=Path, metavar='FOLDER', help='against a checkout of the official code, and nothing else'
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.device == 'cpu':
        keep_freed_memory()
    module = importlib.import_module(f'benchmarks.{args.paper}_speed')
    if args.official and not hasattr(module, 'against_official'):
        parser.error(f'{args.paper} has no comparison with official code')
    device = torch.device(args.device)
    rows = module.against_official(args.official, args.repeats, device) if args.official else module.run(args.repeats, device)
    machine = torch.cuda.get_device_name() if args.device == 'cuda' else f'{platform.machine()}, {os.cpu_count()} cores'
    result = dict(threads=args.threads, repeats=args.repeats, device=machine, torch=torch.__version__, rows=rows)
    suffix = (f'_{args.threads}threads' if args.threads > 1 else '') if args.device == 'cpu' else f'_{args.device}'
    file = ROOT / 'benchmarks' / 'results' / f'{args.paper}_speed{"_official" if args.official else ""}{suffix}.json'
    file.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    for name, row in rows.items():
        print(f'{name}: ' + ', '.join(f'{key} {value:.4g}' for key, value in row.items() if isinstance(value, float)))
    print(f'wrote {file.relative_to(ROOT)}')


if __name__ == '__main__':
    main()
