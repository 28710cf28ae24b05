"""Embed videos with a pre-trained encoder: an npz file of features, and the nearest neighbours of each video if asked for."""

import argparse
import json
import shutil
from pathlib import Path

from openmsra.common.outputs import left_out, writable_folder
from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config with test data, e.g. retrieval_r2plus1d-18_1xb4_ucf101')
    parser.add_argument('checkpoint', type=Path, help='checkpoint of the pre-training or of tools/model_converters/mcn_export.py')
    parser.add_argument('videos', type=Path, nargs='+', help='videos and folders of videos')
    parser.add_argument('--out', type=Path, default=Path('embeddings.npz'), help='npz file with "video" and "feature"')
    parser.add_argument('--gallery', type=Path, help='npz file of an earlier call to search (default: the videos themselves)')
    parser.add_argument('--neighbours', type=int, default=0, metavar='K', help='nearest neighbours, printed and beside the npz')
    parser.add_argument('--device', default='cpu')
    args = parser.parse_intermixed_args(argv)
    if args.out.suffix != '.npz':
        raise ToolError(f'--out {args.out}: the name must end in .npz.')
    if args.gallery and not args.gallery.is_file():
        raise ToolError(f'--gallery {args.gallery}: there is no such file.')
    writable_folder(args.out.parent)

    import numpy as np

    from openmsra.mcn.inferencer import MCNInferencer, embeddings, neighbours

    partial = args.out.with_suffix('.partial')  # holds what is done as long as the whole is not
    rows = MCNInferencer(args.config, args.checkpoint, args.device)(args.videos, out_dir=partial, show_progress=True)
    embedded = embeddings(rows)
    np.savez(args.out, **embedded)
    shutil.rmtree(partial)
    print(f'wrote {args.out}: {len(embedded["video"])} videos, features of length {embedded["feature"].shape[1]}')
    if args.neighbours:
        try:
            found = neighbours(embedded, dict(np.load(args.gallery)) if args.gallery else embedded, args.neighbours)
        except ValueError as error:
            raise ToolError(str(error)) from None
        file = args.out.with_suffix('.json')
        file.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
        for row in found:
            print(row['video'], *(f'\n  {near["similarity"]:.3f}  {near["video"]}' for near in row['neighbours']))
    if faults := {row['video']: row['error'] for row in rows if 'error' in row}:
        raise left_out(faults, len(rows), 'videos', args.out)


if __name__ == '__main__':
    run_tool(main)
