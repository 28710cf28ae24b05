"""Convert an official CKDN checkpoint (researchmm/CKDN) to openmsra; every key fits or nothing is written."""

import argparse
from pathlib import Path

from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, metavar='SRC', help="official checkpoint: {'state_dict': ...}")
    parser.add_argument('target', type=Path, metavar='DST', help='file to write')
    args = parser.parse_args(argv)
    writable_folder(args.target.parent)

    import torch

    import openmsra.ckdn  # noqa: F401 - registers the network
    from openmsra.engine.checkpoint.io import load_file, load_weights, save_file, weights_of
    from openmsra.registry import MODELS

    with torch.serialization.safe_globals([argparse.Namespace]):  # the official trainer pickles its arguments
        checkpoint = load_file(args.source)
    state = weights_of(checkpoint, args.source)
    load_weights(MODELS.build(dict(type='CKDN')), state, args.source)
    save_file(dict(state_dict=state, meta=dict(source=args.source.name)), args.target)
    print(f'wrote {args.target}: {len(state)} entries')


if __name__ == '__main__':
    run_tool(main)
