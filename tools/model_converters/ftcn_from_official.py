"""Convert the released FTCN checkpoint (yinglinzheng/FTCN) to openmsra; every key fits or nothing is written."""

import argparse
from pathlib import Path

from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, metavar='SRC', help='official checkpoint: a flat state dict')
    parser.add_argument('target', type=Path, metavar='DST', help='file to write')
    args = parser.parse_args(argv)
    writable_folder(args.target.parent)

    import openmsra.ftcn  # noqa: F401 - registers the network
    from openmsra.engine.checkpoint.io import load_file, load_weights, save_file, weights_of
    from openmsra.registry import MODELS

    checkpoint = load_file(args.source)
    state = weights_of(checkpoint, args.source)
    load_weights(MODELS.build(dict(type='FTCN')), state, args.source)
    save_file(dict(state_dict=state, meta=dict(source=args.source.name)), args.target)
    print(f'wrote {args.target}: {len(state)} entries')


if __name__ == '__main__':
    run_tool(main)
