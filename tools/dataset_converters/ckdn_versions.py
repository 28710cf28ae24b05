"""Make scored scenes for CKDN from photographs:  ckdn_versions.py FOLDER --out versions.npz

FOLDER holds photographs in train/, val/ and test/. Every patch is degraded and gets versions that look equally sharp and differ
in how much of their detail is true; the label of a version is its mean rank by SSIM, GMSD, FSIM and VIF. Nobody looked at them.
"""

import argparse
from pathlib import Path

from openmsra.common.outputs import require_writable
from openmsra.engine.launch import run_tool


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--out', type=Path, required=True, help='.npz file to write')
    parser.add_argument('--train', type=int, default=8, help='patches of each training photograph')
    parser.add_argument('--test', type=int, default=1, help='patches of each photograph of val and test')
    parser.add_argument('--size', type=int, default=48, help='side of the patches in pixels, 42 or more')
    parser.add_argument('--versions', type=int, default=6, help='versions of each patch')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(argv)
    require_writable(args.out.parent)
    from openmsra.ckdn.data.versions import write_scenes

    patches = dict(train=args.train, val=args.test, test=args.test)
    write_scenes(args.folder, args.out, patches, args.size, args.versions, args.seed)
    print(f'wrote {args.out}')


if __name__ == '__main__':
    run_tool(main)
