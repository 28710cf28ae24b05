"""Cut the faces out of the videos of a forgery data set, for training and testing FTCN.

Below OUT each video gets a folder of crops, `crops/VIDEO.mp4/FACE/FRAME.png`, with boxes and landmarks; `clips.jsonl` lists
them for the configs. Videos that are done are skipped when the tool is started again; those that cannot be read are listed
with the reason in `broken.json` and tried again the next time. Of every 96 frames of a face the first 48 are kept, as JPEG of
quality 95 (--keep all, --format png). Jobs of an array take `--shard 1/8` to `--shard 8/8`; a last run without --shard writes the
list. The layouts, from ROOT on:

    ffpp     splits/{train,val,test}.json, original_sequences/youtube/c23/videos,
             manipulated_sequences/{Deepfakes,Face2Face,FaceSwap,NeuralTextures,FaceShifter,DeeperForensics}/c23/videos
    celebdf  Celeb-real, YouTube-real, Celeb-synthesis, List_of_testing_videos.txt
    dfdc     test_videos, labels.csv or metadata.json
    list     list.txt with lines `path 0|1 [method [split]]`; 1 is fake
"""

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('layout', choices=['ffpp', 'celebdf', 'dfdc', 'list'])
    parser.add_argument('root', type=Path, help='folder of the data set')
    parser.add_argument('--out', type=Path, help='where crops and clips.jsonl go (default: ROOT)')
    parser.add_argument('--compression', default='c23', help='of FaceForensics++: raw, c23 or c40')
    parser.add_argument('--split', nargs='+', help='only these splits')
    parser.add_argument('--method', nargs='+', help='only these manipulations; real videos are always taken')
    parser.add_argument('--only', type=Path, help='file with the names of the videos to take, one a line')
    parser.add_argument(
        '--detector',
        choices=['auto', 'mtcnn', 'haar', 'yunet', 'boxes', 'none'],
        default='auto',
        help='mtcnn finds five landmarks too (its weights are in the wheel of facenet-pytorch); auto: mtcnn where it is '
        'installed, else haar; none: the frames are aligned faces already',
    )
    parser.add_argument('--yunet', type=Path, help='ONNX file of YuNet')
    parser.add_argument(
        '--boxes',
        type=Path,
        help='folder with VIDEO.json or VIDEO.mp4.json, as ftcn_video.py takes them',
    )
    parser.add_argument('--backend', default='auto', help='auto, decord, pyav or opencv')
    parser.add_argument('--max-frames', type=int, default=768, help='of a video; the default is that of the official code')
    parser.add_argument('--min-face', type=int, default=40, help='smallest face in pixels')
    parser.add_argument('--min-frames', type=int, default=8, help='shortest track')
    parser.add_argument('--size', type=int, default=224, help='side of the crops with --detector none')
    parser.add_argument('--format', choices=['jpg', 'webp', 'png'], default='jpg', help='png is lossless')
    parser.add_argument('--quality', type=int, default=95, help='of jpg and webp, 1 to 100')
    parser.add_argument(
        '--keep',
        type=kept_frames,
        default=(48, 96),
        metavar='N/M',
        help='first N of every M frames of a face (default 48/96), or all',
    )
    parser.add_argument('--shard', type=shard, metavar='I/N', help='the I-th of N parts of the videos, for job arrays')
    parser.add_argument('--processes', type=int, default=1)
    args = parser.parse_args(argv)
    if args.detector in ('yunet', 'boxes') and getattr(args, args.detector) is None:
        parser.error(f'--detector {args.detector} needs --{args.detector} PATH')
    return args


def kept_frames(text: str) -> tuple[int, int] | None:
    """'48/96' or 'all'."""
    if text == 'all':
        return None
    some, every = (int(part) for part in text.split('/'))
    if not 32 <= some < every:
        raise argparse.ArgumentTypeError(f'{text}: runs of at least 32 frames, fewer than every how many; 48/96, for example')
    return some, every


