"""Draw what MaskCo predicts: the hole, where in the key view the prediction fits, and the regions that are nearest to it.

A row an image: query view with its hole; key view with the similarity of the prediction to every place (bright is alike);
then the nearest regions of all drawn images, the nearest first. A green frame is the region that was hidden, a yellow one
another region of the same image, a red one of another image.
"""

import argparse
from pathlib import Path

from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', type=Path, help='pre-training config')
    parser.add_argument('checkpoint', type=Path, help='weights of tools/train.py')
    parser.add_argument('out', type=Path, help='picture to write')
    parser.add_argument('--rows', type=int, default=5, help='images that are drawn')
    parser.add_argument('--pool', type=int, default=64, help='images whose regions are searched')
    parser.add_argument('--neighbours', type=int, default=6, help='nearest regions in a row')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(argv)
    writable_folder(args.out.parent)

    import numpy as np
    import torch
    from mmengine.dataset import default_collate
    from mmengine.registry import init_default_scope

    from openmsra.apis import init_model
    from openmsra.errors import ToolError
    from openmsra.registry import DATASETS

    model = init_model(args.config, args.checkpoint)
    if model.region == 'view' or model.pool.bins > 1:
        raise ToolError(
            f'{args.config}: draws regions of one bin, this model has region={model.region!r} and {model.pool.bins} bins a side.'
        )
    init_default_scope('openmsra')
    np.random.seed(args.seed)
    dataset = DATASETS.build(model.cfg.train_dataloader.dataset)
    batch = default_collate([dataset[i] for i in range(min(max(args.pool, args.rows), len(dataset)))])
    with torch.inference_mode():
        figure = draw(model, model.data_preprocessor(batch), args.rows, args.neighbours)
    figure.savefig(args.out, dpi=110)
    print(f'wrote {args.out}')


def draw(model, batch: dict, rows: int, neighbours: int):
    """Figure of the first ``rows`` images of a batch."""
    import torch
    from matplotlib.figure import Figure

    (query_views, key_views), regions = batch['inputs'], batch['regions']
    queries = model.encode_queries(query_views, regions['query'])[:, 0]
    positives, negatives = model.encode_keys(key_views, regions)
    boxes = torch.cat([regions['key'][:, :1], regions['negatives']], dim=1)
    valid = torch.cat([torch.ones_like(regions['valid'][:, :1]), regions['valid']], dim=1)
    similar = torch.einsum('qd,bnd->qbn', queries, torch.cat([positives[:, :1], negatives], dim=1))
    similar = similar.masked_fill(~valid, -1)
    pixels = [_pixels(model, views) for views in (model.hide(query_views, regions['query']), key_views)]
    maps = similarity_maps(model, key_views[:rows], queries[:rows])
    figure = Figure(figsize=(1.3 * (2 + neighbours), 1.4 * rows), layout='constrained')
    axes = figure.subplots(rows, 2 + neighbours, squeeze=False)
    for i, row in enumerate(axes):
        _show(row[0], pixels[0][i], box=regions['query'][i, 0])
        _show(row[1], pixels[1][i], box=regions['key'][i, 0])
        row[1].imshow(
            maps[i].numpy(), alpha=0.55, cmap='magma', extent=(-0.5, len(pixels[1][i]) - 0.5) + (len(pixels[1][i]) - 0.5, -0.5)
        )
        for axis, place in zip(row[2:], similar[i].flatten().topk(neighbours).indices.tolist(), strict=True):
            image, number = divmod(place, boxes.shape[1])
            x1, y1, x2, y2 = (round(edge) for edge in boxes[image, number].tolist())
            colour = 'red' if image != i else 'lime' if number == 0 else 'gold'
            _show(axis, pixels[1][image][y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)], frame=colour)
    for axis, title in zip(axes[0], ['query', 'key', 'nearest'], strict=False):
        axis.set_title(title, fontsize=9)
    return figure


def similarity_maps(model, views, queries):
    """Cosine similarity (B, H, W) of the queries (B, D) to every cell of the key map of their views (B, 3, S, S)."""
    import torch
    import torch.nn.functional as F

    features = model.encoder_k[0](views)[-1]
    features = model.encoder_k[2](features) if model.mph_side == 'both' else features
    cells = features.flatten(2).mT
    vectors = F.normalize(model.encoder_k[1]((cells.flatten(0, 1),))[0], dim=-1).unflatten(0, cells.shape[:2])
    return torch.einsum('bd,bpd->bp', queries, vectors).unflatten(1, features.shape[2:])


def _pixels(model, views):
    preprocessor = model.data_preprocessor
    return (views * preprocessor.std + preprocessor.mean).permute(0, 2, 3, 1).clamp(0, 255).byte().numpy()


def _show(axis, image, box=None, frame: str | None = None) -> None:
    from matplotlib.patches import Rectangle

    axis.imshow(image)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(visible=frame is not None, color=frame, linewidth=2.5)
    if box is not None:
        x1, y1, x2, y2 = box.tolist()  # pixel i is drawn around i, so edges lie half a pixel lower
        axis.add_patch(Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, color='lime', linewidth=1.5))


if __name__ == '__main__':
    run_tool(main)
