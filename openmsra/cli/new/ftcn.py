"""A config for FTCN on a folder of real and a folder of forged videos; the faces are cut out first."""

import argparse
import random
from collections import defaultdict
from pathlib import Path

from openmsra.cli.forwarding import load_tool
from openmsra.cli.new.looking import SEED, Machine, Report, machine, median, report_copies, write_lines
from openmsra.cli.new.mcn import look_at
from openmsra.cli.new.text import ConfigText, literal
from openmsra.errors import DataError

FEWEST = 6  # videos of each kind
SHARES = {'val': 0.15, 'test': 0.15}
WHOLE_SIDE = 320  # square frames up to this side are taken for faces that are cut out already


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--real', type=Path, required=True, help='folder of real videos')
    parser.add_argument('--fake', type=Path, required=True, help='folder of forged videos; its sub-folders are methods')
    parser.add_argument(
        '--faces',
        choices=('auto', 'mtcnn', 'haar', 'yunet', 'none'),
        default='auto',
        help='how faces are found; none: the frames are aligned faces; auto: none for small square frames, else mtcnn or, '
        'where its weights are not installed, haar',
    )
    parser.add_argument('--yunet', type=Path, help='ONNX file of YuNet, for --faces yunet')


def build(args: argparse.Namespace, report: Report) -> ConfigText:
    """Look at the videos, cut out the faces, and write the config.

    Raises:
        MissingFileError, DataError: no such folders, too few videos, or too few faces in them.
    """
    from openmsra.common.video import list_videos
    from openmsra.ftcn.faces.detectors import resolve

    kinds = {'real': args.real.absolute(), 'fake': args.fake.absolute()}
    videos = {kind: list_videos(folder) for kind, folder in kinds.items()}
    for kind, files in videos.items():
        if len(files) < FEWEST:
            raise DataError(
                f'{kinds[kind]}: {len(files)} {kind} videos are too few for training, validation and test; at least {FEWEST}.'
            )
    report_copies(videos, report)
    looked = {kind: look_at(files, report) for kind, files in videos.items()}
    broken = looked['real'][3] | looked['fake'][3]
    sides = looked['real'][2] + looked['fake'][2]
    shortest = min(looked['real'][1] + looked['fake'][1])
    rates = [median(looked[kind][0]) for kind in kinds]
    report.facts.append(
        f'{len(videos["real"])} real and {len(videos["fake"])} forged videos, {shortest} frames and more, shorter side '
        f'{median(sides)} pixels, {rates[0]:.3g} (real) and {rates[1]:.3g} (forged) frames a second'
    )
    if abs(rates[0] - rates[1]) > 0.1 * max(rates):
        report.warnings.append('real and forged videos differ in their frame rate: a network may learn that and nothing else.')
    rows = [
        (Path(kind) / file.relative_to(kinds[kind]), kind, _method(file.relative_to(kinds[kind]), kind))
        for kind, files in videos.items()
        for file in files
        if file not in broken
    ]
    parts = split_by_person(rows)
    _link(args.files, kinds)
    write_lines(
        args.files / 'list.txt',
        (f'{path} {int(kind == "fake")} {method} {part}' for part, members in parts.items() for path, kind, method in members),
    )
    square = all(_is_small_square(file) for files in videos.values() for file in files[:3] if file not in broken)
    detector = ('none' if square else resolve('auto')) if args.faces == 'auto' else args.faces
    side = min(224, max(64, int(median(sides)) // 32 * 32)) if detector == 'none' else 224
    _cut_faces(args, detector, side)
    report.facts.append(
        f'faces: {"whole frames, which are small and square" if detector == "none" else f"found by {detector}"}; '
        + ', '.join(f'{len(members)} videos for {part}' for part, members in parts.items())
        + '; videos whose names begin alike (001.mp4, 001_002.mp4) stay in one part'
    )
    methods = sorted({method for _, kind, method in rows if kind == 'fake'})
    title = f'FTCN on {len(rows)} videos of {kinds["real"]} and {kinds["fake"]}.'
    resources = machine(args.size)
    write = _full if resources.gpus else _small
    return write(title, args.files, methods, len(parts['train']), side, shortest, resources)


def _is_small_square(video: Path) -> bool:
    from openmsra.common.video import read_frames

    height, width = read_frames(video, [0])[0].shape[:2]
    return height == width <= WHOLE_SIDE


def _method(path: Path, kind: str) -> str:
    """A forged video's first sub-folder, without blanks."""
    return kind if kind == 'real' or len(path.parts) < 2 else path.parts[0].replace(' ', '_')


def split_by_person(rows: list[tuple[Path, str, str]]) -> dict[str, list]:
    """Parts of the videos by the first piece of their names, so that no person is in two of them; both kinds in each part."""
    parts: dict[str, list] = {'train': [], 'val': [], 'test': []}
    people = defaultdict(list)
    for row in rows:
        people[row[0].stem.partition('_')[0]].append(row)
    mixed = sorted(name for name, members in people.items() if len({kind for _, kind, _ in members}) == 2)
    groups = [mixed, *(sorted(n for n, m in people.items() if n not in mixed and m[0][1] == kind) for kind in ('real', 'fake'))]
    for number, names in enumerate(groups):
        random.Random(f'{SEED}{number}').shuffle(names)
        start = 0
        for part, share in SHARES.items():
            count = max(1, round(share * len(names))) if len(names) >= 3 else 0
            parts[part] += [row for name in names[start : start + count] for row in people[name]]
            start += count
        parts['train'] += [row for name in names[start:] for row in people[name]]
    for part, members in parts.items():
        if len({kind for _, kind, _ in members}) < 2:
            raise DataError(
                f'too few people: the part {part} has no {"real" if members and members[0][1] == "fake" else "forged"} video.'
            )
    return parts


def _link(folder: Path, kinds: dict[str, Path]) -> None:
    """Links to the folders beside the list, since paths of a list may not lead out of its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, target in kinds.items():
        link = folder / kind
        if link.is_symlink():
            link.unlink()
        link.symlink_to(target, target_is_directory=True)


def _cut_faces(args: argparse.Namespace, detector: str, side: int) -> None:
    """Run the tool that writes crops and ``clips.jsonl``; videos that it cannot read are in its list."""
    arguments = ['list', str(args.files), '--out', str(args.files), '--detector', detector, '--size', str(side), '--keep', 'all']
    load_tool('dataset_converters/ftcn_faces.py').main([*arguments, *(['--yunet', str(args.yunet)] if args.yunet else [])])


def _faces(text: ConfigText, folder: Path, methods: list[str], clip_len: int, size: int, delete: bool) -> None:
    text.add(
        f"faces = dict({'_delete_=True, ' * delete}type='FaceClips', data_root={str(folder)!r}, ann_file='clips.jsonl', "
        f'clip_len={clip_len}, size={size},'
    )
    text.add(f'    methods={literal(methods)})', 'of the forged videos')


def _small(title: str, folder: Path, methods: list[str], videos: int, side: int, shortest: int, resources: Machine) -> ConfigText:
    text = ConfigText(title, '_base_/default_runtime.py', 'ftcn/_base_ftcn.py', 'ftcn/_base_tiny.py')
    size, clip_len, batch = 64, 16 if shortest >= 16 else 8, 8
    clips = max(4, min(32, 640 // videos))  # of a video in an epoch
    steps = max(1, videos * clips // batch)
    epochs = max(4, min(60, round(1500 / steps)))
    text.block(
        'model = dict(',
        [
            (f'clip_len={clip_len}', f'frames; the shortest video has {shortest}'),
            (f'size={size}', 'pixels, little, for a CPU'),
            ('backbone=dict(channels=16), head=dict(dim=128, head_dim=32, hidden=256)', ''),
        ],
    )
    _faces(text, folder, methods, clip_len, size, delete=True)
    text.add(
        "augmented = [dict(type='AugmentClip', flip=0.5), dict(type='PackClip')]",
        'one draw for a clip: per frame it would look forged',
    )
    text.add(f'train_dataloader = dict(batch_size={batch}, num_workers={resources.workers}, persistent_workers=True,')
    text.add(f"    dataset=dict(faces, split='train', clips_per_video={clips}, pipeline=augmented))")
    text.add(f'evaluation = dict(batch_size={batch}, num_workers=1, persistent_workers=True)')
    for part in ('val', 'test'):
        text.add(f"{part}_dataloader = dict(evaluation, dataset=dict(faces, split='{part}', pipeline=[dict(type='PackClip')]))")
    text.add('optim_wrapper = dict(optimizer=dict(lr=1e-3))', 'from random weights')
    text.add(f"param_scheduler = [dict(type='WarmupCosineLR', end={epochs}, convert_to_iter_based=True)]")
    text.add(
        f'train_cfg = dict(by_epoch=True, max_epochs={epochs}, val_interval={max(1, epochs // 5)})',
        f'about {epochs * steps} iterations',
    )
    text.add("default_hooks = dict(checkpoint=dict(save_best='forgery/video_AUC', rule='greater'), logger=dict(interval=10))")
    text.add(f'auto_scale_lr = dict(base_batch_size={batch})')
    return text


def _full(title: str, folder: Path, methods: list[str], videos: int, side: int, shortest: int, resources: Machine) -> ConfigText:
    text = ConfigText(title, 'ftcn/ftcn-tt_r50_8xb2-100e_ffpp-c23.py')
    batch = 4 if resources.memory >= 40 else 2
    total = batch * resources.gpus
    clips = max(4, min(32, 10_000 // videos))
    _faces(text, folder, methods, 32, 224, delete=False)
    if shortest < 32:
        text.add(f'# the shortest video has {shortest} frames: shorter ones than a clip of 32 are mirrored')
    text.add(f'train_dataloader = dict(batch_size={batch}, num_workers={resources.workers},')
    text.add(f'    dataset=dict(faces, clips_per_video={clips}))', f'of each of {videos} videos in an epoch')
    text.add(f'val_dataloader = dict(batch_size={batch}, num_workers={resources.workers}, dataset=faces)')
    text.add(f'test_dataloader = dict(batch_size={batch}, num_workers={resources.workers}, dataset=faces)')
    text.add(f'optim_wrapper = dict(optimizer=dict(lr={0.1 * total / 16:.3g}))', f'0.1 for 16 clips, {total} are in a batch')
    text.add(f'auto_scale_lr = dict(base_batch_size={total})')
    return text
