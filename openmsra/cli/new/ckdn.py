"""A config for CKDN on a table of scored pairs: restored image, degraded image, score."""

import argparse
import csv
from collections import Counter
from pathlib import Path

from openmsra.cli.new.looking import Machine, Report, machine, median, readable_images, report_copies, rounded, schedule
from openmsra.cli.new.text import ConfigText, literal
from openmsra.errors import AnnotationError, DataError

NAMES = {  # how others call the columns
    'restored': ('restored', 'sr', 'output', 'enhanced', 'distorted', 'image', 'dist_img'),
    'degraded': ('degraded', 'lq', 'lr', 'input', 'noisy'),
    'score': ('score', 'mos', 'elo', 'rating', 'quality'),
    'pristine': ('pristine', 'reference', 'gt', 'hr', 'hq', 'ref_img', 'original'),
    'scene': ('scene', 'content', 'group'),
    'split': ('split', 'part', 'subset'),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--pairs', type=Path, required=True, help='CSV table; see openmsra new')
    parser.add_argument('--root', type=Path, help='folder that its names are relative to (default: that of the table)')
    parser.add_argument('--columns', nargs='+', default=[], metavar='OURS=YOURS', help='such as score=mos pristine=original')
    parser.add_argument(
        '--score-range', nargs=2, type=float, metavar=('WORST', 'BEST'), help='of the scale (default: the extremes of the table)'
    )


def build(args: argparse.Namespace, report: Report) -> ConfigText:
    """Look at the table and the images, and write the config.

    Raises:
        MissingFileError, AnnotationError, DataError: see :class:`openmsra.ckdn.data.table.ScoredTable`.
    """
    from openmsra.ckdn.data.table import ScoredTable

    root = (args.root or args.pairs.parent).absolute()
    columns = _columns(args)
    scale = tuple(args.score_range or _range(args.pairs, columns))
    options = dict(ann_file=str(args.pairs.absolute()), data_root=str(root), score_range=scale)
    renamed = {ours: yours for ours, yours in columns.items() if ours != yours}
    parts = {
        split: list(ScoredTable(split=split, pipeline=[], columns=renamed, **options).load_data_list())
        for split in ('train', 'val')
    }
    files = {split: {Path(v) for row in rows for k, v in row.items() if k.endswith('_path')} for split, rows in parts.items()}
    unreadable: Report = Report()
    sizes = readable_images(sorted(set().union(*files.values())), unreadable, least_side=32)
    if unreadable.warnings:
        raise DataError(f'{args.pairs}: {unreadable.warnings[0]} Remove their lines from the table.')
    scenes = {split: {row['scene'] for row in rows} for split, rows in parts.items()}
    if shared := scenes['train'] & scenes['val']:
        report.warnings.append(
            f'{len(shared)} scenes are in training and validation, such as {sorted(shared)[0]!r}: the figures will be too good.'
        )
    report_copies(files, report)
    whole = all('pristine_path' in row for row in parts['train'])
    side = median(min(sizes[Path(row['restored_path'])]) for row in parts['train'])
    few = sum(count < 2 for count in Counter(row['scene'] for row in parts['val']).values())
    report.facts.append(
        f'{args.pairs}: {len(parts["train"])} pairs of {len(scenes["train"])} scenes for training, {len(parts["val"])} of '
        f'{len(scenes["val"])} for validation; scores from {scale[0]:g} (worst) to {scale[1]:g} (best); restored images have '
        f'{side} pixels in their shorter side; ' + _about_pristine(parts['train'])
    )
    if few:
        report.warnings.append(f'{few} scenes of the validation have one image only, and no order within the scene.')
    text_options = {**options, **({'columns': renamed} if renamed else {})}
    title = f'CKDN on {len(parts["train"])} scored pairs of {args.pairs.absolute()}.'
    resources = machine(args.size)
    return (_full if resources.gpus else _small)(title, text_options, len(parts['train']), side, whole, resources)


def _about_pristine(rows: list[dict]) -> str:
    count = sum('pristine_path' in row for row in rows)
    if count == len(rows):
        return 'pristine images are used in training'
    return (
        f'{count} of {len(rows)} pairs have a pristine image: not used, since all must have one'
        if count
        else 'no pristine images'
    )


def _columns(args: argparse.Namespace) -> dict[str, str]:
    from openmsra.common.annotations import read_text

    names = csv.DictReader(read_text(args.pairs).splitlines()).fieldnames or []
    given = dict(column.split('=', 1) for column in args.columns if '=' in column)
    if strange := set(given) - set(NAMES):
        raise AnnotationError(f'--columns: {", ".join(sorted(strange))} is none of {", ".join(NAMES)}.')
    lower = {name.strip().lower(): name for name in names}
    columns = {}
    for ours, theirs in NAMES.items():
        name = given.get(ours) or next((lower[other] for other in theirs if other in lower), None)
        if name is not None:
            columns[ours] = name
        elif ours in ('restored', 'degraded', 'score'):
            hint = ' (dmos is better the lower it is: --score-range WORST BEST)' if 'dmos' in lower and ours == 'score' else ''
            raise AnnotationError(
                f'{args.pairs}: no column for {ours!r} among {", ".join(names) or "none"}; name it with '
                f'--columns {ours}=NAME{hint}.'
            )
    return columns


def _range(table: Path, columns: dict[str, str]) -> tuple[float, float]:
    from openmsra.common.annotations import read_text

    values = []
    for number, row in enumerate(csv.DictReader(read_text(table).splitlines()), start=2):
        try:
            values.append(float(row[columns['score']]))
        except (TypeError, ValueError):
            raise AnnotationError(f'{table}, line {number}: the score {row[columns["score"]]!r} is no number.') from None
    if not values or min(values) == max(values):
        raise AnnotationError(f'{table}: all scores are the same; there is nothing to learn.')
    return min(values), max(values)


def _add_common(text: ConfigText, options: dict, resize: int, crop: int, batch: int, workers: int, side: float) -> None:
    text.block(
        'pairs = dict(',
        [
            ("_delete_=True, type='ScoredTable'", ''),
            *((f'{key}={literal(value)}', 'worst, best' if key == 'score_range' else '') for key, value in options.items()),
            (
                f"pipeline=[dict(type='LoadPair'), dict(type='ResizeCropPair', resize={resize}, crop={crop}), "
                "dict(type='PackPair')]",
                f'the middle {crop} pixels; the restored images have {side} in their shorter side',
            ),
        ],
    )
    text.add(f'loading = dict(batch_size={batch}, num_workers={workers}, persistent_workers=True)')
    text.add("train_dataloader = dict(loading, dataset=dict(pairs, split='train'))")
    text.add("val_dataloader = dict(loading, dataset=dict(pairs, split='val'))")
    text.add("test_dataloader = dict(loading, dataset=dict(pairs, split='val'))")


def _small(title: str, options: dict, count: int, side: float, whole: bool, resources: Machine) -> ConfigText:
    text = ConfigText(title, 'ckdn/ckdn_r18_1xb64-4e_photos_mini.py')
    crop = min(160, rounded(side * 7 / 8, 16, 32) if side < 184 else 160)
    resize, batch = max(crop, min(288, int(side))), max(4, min(16, count // 4))
    steps = max(1, count // batch)
    epochs = schedule(count, batch, 1200, fewest=5, most=150)
    text.add("custom_imports = dict(imports=['openmsra.ckdn'])", 'the inherited miniature is not needed')
    _add_common(text, options, resize, crop, batch, resources.workers, side)
    if not whole:
        text.add('model = dict(distil=False)', 'no pristine images: the degraded reference alone')
    text.add('optim_wrapper = dict(optimizer=dict(lr=1e-3))', 'from random weights; a network of 0.7 million for a CPU')
    text.add(f'train_cfg = dict(max_epochs={epochs}, val_interval={max(1, epochs // 10)})', f'about {epochs * steps} iterations')
    warm_up = max(1, epochs * steps // 10)
    text.block(
        'param_scheduler = [',
        [
            (f"dict(type='LinearLR', start_factor=0.04, by_epoch=False, begin=0, end={warm_up})", ''),
            (
                f"dict(type='CosineAnnealingLR', T_max={epochs * steps - warm_up}, by_epoch=False, begin={warm_up}, "
                f'end={epochs * steps})',
                '',
            ),
        ],
        ']',
    )
    text.add("default_hooks = dict(checkpoint=dict(save_best='iqa/SRCC', rule='greater'), logger=dict(interval=10))")
    text.add(f'auto_scale_lr = dict(base_batch_size={batch})')
    return text


def _full(title: str, options: dict, count: int, side: float, whole: bool, resources: Machine) -> ConfigText:
    text = ConfigText(title, 'ckdn/ckdn_r50_8xb8-30e_pipal.py')
    batch = 8 if resources.memory >= 16 else 4
    total = batch * resources.gpus
    crop = 288 if side >= 288 else rounded(side * 7 / 8, 16, 32)
    resize = 329 if side >= 329 else max(int(side), crop)
    _add_common(text, options, resize, crop, batch, resources.workers, side)
    if not whole:
        text.add('model = dict(distil=False, official_stages=False)', 'no pristine images: the degraded reference alone')
    text.add(f'optim_wrapper = dict(optimizer=dict(lr={0.16 * total / 64:.3g}))', f'0.16 for 64 pairs, {total} are in a batch')
    text.add(f'auto_scale_lr = dict(base_batch_size={total})')
    return text
