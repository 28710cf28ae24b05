"""Convert an official AutoFormer supernet checkpoint (microsoft/Cream) to openmsra; every key fits or nothing is written."""

import argparse
import re
from pathlib import Path

from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool

RENAMES = (
    (r'^patch_embed_super\.', 'patch_embed.'),
    (r'\.attn_layer_norm\.', '.norm1.'),
    (r'\.ffn_layer_norm\.', '.norm2.'),
    (r'\.(fc[12])\.', r'.mlp.\1.'),
    (r'\.rel_pos_embed_([kv])\.embeddings_table_v$', r'.rel_pos_\1.vertical'),
    (r'\.rel_pos_embed_([kv])\.embeddings_table_h$', r'.rel_pos_\1.horizontal'),
)


def rename(key: str) -> str:
    """Our name of an official parameter."""
    for pattern, replacement in RENAMES:
        key = re.sub(pattern, replacement, key)
    return key


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, metavar='SRC', help="official checkpoint: {'model': state dict}")
    parser.add_argument('target', type=Path, metavar='DST', help='file to write')
    parser.add_argument('--space', required=True, choices=['tiny', 'small', 'base'], help='search space of the supernet')
    args = parser.parse_args(argv)
    writable_folder(args.target.parent)

    import openmsra.autoformer  # noqa: F401 - registers the supernet
    from openmsra.engine.checkpoint.io import load_file, load_weights, save_file, weights_of
    from openmsra.registry import MODELS

    checkpoint = load_file(args.source)
    state = {rename(key): value for key, value in weights_of(checkpoint, args.source).items()}
    head = state.get('head.weight')
    model = MODELS.build(dict(type='AutoFormerSupernet', space=args.space, num_classes=1000 if head is None else len(head)))
    load_weights(model, state, args.source)
    meta = dict(space=model.space.to_dict(), max_relative_position=model.max_relative_position, source=args.source.name)
    save_file(dict(state_dict=state, meta=meta), args.target)
    print(f'wrote {args.target}: {len(state)} entries, {sum(value.numel() for value in state.values()):,} parameters')


if __name__ == '__main__':
    run_tool(main)
