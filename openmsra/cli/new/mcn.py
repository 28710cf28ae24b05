"""A config for MCN, which learns from a folder of videos; sub-folders are taken for classes when it is evaluated."""

import argparse
import random
from pathlib import Path

from openmsra.cli.new.looking import (
    SEED,
    Machine,
    Report,
    hold_out,
    machine,
    median,
    quantile,
    report_copies,
    report_faults,
    schedule,
    write_lines,
)
from openmsra.cli.new.text import ConfigText
from openmsra.errors import DataError, UserError

FEWEST = 16
CHECKED = 200  # videos that are opened
SPAN = 0.7  # seconds that a clip should see


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--videos', type=Path, required=True, help='folder of videos, searched with its sub-folders')
    parser.add_argument('--val-share', type=float, default=0.2, help='of each class, held out for the evaluation (0.2)')


def build(args: argparse.Namespace, report: Report) -> ConfigText:
    """Look at the videos and write the config.

    Raises:
        MissingFileError, DataError: no such folder, or too few videos that can be read.
    """
    from openmsra.common.video import list_videos

    root = args.videos.absolute()
    videos = list_videos(root)
    rates, counts, sides, broken = look_at(videos, report)
    videos = [video for video in videos if video not in broken]
    if len(videos) < FEWEST:
        raise DataError(f'{args.videos}: {len(videos)} videos are too few to contrast with each other; at least {FEWEST}.')
    labels = {video: video.relative_to(root).parts[0] for video in videos}
    classes = sorted(set(labels.values()))
    labelled = all(len(video.relative_to(root).parts) > 1 for video in videos) and 1 < len(classes) < len(videos) / 2
    rate, short = median(rates), quantile(counts, 0.1)
    report.facts.append(
        f'{args.videos}: {len(videos)} videos, {rate:.3g} frames a second, {min(counts)} to {max(counts)} frames, shorter side '
        f'{median(sides)} pixels' + (f', {len(classes)} sub-folders' if labelled else ', no classes')
    )
    training, held_out = hold_out(videos, args.val_share, group=labels.get) if labelled else (videos, [])
    if labelled:
        report.facts.append(
            f'{len(held_out)} videos are held out and searched for among the others, by class; if several videos show one '
            'recording, hold out whole recordings instead'
        )
        report_copies({'training': training, 'evaluation': held_out}, report)
    number = {name: index for index, name in enumerate(classes)}
    lists = {
        name: write_lines(
            args.files / f'{name}.txt',
            (
                f'{video.relative_to(root)} {number[labels[video]]}' if labelled else str(video.relative_to(root))
                for video in rows
            ),
        )
        for name, rows in (('train', training), ('val', held_out))
        if rows
    }
    write_lines(args.files / 'classes.txt', classes if labelled else [])
    resources = machine(args.size)
    title = f'MCN on {len(training)} videos of {root}.'
    return (_full if resources.gpus else _small)(title, root, lists, len(training), rate, short, resources)


def look_at(videos: list[Path], report: Report) -> tuple[list[float], list[int], list[int], set[Path]]:
    """Frame rates, numbers of frames and shorter sides of some of the videos, and those that do not open."""
    from openmsra.common.video import read_frames, video_header

    rates, counts, sides, faults = [], [], [], {}
    for video in random.Random(SEED).sample(videos, min(CHECKED, len(videos))):
        try:
            (frame,) = read_frames(video, [0])
        except (UserError, OSError, IndexError, ValueError) as error:
            faults[video] = str(error)
            continue
        count, rate = video_header(str(video))
        rates.append(rate)
        counts.append(count)
        sides.append(min(frame.shape[:2]))
    report_faults(list(faults.values()), min(CHECKED, len(videos)), 'videos', report)
    return rates, counts, sides, set(faults)


