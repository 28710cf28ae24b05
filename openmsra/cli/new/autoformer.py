"""A config for AutoFormer: a supernet on images in a folder for each class, or in a CSV table; optionally its search."""

import argparse
import csv
from collections import Counter
from pathlib import Path

from openmsra.cli.new.looking import (
    Machine,
    Report,
    hold_out,
    machine,
    median,
    readable_images,
    report_copies,
    rounded,
    schedule,
    write_lines,
)
from openmsra.cli.new.text import ConfigText, literal
from openmsra.errors import AnnotationError, DataError, MissingFileError

Rows = list[tuple[Path, str]]  # image, class
PARTS = {'train': ('train', 'training'), 'val': ('val', 'valid', 'validation'), 'test': ('test', 'testing')}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--images', type=Path, required=True, help='a folder for each class, or train/ and val/ with these; root of --csv'
    )
    parser.add_argument('--csv', type=Path, help='table with the columns image and label, perhaps split (train, val, test)')
    parser.add_argument('--val-share', type=float, default=0.15, help='held out where nothing else is for validation (0.15)')
    parser.add_argument('--latency-ms', type=float, help='also write a search for the best sub-network of this latency')


def build(args: argparse.Namespace, report: Report) -> ConfigText:
    """Look at the images and write the config.

    Raises:
        MissingFileError, DataError, AnnotationError: no such data, one class only, images that cannot be read.
    """
    root = args.images.absolute()
    if not root.is_dir():
        raise MissingFileError(f'--images {args.images}: there is no such folder.')
    parts = _from_table(args.csv, root) if args.csv else _from_folders(root)
    sizes = readable_images([path for rows in parts.values() for path, _ in rows], report)
    parts = {name: [row for row in rows if row[0] in sizes] for name, rows in parts.items()}
    if 'val' not in parts:
        parts['train'], parts['val'] = hold_out(parts['train'], args.val_share, group=lambda row: row[1])
        report.facts.append(f'no part for validation: {len(parts["val"])} images are held out, the same in each run')
    classes = _checked_classes(parts, args.images, report)
    report_copies({name: [path for path, _ in rows] for name, rows in parts.items()}, report)
    counts = Counter(label for _, label in parts['train'])
    side = median(min(size) for size in sizes.values())
    report.facts.insert(
        0,
        f'{args.images}: {len(classes)} classes, '
        + ', '.join(f'{len(rows)} images for {name}' for name, rows in parts.items())
        + f'; the shorter side is {side} pixels in the middle; {min(counts.values())} to {max(counts.values())} images a class',
    )
    lists = {
        name: write_lines(
            args.files / f'{name}.txt', (f'{path.relative_to(root)} {classes.index(label)}' for path, label in rows)
        )
        for name, rows in parts.items()
    }
    resources = machine(args.size)
    title = f'AutoFormer on {len(parts["train"])} images of {len(classes)} classes of {root}.'
    write = _full if resources.gpus else _small
    text = write(title, root, lists, classes, side, len(parts['train']), _statistics(list(sizes)), resources)
    if args.latency_ms:
        _write_search(args, lists, report)
    return text


def _from_folders(root: Path) -> dict[str, Rows]:
    from openmsra.common.files import visible_folders
    from openmsra.common.images import list_images

    folders = {path.name.lower(): path for path in visible_folders(root)}
    parts = {part: next((folders[name] for name in names if name in folders), None) for part, names in PARTS.items()}
    if parts['train'] is None:
        parts = {'train': root}
    rows = {}
    for part, folder in parts.items():
        if folder is not None:
            labelled = [(image, label) for label in visible_folders(folder) for image in list_images(label)]
            rows[part] = [(image, label.name) for image, label in labelled]
            if not rows[part]:
                raise DataError(f'{folder}: no sub-folder with images in it; AutoFormer needs a folder for each class.')
    if 'val' not in rows and 'test' in rows:
        rows['val'] = rows.pop('test')
    return rows


def _from_table(table: Path, root: Path) -> dict[str, Rows]:
    from openmsra.common.annotations import inside, read_text

    reader = csv.DictReader(read_text(table).splitlines())
    if not {'image', 'label'} <= set(reader.fieldnames or ()):
        raise AnnotationError(
            f'{table}: the columns image and label are needed, it has {", ".join(reader.fieldnames or ["none"])}.'
        )
    rows: dict[str, Rows] = {}
    for row in reader:
        split = (row.get('split') or 'train').strip().lower()
        part = next((part for part, names in PARTS.items() if split in names), None)
        if part is None:
            raise AnnotationError(f'{table}, line {reader.line_num}: the split {split!r} is not train, val or test.')
        rows.setdefault(part, []).append((inside(root, row['image'].strip(), table), row['label'].strip()))
    if 'train' not in rows:
        raise AnnotationError(f'{table}: no image is for training.')
    return rows


