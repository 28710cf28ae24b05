"""Draw what MaskCo trains on: query views with the hole, key views with the positive (green) and other regions (red)."""

import argparse
from pathlib import Path

from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', type=Path, help='pre-training config')
    parser.add_argument('out', type=Path, help='picture to write')
    parser.add_argument('--images', type=int, default=6, help='how many')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(argv)
    writable_folder(args.out.parent)

    import numpy as np
    from mmengine.registry import init_default_scope

    from openmsra.engine.config.files import load_config
    from openmsra.registry import DATASETS, MODELS

    cfg = load_config(args.config)
    init_default_scope('openmsra')
    np.random.seed(args.seed)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    preprocessor, model = MODELS.build(cfg.data_preprocessor), MODELS.build(cfg.model)
    figure = draw([dataset[i] for i in range(min(args.images, len(dataset)))], preprocessor, model)
    figure.savefig(args.out, dpi=110)
    print(f'wrote {args.out}')


def draw(samples: list[dict], preprocessor, model):
    """A column a sample: the query view that the network sees above the key view."""
    from matplotlib.figure import Figure
    from mmengine.dataset import default_collate

    batch = preprocessor(default_collate(samples))
    regions = batch['regions']
    query, key = batch['inputs']
    figure = Figure(figsize=(1.6 * len(samples), 3.4), layout='constrained')
    axes = figure.subplots(2, len(samples), squeeze=False)
    for row, views in zip(axes, (model.hide(query, regions['query']), key), strict=True):
        for axis, view in zip(row, views * preprocessor.std + preprocessor.mean, strict=True):
            axis.imshow(view.detach().permute(1, 2, 0).clamp(0, 255).byte().numpy())
            axis.axis('off')
    for i in range(len(samples)):
        _outline(axes[0, i], regions['query'][i], 'lime')
        _outline(axes[1, i], regions['key'][i], 'lime')
        _outline(axes[1, i], regions['negatives'][i][regions['valid'][i]], 'red')
    return figure


def _outline(axis, boxes, colour: str) -> None:
    from matplotlib.patches import Rectangle

    for x1, y1, x2, y2 in boxes.tolist():  # pixel i is drawn around i, so edges lie half a pixel lower
        axis.add_patch(Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, color=colour, linewidth=1.2))


if __name__ == '__main__':
    run_tool(main)