def clip_interval(rate: float, length: int, shortest: float) -> int:
    """Frames from one frame of a clip to the next, so that it spans about :data:`SPAN` seconds and fits into short videos."""
    return max(1, min(round(rate * SPAN / length), int(shortest) // length))


def _clips(root: Path, file: Path, clips: int, length: int, interval: int, role: str = '', sampling: str = '') -> str:
    further = f', role={role!r}, sampling={sampling!r}' if role else ''
    return (
        f"dict(type='VideoClips', data_root={str(root)!r}, ann_file={str(file)!r},\n"
        f'    clips={clips}, clip_len={length}, interval={interval}{further}, pipeline={"evaluation" if role else "training"})'
    )


def _add_evaluation(
    text: ConfigText, root: Path, lists: dict[str, Path], clips: int, length: int, interval: int, small: bool
) -> None:
    delete, batch = ('_delete_=True, ', 8) if small else ('', 4)  # the base of the small ones has loaders of its own
    text.add(f'gallery = {_clips(root, lists["train"], clips, length, interval, "gallery", "uniform")}')
    if 'val' not in lists:
        text.add('# the inferencer takes its clips from here; without classes there is nothing to evaluate')
        text.add(f'test_dataloader = dict({delete}batch_size=4, num_workers=0, dataset=gallery,')
        text.add("    sampler=dict(type='DefaultSampler', shuffle=False))")
        text.add("test_cfg, test_evaluator = dict(), dict(type='VideoRetrieval', topk=(1, 5))")
        text.add('val_dataloader = val_cfg = val_evaluator = None')
        return
    text.add(f'query = {_clips(root, lists["val"], clips, length, interval, "query", "uniform")}')
    text.add(f'val_dataloader = dict({delete}batch_size={batch}, num_workers=1, persistent_workers=True,')
    text.add(
        "    dataset=dict(type='ConcatDataset', datasets=[gallery, query]), sampler=dict(type='DefaultSampler', shuffle=False))"
    )
    text.add('test_dataloader = val_dataloader')
    text.add('val_cfg, test_cfg = dict(), dict()')
    text.add(
        "val_evaluator = test_evaluator = dict(type='VideoRetrieval', topk=(1, 5), probe=1.0)", 'nearest videos, linear probe'
    )


def _small(
    title: str, root: Path, lists: dict[str, Path], count: int, rate: float, short: float, resources: Machine
) -> ConfigText:
    text = ConfigText(title, 'mcn/_base_motions.py')
    batch = min(16, count // 2)
    interval = clip_interval(rate, 9, short)
    epochs = schedule(count, batch, 1200, fewest=4, most=200)
    text.add("custom_imports = dict(imports=['openmsra.mcn'])", 'the inherited miniature is not needed')
    text.block(
        'training = [',
        [
            ("dict(type='mmaction.RandomResizedCrop', area_range=(0.3, 1.0), aspect_ratio_range=(0.75, 1.3333))", ''),
            ("dict(type='mmaction.Resize', scale=(64, 64), keep_ratio=False)", 'little, for a CPU'),
            ("dict(type='mmaction.Flip', flip_ratio=0.5)", '0.0 where left and right differ'),
            ("dict(type='ClipJitter')", ''),
        ],
        ']',
    )
    text.add("evaluation = [dict(type='mmaction.Resize', scale=(-1, 72)), dict(type='mmaction.CenterCrop', crop_size=64)]")
    text.add(f'# 9 frames, {interval} apart, at {rate:.3g} frames a second: {9 * interval / rate:.2g} s')
    text.add(f'videos = {_clips(root, lists["train"], 4, 9, interval)}')
    text.add(f'train_dataloader = dict(batch_size={batch}, num_workers={resources.workers}, persistent_workers=True,')
    text.add('    dataset=dict(videos, _delete_=True))')
    _add_evaluation(text, root, lists, 3, 9, interval, small=True)
    interval_val = max(1, epochs // 4) if 'val' in lists else epochs
    text.add(
        f'train_cfg = dict(max_epochs={epochs}, val_interval={interval_val})', f'about {epochs * (count // batch)} iterations'
    )
    text.block(
        'param_scheduler = [',
        [
            ("dict(type='LinearLR', start_factor=0.05, begin=0, end=1, by_epoch=True, convert_to_iter_based=True)", ''),
            (
                f"dict(type='CosineAnnealingLR', begin=1, end={epochs}, T_max={epochs - 1}, by_epoch=True, "
                'convert_to_iter_based=True)',
                '',
            ),
        ],
        ']',
    )
    text.add(f'default_hooks = dict(checkpoint=dict(interval={max(1, epochs // 10)}), logger=dict(interval=5))')
    text.add(f'auto_scale_lr = dict(base_batch_size={batch})')
    return text


def _full(
    title: str, root: Path, lists: dict[str, Path], count: int, rate: float, short: float, resources: Machine
) -> ConfigText:
    text = ConfigText(title, 'mcn/_base_pretrain.py')
    batch = 8 if resources.memory >= 40 else 4
    total = batch * resources.gpus
    interval = clip_interval(rate, 16, short)
    epochs = schedule(count, total, 60_000, fewest=50, most=300)
    queue = min(2048, 2 ** max(4, (count // 2).bit_length() - 1))
    text.add("evaluation = [dict(type='mmaction.Resize', scale=(-1, 128)), dict(type='mmaction.CenterCrop', crop_size=112)]")
    text.add(f'# 16 frames, {interval} apart, at {rate:.3g} frames a second: {16 * interval / rate:.2g} s')
    text.add(f'train_dataloader = dict(batch_size={batch}, num_workers={resources.workers},')
    text.add(f'    dataset=dict(data_root={str(root)!r}, ann_file={str(lists["train"])!r}, interval={interval}))')
    text.add(f'model = dict(negatives=dict(length={queue}))', f'a power of two of at most half of the {count} videos')
    _add_evaluation(text, root, lists, 10, 16, interval, small=False)
    text.add(f'optim_wrapper = dict(optimizer=dict(lr={0.03 * total / 64:.3g}))', f'0.03 for 64 videos, {total} are in a batch')
    text.add(f'train_cfg = dict(max_epochs={epochs}, val_interval={max(1, epochs // 5) if "val" in lists else epochs})')
    text.block(
        'param_scheduler = [',
        [
            ("dict(type='LinearLR', start_factor=0.01, begin=0, end=10, by_epoch=True, convert_to_iter_based=True)", ''),
            (
                f"dict(type='CosineAnnealingLR', begin=10, end={epochs}, T_max={epochs - 10}, by_epoch=True, "
                'convert_to_iter_based=True)',
                '',
            ),
        ],
        ']',
    )
    text.add(f'auto_scale_lr = dict(base_batch_size={total})')
    return text