def _checked_classes(parts: dict[str, Rows], place: Path, report: Report) -> list[str]:
    classes = sorted({label for _, label in parts['train']})
    if len(classes) < 2:
        raise DataError(f'{place}: one class only ({classes[0] if classes else "none"}); there is nothing to tell apart.')
    for name, rows in parts.items():
        if strange := sorted({label for _, label in rows} - set(classes)):
            raise DataError(f'{place}: the part {name} has classes that training never sees: {", ".join(strange[:5])}.')
    few = [label for label, count in Counter(label for _, label in parts['train']).items() if count < 10]
    if few:
        report.warnings.append(f'{len(few)} classes have fewer than 10 training images: {", ".join(few[:5])}')
    return classes


def _statistics(images: list[Path], count: int = 200) -> tuple[list[float], list[float]]:
    """Mean and deviation of the channels over some of the images, RGB from 0 to 255."""
    import numpy as np

    from openmsra.common.images import read_rgb

    step = max(1, len(images) // count)
    sums = np.array([[p.mean(0), (p**2).mean(0)] for p in (read_rgb(f).reshape(-1, 3).astype(float) for f in images[::step])])
    mean, square = sums.mean(0)
    return mean.round(2).tolist(), np.sqrt((square - mean**2).clip(1)).round(2).tolist()


def _datasets(root: Path, lists: dict[str, Path], classes: list[str]) -> str:
    return f"dict(type='mmpretrain.CustomDataset', data_prefix={str(root)!r}, classes=classes)"


def _add_data(text: ConfigText, root: Path, lists: dict[str, Path], classes: list[str], size: int, side: float) -> None:
    if len(literal(classes)) < 100:
        text.add(f'classes = {literal(classes)}', 'in the order of their numbers')
    else:
        names = write_lines(lists['train'].with_name('classes.txt'), classes)
        text.add(f'classes = {str(names)!r}', f'{len(classes)} names in the order of their numbers, one a line')
    text.add(f'images = {_datasets(root, lists, classes)}')
    if side <= 40:
        crop = f"dict(type='mmpretrain.RandomCrop', crop_size={size}, padding={max(1, size // 8)})"
    else:
        crop = f"dict(type='mmpretrain.RandomResizedCrop', scale={size}, crop_ratio_range=(0.3, 1.0), backend='pillow')"
    resize = f"dict(type='mmpretrain.ResizeEdge', scale={size}, edge='short', backend='pillow')"
    text.block(
        'training = [',
        [
            ("dict(type='LoadImageFromFile')", ''),
            *([(resize, '')] if side <= 40 else []),
            (crop, ''),
            ("dict(type='mmpretrain.RandomFlip', prob=0.5, direction='horizontal')", '0.0 where left and right differ'),
            ("dict(type='mmpretrain.PackInputs')", ''),
        ],
        ']',
    )
    text.block(
        'evaluation = [',
        [
            ("dict(type='LoadImageFromFile')", ''),
            (resize, ''),
            (f"dict(type='mmpretrain.CenterCrop', crop_size={size})", ''),
            ("dict(type='mmpretrain.PackInputs')", ''),
        ],
        ']',
    )


def _add_loaders(text: ConfigText, lists: dict[str, Path], batch: int, workers: int, sampler: str) -> None:
    files = {name: str(file) for name, file in lists.items()}
    read = f'num_workers={workers}, persistent_workers=True'
    text.add(
        f'train_dataloader = dict(batch_size={batch}, {read},{sampler}\n'
        f'    dataset=dict(images, _delete_=True, ann_file={files["train"]!r}, pipeline=training))'
    )
    for phase in ('val', 'test'):
        file = files.get(phase, files['val'])
        text.add(
            f'{phase}_dataloader = dict(batch_size=100, {read},\n'
            f'    dataset=dict(images, _delete_=True, ann_file={file!r}, pipeline=evaluation))'
        )


def _small(
    title: str,
    root: Path,
    lists: dict[str, Path],
    classes: list[str],
    side: float,
    count: int,
    statistics: tuple[list[float], list[float]],
    resources: Machine,
) -> ConfigText:
    text = ConfigText(title, 'autoformer/_base_digits.py')
    size = 32 if side <= 48 else 64 if side <= 96 else 96
    patch, batch = size // 8, min(64, max(8, count // 4))
    epochs = schedule(count, batch, 3000, most=200)
    text.add("custom_imports = dict(imports=['openmsra.autoformer'])", 'the inherited miniature is not needed')
    _add_data(text, root, lists, classes, size, side)
    _add_loaders(text, lists, batch, resources.workers, '')
    text.block(
        'model = dict(',
        [
            (
                'space=dict(embed_dim=[64, 96, 128], depth=[4, 5, 6], num_heads=[2, 3, 4], mlp_ratio=[2.0, 3.0, 4.0],'
                ' head_dim=32)',
                'what the search may choose from: 0.2 to 1.3 million parameters, which a CPU trains',
            ),
            (f'num_classes={len(classes)}, in_channels=3', ''),
            (
                f'img_size={size}, patch_size={patch}, max_relative_position=8',
                f'64 patches of {patch} pixels; the images have {side} in their shorter side',
            ),
            ('init_std=0.02, drop_path_rate=0.05', ''),
            (f'loss=dict(num_classes={len(classes)})', ''),
            (
                f'data_preprocessor=dict(num_classes={len(classes)}, mean={statistics[0]}, std={statistics[1]}, to_rgb=True)',
                'measured on the images',
            ),
        ],
    )
    text.add('optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=5.0))', 'safe for networks of this size')
    _add_schedule(text, epochs, count // batch)
    text.add(f'auto_scale_lr = dict(base_batch_size={batch})')
    return text


def _add_schedule(text: ConfigText, epochs: int, steps: int) -> None:
    warm_up = max(1, epochs // 20)
    text.add(f'train_cfg = dict(max_epochs={epochs}, val_interval={max(1, epochs // 10)})', f'about {epochs * steps} iterations')
    text.block(
        'param_scheduler = [',
        [
            (f"dict(type='LinearLR', start_factor=0.01, by_epoch=True, end={warm_up}, convert_to_iter_based=True)", ''),
            (
                f"dict(type='CosineAnnealingLR', by_epoch=True, begin={warm_up}, end={epochs}, convert_to_iter_based=True)",
                '',
            ),
        ],
        ']',
    )


def _full(
    title: str,
    root: Path,
    lists: dict[str, Path],
    classes: list[str],
    side: float,
    count: int,
    statistics: tuple[list[float], list[float]],
    resources: Machine,
) -> ConfigText:
    text = ConfigText(title, 'autoformer/_base_in1k.py')
    size = 224 if side >= 128 else rounded(side, 16, 32)
    patch = 16 if size == 224 else max(4, size // 8)
    batch = 128 if resources.memory >= 16 else 64
    total = batch * resources.gpus
    epochs = schedule(count, total, 60_000, fewest=100, most=500)
    _add_data(text, root, lists, classes, size, side)
    _add_loaders(text, lists, batch, resources.workers, " sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),")
    text.block(
        'model = dict(',
        [
            ("space='tiny'", "the paper's 4.9 to 10 million parameters; 'small' and 'base' are larger"),
            (f'num_classes={len(classes)}', ''),
            (f'img_size={size}, patch_size={patch}', f'the images have {side} pixels in their shorter side'),
            (f'loss=dict(num_classes={len(classes)})', ''),
            (f'data_preprocessor=dict(num_classes={len(classes)})', ''),
        ],
    )
    text.add(f"val_evaluator = test_evaluator = dict(type='mmpretrain.Accuracy', topk=({'1, 5' if len(classes) > 5 else '1,'}))")
    text.add(
        f'optim_wrapper = dict(optimizer=dict(lr={1e-3 * total / 1024:.3g}))', f'1e-3 for 1024 images, {total} are in a batch'
    )
    _add_schedule(text, epochs, max(1, count // total))
    text.add(f'auto_scale_lr = dict(base_batch_size={total})')
    return text


def _write_search(args: argparse.Namespace, lists: dict[str, Path], report: Report) -> None:
    """A second config, which inherits from the first."""
    file = args.out.with_name(f'{args.out.stem}_search.py')
    file.write_text(
        f"""# The best sub-network of at most {args.latency_ms:g} ms an image on this machine, scored on the validation images.
#   openmsra train {file.name} --cfg-options train_cfg.checkpoint=work_dirs/{args.out.stem}/epoch_N.pth
_base_ = './{args.out.name}'

train_dataloader = dict(batch_size=100, drop_last=False, sampler=dict(shuffle=False),
    dataset=dict(ann_file={str(lists['val'])!r}, pipeline=_base_.evaluation))
train_cfg = dict(
    _delete_=True,
    type='EvolutionLoop',
    budgets=dict(latency=(None, {args.latency_ms:g})),  # ms, measured here; params=(200_000, 800_000) counts parameters instead
    latency=dict(batch_size=1),
    evolution=dict(generations=10, population=50, parents=10, mutations=25, crossovers=25),
    recipe={str(args.out.absolute())!r},
)
val_cfg = val_dataloader = val_evaluator = param_scheduler = None
""",
        encoding='utf-8',
    )
    report.facts.append(f'wrote {file}: the search, to be started when the supernet is trained')
