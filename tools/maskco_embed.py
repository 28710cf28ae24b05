"""Embed images, and regions of them, with a pre-trained backbone; writes one .npz file."""

import argparse
import shutil
from math import isfinite
from pathlib import Path

from openmsra.common.annotations import read_json
from openmsra.common.outputs import left_out, writable_folder
from openmsra.engine.launch import run_tool
from openmsra.errors import AnnotationError, ToolError


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='pre-training config')
    parser.add_argument('checkpoint', type=Path, help='weights of tools/train.py')
    parser.add_argument('images', type=Path, help='an image or a folder, which is searched with its sub-folders')
    parser.add_argument(
        'out',
        type=Path,
        metavar='OUT.npz',
        help='arrays images (N,), features (N, C); with boxes also region_images (M,), regions (M, 4), region_features (M, C)',
    )
    parser.add_argument('--boxes', type=Path, help='json: {file name, or the end of its path: [[x1, y1, x2, y2], ...]} in pixels')
    parser.add_argument('--size', type=int, default=224, help='images are resized to this side (default: %(default)s)')
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args(argv)
    if args.out.suffix != '.npz':
        raise ToolError(f'{args.out}: the name must end in .npz.')
    writable_folder(args.out.parent)

    import numpy as np

    from openmsra.common.images import list_images
    from openmsra.maskco import MaskCoInferencer

    embed = MaskCoInferencer(args.config, args.checkpoint, args.device, args.size)
    names = [str(file) for file in list_images(args.images)]
    boxes = _boxes(args.boxes, names) if args.boxes else None
    partial = args.out.with_suffix('.partial')  # holds what is done as long as the whole is not
    rows = embed(args.images, boxes=boxes, out_dir=partial, show_progress=True)
    readable = [number for number, row in enumerate(rows) if 'error' not in row]
    faults = {row['image']: row['error'] for row in rows if 'error' in row}
    total = len(rows)
    rows, names = [rows[number] for number in readable], [names[number] for number in readable]
    arrays = dict(images=np.array(names), features=np.stack([row['feature'] for row in rows]))
    if boxes:
        boxes = [np.reshape(boxes[number], (-1, 4)) for number in readable]
        arrays |= dict(
            region_images=np.repeat(names, [len(found) for found in boxes]),
            regions=np.concatenate(boxes),
            region_features=np.concatenate([row['region_features'] for row in rows]),
        )
    np.savez(args.out, **arrays)
    shutil.rmtree(partial)
    print(f'wrote {args.out}: ' + ', '.join(f'{name} {array.shape}' for name, array in arrays.items()))
    if faults:
        raise left_out(faults, total, 'images', args.out)


def _boxes(file: Path, names: list[str]) -> list[list]:
    """Boxes in the order of the images; an image without an entry has none."""
    found: dict[str, list] = {}
    for key, boxes in read_json(file, {}).items():
        if not isinstance(boxes, list) or not all(_is_box(box) for box in boxes):
            raise AnnotationError(f'{file}: {key}: not a list of boxes [x1, y1, x2, y2] in pixels.')
        meant = [name for name in names if name == key or name.endswith(f'/{key}')]
        if not meant:
            raise ToolError(f'{file}: boxes of {key}, but no such image is among the {len(names)} to embed.')
        if len(meant) > 1 or meant[0] in found:
            raise ToolError(f'{file}: {key} could be {", ".join(meant[:5])} or is named twice; give longer paths.')
        found[meant[0]] = boxes
    return [found.get(name, []) for name in names]


def _is_box(box: object) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(isinstance(x, int | float) and isfinite(x) for x in box)


if __name__ == '__main__':
    run_tool(main)
