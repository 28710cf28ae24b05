"""Embed images, and regions of them, with a pre-trained backbone; writes one .npz file."""

import argparse
import json
from pathlib import Path

from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError


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
    parser.add_argument('--boxes', type=Path, help='json: {file name: [[x1, y1, x2, y2], ...]} in pixels')
    parser.add_argument('--size', type=int, default=224, help='images are resized to this side (default: %(default)s)')
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args(argv)

    import numpy as np

    from openmsra.common.images import list_images
    from openmsra.maskco import MaskCoInferencer

    embed = MaskCoInferencer(args.config, args.checkpoint, args.device, args.size)
    names = [str(file) for file in list_images(args.images)]
    boxes = _boxes(args.boxes, names) if args.boxes else None
    rows = embed(args.images, boxes=boxes, show_progress=True)
    readable = [number for number, row in enumerate(rows) if 'error' not in row]
    for row in rows:
        if 'error' in row:
            print(f'skipped {row["image"]}: {row["error"]}')
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
    print(f'wrote {args.out}: ' + ', '.join(f'{name} {array.shape}' for name, array in arrays.items()))


def _boxes(file: Path, names: list[str]) -> list[list]:
    """Boxes in the order of the images; an image without an entry has none."""
    table = json.loads(file.read_text(encoding='utf-8'))
    known = {Path(name).name for name in names}
    unknown = sorted(set(table) - known)
    if unknown:
        raise ToolError(f'{file}: boxes of {", ".join(unknown[:5])}, but no such image is among the {len(names)} to embed.')
    return [table.get(Path(name).name, []) for name in names]


if __name__ == '__main__':
    run_tool(main)
