"""Keep of an MCN checkpoint the encoder: for retrieval, fine-tuning and mmaction2's recognizer, whose config is printed."""

import argparse
import json
from pathlib import Path

from openmsra.engine.config.files import load_config
from openmsra.engine.launch import run_tool


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', type=Path, help='config of the checkpoint (pre-training or fine-tuning)')
    parser.add_argument('source', type=Path, metavar='SRC', help='checkpoint of tools/train.py')
    parser.add_argument('target', type=Path, metavar='DST', help='file to write')
    args = parser.parse_args(argv)

    from openmsra.engine.checkpoint.io import load_file, save_file
    from openmsra.mcn.export import encoder_weights, recognizer_config

    model = load_config(args.config).model
    checkpoint = load_file(args.source)
    weights = encoder_weights(checkpoint.get('state_dict', checkpoint))
    save_file(dict(state_dict=weights), args.target)
    print(f'wrote {args.target}: {len(weights)} entries. model of an mmaction2 config (default_scope mmaction):')
    try:
        config = recognizer_config(model.backbone.to_dict(), model.data_preprocessor.to_dict(), model.get('num_classes', 101))
        print(json.dumps(config, indent=1))
    except ValueError as error:
        print(f'none: {error}')


if __name__ == '__main__':
    run_tool(main)
