"""Split a COCO-style annotation file into labelled and unlabelled images:  1, 2, 5 and 10 % in five folds, or what you ask for.

Without replacement, the same for everyone (the seed is the fold), with a manifest of hashes. --voc reads VOC-style folders;
--unlabeled writes a COCO file for images without annotations (COCO's unlabeled2017).
"""

import argparse
from pathlib import Path

from openmsra.common.annotations import read_text
from openmsra.common.outputs import require_writable
from openmsra.engine.launch import run_tool


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', help='COCO json, or with --voc a folder of VOC xml files')
    parser.add_argument('--out', help='folder for the files (default: semi_supervised/ beside the annotations)')
    parser.add_argument('--percent', type=float, nargs='+', default=[1, 2, 5, 10], help='shares of labelled images')
    parser.add_argument('--count', type=int, nargs='+', help='numbers of labelled images, in the place of --percent')
    parser.add_argument('--folds', type=int, default=5)
    parser.add_argument('--independent', action='store_true', help='smaller splits of a fold are no parts of larger ones')
    parser.add_argument('--stratified', action='store_true', help='every category has a labelled image (at the cost of chance)')
    parser.add_argument('--ids', metavar='FILE', help='a text file of labelled image ids, one a line: one fixed split')
    parser.add_argument('--voc', action='store_true', help='read VOC xml files and write them as COCO, then split')
    parser.add_argument('--unlabeled', metavar='IMAGE_INFO', help='only write instances_unlabeled2017.json from this image info')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    from openmsra.soft_teacher.data.splits import (
        Plan,
        read_coco,
        read_voc,
        write_splits,
        write_unlabelled,
    )

    args = parse_args(argv)
    source = Path(args.annotations)
    out = require_writable(args.out or source.parent / 'semi_supervised')
    content = read_voc(source) if args.voc else read_coco(source)
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
    for row in write_splits(content, source.stem if source.suffix else source.name, out, plan):
        print(f'{row["file"]}: {row["images"]} images, sha256 of the ids {row["sha256"][:12]}')


if __name__ == '__main__':
    run_tool(main)