def shard(text: str) -> tuple[int, int]:
    """'3/8', the third of eight parts."""
    part, parts = (int(number) for number in text.split('/'))
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError(f'{text}: the parts are 1/{parts} to {parts}/{parts}')
    return part, parts


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)

    from openmsra.common.outputs import left_out, printable, require_writable, writable_folder
    from openmsra.ftcn.faces.detectors import resolve
    from openmsra.ftcn.faces.prepare import Preparation, clip_lines, require_space

    require_writable(args.out or args.root)
    if args.detector == 'yunet' and not args.yunet.is_file():
        raise ToolError(f'{args.yunet}: there is no such YuNet model.')
    rows, out = select_videos(args), writable_folder(args.out or args.root)
    if args.shard is not None:
        rows = rows[args.shard[0] - 1 :: args.shard[1]]
    detector = resolve(args.detector)
    if detector != args.detector:
        print(f'faces are found by {detector}')
    prepare = Preparation(
        args.root,
        out,
        detector,
        args.yunet,
        args.boxes,
        args.backend,
        args.max_frames,
        args.min_face,
        args.min_frames,
        args.size,
        f'.{args.format}',
        args.quality,
        args.keep,
    )
    print(require_space(prepare, [row['video'] for row in rows]))
    results = list(prepare_all(prepare, [row['video'] for row in rows], args.processes))
    broken = {row['video']: result for row, result in zip(rows, results, strict=True) if isinstance(result, str)}
    lines = [
        line for row, result in zip(rows, results, strict=True) if isinstance(result, dict) for line in clip_lines(row, result)
    ]
    if args.shard is not None:
        print(
            f'part {args.shard[0]} of {args.shard[1]} is done; when all are, run the tool without --shard, which writes the list.'
        )
        if broken:
            raise left_out(broken, len(rows), 'videos', out)
        return
    (out / 'broken.json').write_text(json.dumps(broken, indent=1) + '\n', encoding='utf-8')
    (out / 'clips.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines), encoding='utf-8')
    faceless = sum(line['frames'] is None for line in lines)
    print(
        f'wrote {printable(out / "clips.jsonl")}: {len(rows) - len(broken) - faceless} videos with '
        f'{len(lines) - faceless} faces, '
        f'{faceless} without a face, {len(broken)} not readable (broken.json)'
    )
    if broken:
        raise left_out(broken, len(rows), 'videos', out)


def select_videos(args: argparse.Namespace) -> list[dict]:
    """The videos that are asked for.

    Raises:
        ToolError: there is none.
    """
    from openmsra.common.annotations import read_text
    from openmsra.ftcn.faces.layouts import LAYOUTS

    options = dict(compression=args.compression) if args.layout == 'ffpp' else {}
    rows = LAYOUTS[args.layout](args.root, **options)
    if args.only is not None:
        names = {line.strip() for line in read_text(args.only).splitlines()}
        rows = [row for row in rows if names & {row['video'], Path(row['video']).name, Path(row['video']).stem}]
    rows = [row for row in rows if args.split is None or row['split'] in args.split]
    rows = [row for row in rows if args.method is None or not row['label'] or row['method'] in args.method]
    if not any((args.root / row['video']).exists() for row in rows):
        raise ToolError(
            f'{args.root}: none of the {len(rows)} videos of the layout {args.layout!r} that are asked for is there. '
            'See --help for the folders that it has.'
        )
    return rows


def prepare_all(prepare: Callable, videos: list[str], processes: int) -> Iterable:
    """Results in the order of the videos, with a progress bar."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    from tqdm import tqdm

    from openmsra.ftcn.faces.prepare import use_one_thread

    progress = dict(total=len(videos), unit='video')
    if processes == 1:
        yield from tqdm(map(prepare, videos), **progress)
        return
    context = multiprocessing.get_context('spawn')  # a fork of torch may hang
    with ProcessPoolExecutor(processes, context, use_one_thread) as pool:
        yield from tqdm(pool.map(prepare, videos), **progress)


if __name__ == '__main__':
    run_tool(main)
