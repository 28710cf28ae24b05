"""Keep of a checkpoint the encoder, for retrieval and fine-tuning; with --mmaction2 for its recognizer, whose config is printed.

SRC may also be a file of torchvision's video models (supervised on Kinetics-400) or a checkpoint with the old names of weights.
"""

import argparse
import json
from pathlib import Path

from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path, help='config of the checkpoint (pre-training or fine-tuning)')
    parser.add_argument('source', type=Path, metavar='SRC', help='checkpoint of tools/train.py, or a file of torchvision')
    parser.add_argument('target', type=Path, metavar='DST', help='file to write')
    parser.add_argument('--mmaction2', action='store_true', help="with the names of mmaction2's network; prints its config")
    args = parser.parse_args(argv)
    writable_folder(args.target.parent)

    from openmsra.engine.checkpoint.io import load_file, save_file
    from openmsra.engine.config.files import load_config
    from openmsra.mcn.export import encoder_weights, recognizer_config, recognizer_weights

    model = load_config(args.config).model
    checkpoint = load_file(args.source)
    weights = encoder_weights(checkpoint.get('state_dict', checkpoint))
    if args.mmaction2:
        backbone, preprocessor = model.backbone.to_dict(), model.data_preprocessor.to_dict()
        try:
            config = recognizer_config(backbone, preprocessor, model.get('num_classes', 101))
        except ValueError as error:
            raise ToolError(str(error)) from None
        weights = recognizer_weights(weights, backbone)
        print(f'model of an mmaction2 config (default_scope mmaction):\n{json.dumps(config, indent=1)}')
    save_file(dict(state_dict=weights), args.target)
    print(f'wrote {args.target}: {len(weights)} entries')


if __name__ == '__main__':
    run_tool(main)
