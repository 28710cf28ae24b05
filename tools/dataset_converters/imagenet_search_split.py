"""Hold out a class-balanced part of ImageNet's training set for the architecture search: two list files, no copies.

ROOT/train has one folder for each class. Written are ROOT/meta/search_train.txt and ROOT/meta/search_val.txt, lines
`class_folder/file label`, labels in the sorted order of the folders (as mmpretrain.ImageNet numbers them).
"""

import argparse
import random
from pathlib import Path

from openmsra.common.outputs import left_out, require_writable, why_unlistable
from openmsra.engine.launch import run_tool


def split_class(files: list[str], held_out: int, seed: int, name: str) -> tuple[list[str], list[str]]:
    """The files of one class as (train, held out), each sorted; depends on nothing but the names, ``seed`` and ``name``.

    Raises:
        ConfigError: the class would keep no image to train with.
    """
    from openmsra.errors import ConfigError

    if len(files) <= held_out:
        raise ConfigError(f'class {name} has {len(files)} image(s); cannot hold out {held_out}. Choose a smaller --per-class.')
    chosen = set(random.Random(f'{seed}/{name}').sample(sorted(files), held_out))
    return sorted(set(files) - chosen), sorted(chosen)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', type=Path, help='ImageNet folder, with train/ in it')
    parser.add_argument('--per-class', type=int, default=50, help='images of each class to hold out (default: 50)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='folder of the lists (default: ROOT/meta)')
    args = parser.parse_args(argv)

    from tqdm import tqdm

    from openmsra.common.files import visible_folders
    from openmsra.common.images import images_of
    from openmsra.errors import ConfigError

    out = require_writable(args.out or args.root / 'meta')
    if not args.root.is_dir():
        raise ConfigError(f'{args.root}: there is no such folder.')
    if args.per_class < 1:
        raise ConfigError(f'--per-class {args.per_class}: must be at least 1.')
    train = args.root / 'train'
    folders = visible_folders(train) if train.is_dir() else []
    if not folders:
        raise ConfigError(f'{train}: no class folders; ROOT must hold train/<class>/<image>.')
    lists: tuple[list[str], list[str]] = ([], [])
    faults, total = {}, 0
    for label, folder in enumerate(tqdm(folders, unit='class')):
        files = [path.name for path in images_of(folder)]
        total += len(files)
        reasons = {name: reason for name in files if (reason := why_unlistable(f'{folder.name}/{name}'))}
        faults |= {f'{folder.name}/{name}': reason for name, reason in reasons.items()}
        files = [name for name in files if name not in reasons]
        for lines, part in zip(lists, split_class(files, args.per_class, args.seed, folder.name), strict=True):
            lines += [f'{folder.name}/{name} {label}\n' for name in part]
    out.mkdir(parents=True, exist_ok=True)
    for name, lines in zip(('search_train.txt', 'search_val.txt'), lists, strict=True):
        (out / name).write_text(''.join(lines), encoding='utf-8')
        print(f'wrote {out / name}: {len(lines):,} images of {len(folders)} classes')
    if faults:
        raise left_out(faults, total, 'images', out)


if __name__ == '__main__':
    run_tool(main)
