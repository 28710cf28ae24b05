"""Look at samples as the network gets them: pictures of what the pipelines of a config make, with labels and boxes."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openmsra.common.outputs import printable, writable_folder
from openmsra.engine.config.options import OptionAction
from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError

FRAMES = 8  # of a clip that are drawn


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or the name of one of ours')
    parser.add_argument('--phase', choices=('train', 'val', 'test'), default='train')
    parser.add_argument('--count', type=int, default=8, help='samples (default: %(default)s)')
    parser.add_argument('--out', type=Path, default=Path('browsed'), help='folder for the pictures (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the augmentation')
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, metavar='KEY=VALUE', help='override settings')
    args = parser.parse_args(argv)
    writable_folder(args.out)

    import numpy as np
    from mmengine.registry import DATASETS, DefaultScope
    from mmengine.runner import set_random_seed
    from PIL import Image

    from openmsra.engine.config.files import load_config

    cfg = load_config(args.config, args.cfg_options)
    loader = cfg.get(f'{args.phase}_dataloader')
    if loader is None:
        raise ToolError(f'{args.config}: it has no {args.phase}_dataloader.')
    set_random_seed(args.seed)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'openmsra')):
        dataset = DATASETS.build(loader.dataset)
        numbers = np.linspace(0, len(dataset) - 1, min(args.count, len(dataset))).round().astype(int)
        for number in numbers.tolist():
            sample = dataset[number]
            file = args.out / f'{args.phase}_{number:06d}.png'
            Image.fromarray(sheet(sample, bgr=cfg.model.type.startswith(('SoftTeacher', 'AutoFormer')))).save(file)
            print(f'wrote {printable(file)}: {describe(sample)}')


def tensors(value: Any, name: str = '') -> Iterator[tuple[str, Any]]:
    """Name and tensor of everything in ``inputs`` that has the shape of images (3, H, W) or clips (3, T, H, W)."""
    import torch

    if isinstance(value, torch.Tensor):
        if value.ndim == 5:  # several clips
            for number, clip in enumerate(value):
                yield f'{name} {number}', clip
        elif value.ndim in (3, 4) and value.shape[0] in (1, 3):
            yield name, value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from tensors(child, f'{name} {key}'.strip())
    elif isinstance(value, list | tuple):
        for number, child in enumerate(value):
            yield from tensors(child, f'{name} {number}'.strip())


def picture(tensor):
    """(H, W, 3) uint8: an image, or frames of a clip beside each other. Values of floating-point inputs are stretched."""
    import numpy as np

    array = tensor.numpy()
    if array.dtype != np.uint8:
        low, high = array.min(), array.max()
        array = ((array - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
    if array.ndim == 4:
        chosen = np.linspace(0, array.shape[1] - 1, min(FRAMES, array.shape[1])).round().astype(int)
        array = np.concatenate([array[:, frame] for frame in chosen], axis=2)
    array = np.repeat(array, 3, 0) if array.shape[0] == 1 else array
    return np.ascontiguousarray(array.transpose(1, 2, 0))


def sheet(sample: dict, bgr: bool = False):
    """All images of a sample below each other, with the boxes of its annotations; ``bgr`` is the order of their channels.

    Raises:
        ToolError: there is nothing to draw in it.
    """
    import cv2
    import numpy as np

    rows = []
    for name, tensor in tensors(sample.get('inputs', sample)):
        image = picture(tensor)[..., ::-1].copy() if bgr else picture(tensor)
        scale = max(1, -(-96 // image.shape[0]))
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        for box in _boxes(sample, name):
            x1, y1, x2, y2 = (int(round(float(value) * scale)) for value in box)
            cv2.rectangle(image, (x1, y1), (x2, y2), (40, 200, 40), 2)
        caption = np.full((18, image.shape[1], 3), 255, np.uint8)
        cv2.putText(caption, name or 'input', (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        rows += [caption, image]
    if not rows:
        raise ToolError('the samples of this data set hold no images or clips.')
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows])


def _boxes(sample: dict, name: str) -> list:
    """Boxes of an image, of the branch that its name begins with."""
    samples = sample.get('data_samples')
    if isinstance(samples, dict):
        samples = samples.get(name.split()[0] if name else '')
    instances = getattr(samples, 'gt_instances', None)
    boxes = getattr(instances, 'bboxes', None)
    return [] if boxes is None else [box.tolist() for box in getattr(boxes, 'tensor', boxes)]


def describe(sample: dict) -> str:
    """Shapes, and the label where there is one."""
    shapes = [f'{name or "input"} {" x ".join(map(str, tensor.shape))}' for name, tensor in tensors(sample.get('inputs', sample))]
    samples = sample.get('data_samples')
    facts = [
        f'{key} {getattr(samples, key)}'.replace('\n', ' ')
        for key in ('gt_label', 'gt_score', 'scene', 'video', 'method')
        if not isinstance(samples, dict) and getattr(samples, key, None) is not None
    ]
    return ', '.join([*shapes, *facts])


if __name__ == '__main__':
    run_tool(main)
