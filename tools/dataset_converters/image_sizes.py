"""List the images of a folder with their sizes; without them Soft Teacher's UnlabelledFolder opens each image at its start.

    python tools/dataset_converters/image_sizes.py data/photos --processes 8

Each line of FOLDER/image_sizes.txt has a name relative to the folder, and width and height in pixels of the upright image, with
tabs between. Images whose header cannot be read are left out and named; the exit code is then 2.
"""

import argparse
from multiprocessing import get_context
from pathlib import Path

from openmsra.engine.launch import run_tool


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='it is searched with its sub-folders')
    parser.add_argument('--out', type=Path, help='the list (default: FOLDER/image_sizes.txt)')
    parser.add_argument('--processes', type=int, default=1)
    args = parser.parse_args(argv)

    from openmsra.common.images import list_images, size_or_reason
    from openmsra.common.outputs import left_out, printable, require_writable, why_unlistable, writable_folder

    out = args.out or args.folder / 'image_sizes.txt'
    (writable_folder if args.out else require_writable)(out.parent)
    paths = list_images(args.folder)
    names = [path.relative_to(args.folder).as_posix() for path in paths]
    with get_context('fork').Pool(args.processes) as pool:
        sizes = pool.map(size_or_reason, paths, chunksize=1000)
    faults = ((name, why_unlistable(name) or size) for name, size in zip(names, sizes, strict=True))
    broken = {name: fault for name, fault in faults if isinstance(fault, str)}
    lines = [f'{name}\t{size[0]}\t{size[1]}\n' for name, size in zip(names, sizes, strict=True) if name not in broken]
    out.write_text(''.join(lines), encoding='utf-8')
    print(f'{printable(out)}: {len(lines)} images')
    if broken:
        raise left_out(broken, len(names), 'images', out)


if __name__ == '__main__':
    run_tool(main)
