"""Export the backbone of a MaskCo checkpoint with the keys of an ordinary ResNet."""

import argparse
from pathlib import Path

from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, metavar='SRC', help='checkpoint of tools/train.py')
    parser.add_argument('target', type=Path, metavar='DST', help='file to write')
    parser.add_argument(
        '--style',
        choices=['mmpretrain', 'torchvision'],
        default='mmpretrain',
        help='mmpretrain: keys with "backbone.", for init_cfg of mmpretrain and mmdet; torchvision: bare keys, also for timm',
    )
    args = parser.parse_args(argv)
    writable_folder(args.target.parent)

    from openmsra.engine.checkpoint.io import load_file, save_file
    from openmsra.maskco.export import backbone_weights

    checkpoint = load_file(args.source)
    state = backbone_weights(checkpoint.get('state_dict', checkpoint), args.style)
    save_file(dict(state_dict=state) if args.style == 'mmpretrain' else state, args.target)
    print(f'wrote {args.target}: {len(state)} entries. Images are RGB with mean 123.675, 116.28, 103.53 of 255.')


if __name__ == '__main__':
    run_tool(main)
