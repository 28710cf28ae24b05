"""Write lists of videos from the official splits of UCF101, HMDB51 or Kinetics; broken and missing videos are listed apart.

    python tools/dataset_converters/video_lists.py ucf101 data/ucf101/ucfTrainTestlist data/ucf101/videos
    python tools/dataset_converters/video_lists.py hmdb51 data/hmdb51/testTrainMulti_7030_splits data/hmdb51/videos
    python tools/dataset_converters/video_lists.py kinetics data/kinetics400/train.csv data/kinetics400/videos_train \
        --name kinetics400_train

The lists go beside the folder of videos, in the format of mmaction2: a relative path and a label in each line.
"""

import argparse
from pathlib import Path

from openmsra.common.outputs import left_out, require_writable, why_unlistable, writable_folder
from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dataset', choices=['ucf101', 'hmdb51', 'kinetics'])
    parser.add_argument('annotations', type=Path, help='folder of split files, or the CSV table of Kinetics')
    parser.add_argument('videos', type=Path, help='folder with a sub-folder for each class')
    parser.add_argument('--name', help='start of the names of the lists (default: the data set; for Kinetics: the table)')
    parser.add_argument('--out', type=Path, help='folder to write to (default: the parent of the folder of videos)')
    parser.add_argument(
        '--classes',
        type=Path,
        help='for Kinetics: ..._classes.txt of the training table, for one numbering of classes',
    )
    parser.add_argument('--no-check', action='store_true', help='do not decode the videos')
    args = parser.parse_args(argv)

    from openmsra.mcn.data import splits

    out = require_writable(args.out or args.videos.parent)
    if not args.videos.is_dir():
        raise ToolError(f'{args.videos}: there is no such folder of videos.')
    lists, classes = read(args)
    writable_folder(out)
    every = sorted({row for rows in lists.values() for row in rows})
    found, missing, inexact = splits.locate(every, args.videos)
    if not found:
        raise ToolError(f'{args.videos}: none of the {len(every)} videos of the split is there, e.g. {missing[0]}.')
    faults = {path: reason for path, _ in found if (reason := why_unlistable(path))}
    faults |= {} if args.no_check else splits.broken([path for path, _ in found if path not in faults], args.videos)
    for name, rows in lists.items():
        kept = [(path, label) for path, label in splits.locate(rows, args.videos)[0] if path not in faults]
        (out / f'{name}_videos.txt').write_text(''.join(f'{path} {label}\n' for path, label in kept), encoding='utf-8')
        empty = len(classes) - len({label for _, label in kept})
        print(f'{out / name}_videos.txt: {len(kept)} of {len(rows)} videos' + (f'; {empty} classes are empty!' if empty else ''))
    name = args.name or (args.dataset if args.dataset != 'kinetics' else args.annotations.stem)
    (out / f'{name}_classes.txt').write_text(''.join(f'{line}\n' for line in classes), encoding='utf-8')
    if missing or faults:
        lines = [*(f'{path}\tmissing\n' for path in missing), *(f'{path}\t{reason}\n' for path, reason in faults.items())]
        (out / f'{name}_broken.txt').write_text(''.join(lines), encoding='utf-8', errors='backslashreplace')
        print(f'{len(missing)} videos are missing, {len(faults)} are broken and left out: {out / name}_broken.txt')
    if inexact:
        print(f'{inexact} videos were found under a name with other capitals.')
    if missing or faults:
        raise left_out(dict.fromkeys(missing, 'missing') | faults, len(every), 'videos', f'{out / name}_..._videos.txt')


def read(args: argparse.Namespace) -> tuple[dict[str, list], list[str]]:
    """Lists by name, and the classes."""
    from openmsra.mcn.data import splits

    if args.dataset == 'kinetics':
        from openmsra.common.annotations import read_text

        known = [line for line in read_text(args.classes).splitlines() if line] if args.classes else None
        rows, classes = splits.kinetics(args.annotations, known)
        return {args.name or args.annotations.stem: rows}, classes
    lists, name = {}, args.name or args.dataset
    for split in splits.SPLITS:
        training, test, classes = getattr(splits, args.dataset)(args.annotations, split)
        splits.refuse_leak(training, test, args.annotations)
        lists |= {f'{name}_train_split_{split}': training, f'{name}_test_split_{split}': test}
    return lists, classes


if __name__ == '__main__':
    run_tool(main)
