"""A config for MaskCo, which learns from a folder of images without labels."""

import argparse
from math import log2
from pathlib import Path

from openmsra.cli.new.looking import Machine, Report, machine, median, readable_images, schedule, write_lines
from openmsra.cli.new.text import ConfigText
from openmsra.errors import DataError

FEWEST = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--images', type=Path, required=True, help='folder of images, searched with its sub-folders')


def build(args: argparse.Namespace, report: Report) -> ConfigText:
    """Look at the images and write the config.

    Raises:
        MissingFileError, DataError: no such folder, or too few images that can be read.
    """
    from openmsra.common.images import list_images

    root = args.images.absolute()
    sizes = readable_images(list_images(root), report)
    if len(sizes) < FEWEST:
        raise DataError(f'{args.images}: {len(sizes)} images are too few to contrast with each other; at least {FEWEST}.')
    side = median(min(size) for size in sizes.values())
    report.facts.append(f'{args.images}: {len(sizes)} images, their shorter side is {side} pixels in the middle')
    names = write_lines(args.files / 'images.txt', (str(path.relative_to(root)) for path in sizes))
    title = f'MaskCo on {len(sizes)} images of {root}.'
    resources = machine(args.size)
    data = f'data_root={str(root)!r}, ann_file={str(names)!r}'
    return (_full if resources.gpus else _small)(title, data, len(sizes), side, resources)


def queue_length(images: int, most: int) -> int:
    """A power of two of at most half the images: a longer queue would hold keys of the query's own image."""
    return min(most, 2 ** int(log2(max(images / 2, 32))))


def _small(title: str, data: str, images: int, side: float, resources: Machine) -> ConfigText:
    text = ConfigText(title, 'maskco/_base_digits.py')
    size, batch = (64 if side >= 64 else 32), min(64, images // 2)
    epochs = schedule(images, batch, 2500)
    text.add("custom_imports = dict(imports=['openmsra.maskco'])", 'the inherited miniature is not needed')
    text.add(
        'data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])', 'of photographs, as everywhere'
    )
    text.add(f'model = dict(queue_len={queue_length(images, 4096)})', f'a power of two of at most half of the {images} images')
    text.block(
        'views = dict(',
        [
            ("type='TwoRegionViews'", ''),
            (f'size={size}', f'pixels of a view: the images have {side} in their shorter side, and a CPU has little time'),
            ('crop_scale=(0.1, 0.6)', 'share of the image in a view; raise it where one object fills an image'),
            ('flip=0.5', '0.0 where left and right differ, in text for instance'),
            ('photometric=_base_.photometric', ''),
            (f'min_common_side={size // 4}, min_region_side={size // 6}', 'pixels that two views share, and that a hole has'),
            ('region_scale=(0.08, 0.25), negative_iou=0.15', 'share of the view that is hidden'),
        ],
    )
    text.block(
        'train_dataloader = dict(',
        [
            (f'batch_size={batch}', ''),
            (f'num_workers={resources.workers}, persistent_workers=True', 'processes that read images'),
            (
                f"dataset=dict(_delete_=True, type='UnlabelledImages', {data}, pipeline=[views, dict(type='PackRegionViews')])",
                'images that can be read',
            ),
        ],
    )
    text.add('val_dataloader = val_cfg = val_evaluator = test_dataloader = test_cfg = test_evaluator = None', 'no labels')
    text.add(f'train_cfg = dict(max_epochs={epochs})', f'about {epochs * (images // batch)} iterations: an hour on two cores')
    text.block(
        'param_scheduler = [',
        [
            ("dict(type='LinearLR', start_factor=0.05, by_epoch=True, end=2, convert_to_iter_based=True)", ''),
            (
                f"dict(type='CosineAnnealingLR', begin=2, end={epochs}, T_max={epochs - 2}, by_epoch=True, "
                'convert_to_iter_based=True)',
                '',
            ),
        ],
        ']',
    )
    text.add(f'default_hooks = dict(checkpoint=dict(interval={max(1, epochs // 10)}), logger=dict(interval=20))')
    text.add(f'auto_scale_lr = dict(base_batch_size={batch})')
    return text


def _full(title: str, data: str, images: int, side: float, resources: Machine) -> ConfigText:
    text = ConfigText(title, 'maskco/_base_r50.py')
    batch = 64 if resources.memory >= 40 else 32
    total = batch * resources.gpus
    epochs = schedule(images, total, 100_000, fewest=100, most=800)
    text.add(f'model = dict(queue_len={queue_length(images, 65536)})', f'a power of two of at most half of the {images} images')
    if side < 224:
        text.add(
            'views = dict(_base_.views, size=128, min_common_side=36, min_region_side=18)',
            f'the images have {side} pixels in their shorter side',
        )
    else:
        text.add('views = _base_.views', f'224 pixels: the images have {side} in their shorter side')
    text.block(
        'train_dataloader = dict(',
        [
            (f'batch_size={batch}', f'of each of {resources.gpus} GPU(s) with {resources.memory:.0f} GB'),
            (f'num_workers={resources.workers}', ''),
            (f"dataset=dict({data}, pipeline=[views, dict(type='PackRegionViews')])", ''),
        ],
    )
    text.add(f'optim_wrapper = dict(optimizer=dict(lr={0.03 * total / 256:.4g}))', f'0.03 for 256 images, {total} are in a batch')
    text.add(f'train_cfg = dict(max_epochs={epochs})', f'about {epochs * (images // total)} iterations')
    text.add(f"param_scheduler = [dict(type='CosineAnnealingLR', T_max={epochs}, by_epoch=True, convert_to_iter_based=True)]")
    text.add(f'auto_scale_lr = dict(base_batch_size={total})')
    return text
