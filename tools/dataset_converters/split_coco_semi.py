"""Split a COCO-style annotation file into labelled and unlabelled images:  1, 2, 5 and 10 % in five folds, or what you ask for.

Without replacement, the same for everyone (the seed is the fold), with a manifest of hashes. --voc reads VOC-style folders: where
they have ImageSets/Main, images are drawn from one list alone, and the other lists are written as COCO files too;
--unlabeled writes a COCO file for images without annotations (COCO's unlabeled2017).
"""

import argparse
import json
from pathlib import Path

from openmsra.common.annotations import read_text
from openmsra.common.outputs import require_writable
from openmsra.engine.launch import run_tool


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', help='COCO json, or with --voc a VOC folder, or its xml files')
    parser.add_argument('--out', help='folder for the files (default: semi_supervised/ beside the annotations)')
    parser.add_argument('--percent', type=float, nargs='+', default=[1, 2, 5, 10], help='shares of labelled images')
    parser.add_argument('--count', type=int, nargs='+', help='numbers of labelled images, in the place of --percent')
    parser.add_argument('--folds', type=int, default=5)
    parser.add_argument('--independent', action='store_true', help='smaller splits of a fold are no parts of larger ones')
    parser.add_argument('--stratified', action='store_true', help='every category has a labelled image (at the cost of chance)')
    parser.add_argument('--ids', metavar='FILE', help='a text file of labelled image ids, one a line: one fixed split')
    parser.add_argument('--voc', action='store_true', help='read VOC xml files and write them as COCO, then split')
    parser.add_argument(
        '--image-set', default='train', help='of a VOC folder with ImageSets/Main: which of its lists is drawn from (train)'
    )
    parser.add_argument('--unlabeled', metavar='IMAGE_INFO', help='only write instances_unlabeled2017.json from this image info')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    from openmsra.soft_teacher.data.splits import (
        Plan,
        read_coco,
        read_voc,
        voc_image_sets,
        write_splits,
        write_unlabelled,
    )

    args = parse_args(argv)
    source = Path(args.annotations)
    out = require_writable(args.out or source.parent / 'semi_supervised')
    name = source.stem if source.suffix else source.name
    if args.voc:
        sets = voc_image_sets(source)
        content = read_voc(source, args.image_set if sets else None)
        if sets:
            name = f'{name}_{args.image_set}'
            write_voc_sets(source, sets, out)
    else:
        content = read_coco(source)
    if args.unlabeled:
        print(write_unlabelled(content, Path(args.unlabeled), out / 'instances_unlabeled2017.json'))
        return
    plan = Plan(
        args.percent,
        args.count,
        args.folds,
        nested=not args.independent,
        stratified=args.stratified,
        ids=read_text(args.ids).split() if args.ids else None,
    )
    for row in write_splits(content, name, out, plan):
        print(f'{row["file"]}: {row["images"]} images, sha256 of the ids {row["sha256"][:12]}')


def write_voc_sets(source: Path, sets: dict[str, Path], out: Path) -> None:
    """``{list}.json`` for each list of a VOC folder; the images of training lists may not stand in the others."""
    from openmsra.errors import SplitError
    from openmsra.soft_teacher.data.splits import read_voc

    contents = {name: read_voc(source, name) for name in sets}
    ids = {name: {image['id'] for image in content['images']} for name, content in contents.items()}
    for first, second in (('train', 'val'), ('train', 'test'), ('trainval', 'test'), ('val', 'test')):
        if shared := ids.get(first, set()) & ids.get(second, set()):
            raise SplitError(f'{source}: {len(shared)} images are in ImageSets/Main/{first}.txt and {second}.txt.')
    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (out / f'{name}.json').write_text(json.dumps(content), encoding='utf-8')
        print(f'{out / name}.json: {len(content["images"])} images')


if __name__ == '__main__':
    run_tool(main)
