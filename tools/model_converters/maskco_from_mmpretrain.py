"""Convert a MoCo v2 checkpoint of mmpretrain to MaskCo's MoCo v2 mode; every key fits or nothing is written."""

import argparse
from pathlib import Path

from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool

CONFIG = Path(__file__).resolve().parents[2] / 'configs/maskco/mocov2_resnet50_8xb32-200e_in1k.py'
NOT_OURS = ('encoder_k.steps', 'data_preprocessor.mean', 'data_preprocessor.std')  # a step counter; constants of the config


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, metavar='SRC', help='checkpoint of mmpretrain')
    parser.add_argument('target', type=Path, metavar='DST', help='file to write')
    parser.add_argument('--config', type=Path, default=CONFIG, help='what the weights must fit (default: %(default)s)')
    args = parser.parse_args(argv)
    writable_folder(args.target.parent)

    from openmsra.engine.checkpoint.io import load_file, load_weights, save_file, weights_of
    from openmsra.engine.config.files import load_config
    from openmsra.registry import MODELS

    checkpoint = load_file(args.source)
    state = {
        key.replace('encoder_k.module.', 'encoder_k.'): value
        for key, value in weights_of(checkpoint, args.source).items()
        if key not in NOT_OURS
    }
    load_weights(MODELS.build(load_config(args.config).model), state, args.source)
    save_file(dict(state_dict=state, meta=dict(source=args.source.name)), args.target)
    print(f'wrote {args.target}: {len(state)} entries')


if __name__ == '__main__':
    run_tool(main)
