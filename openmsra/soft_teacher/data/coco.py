"""COCO annotation files from anywhere: read in one way by the data sets, the metric and the split tool, and checked first."""

from collections import Counter
from math import isfinite
from pathlib import Path

from mmdet.datasets.api_wrappers import COCO

from openmsra.common.annotations import read_json
from openmsra.errors import AnnotationError

NUMBER = int | float


def read_coco(path: str | Path) -> dict:
    """The content of a COCO file; ``annotations`` and ``categories`` are optional, missing ``area`` and ``iscrowd`` are added.

    Raises:
        MissingFileError: there is no such file.
        AnnotationError: no JSON or not in the COCO format, an id that stands twice, or a box that is none. The message names the
            file, the entries and the fault.
    """
    content = read_json(path, dict(images=list))
    if not content['images']:
        raise AnnotationError(f'{path}: it lists no images, so it is no COCO annotation file.')
    _check_rows(path, content, 'images', dict(id=int | str, file_name=str))
    _check_rows(path, content, 'categories', dict(id=int, name=str))
    _check_rows(path, content, 'annotations', dict(id=int, image_id=int | str, category_id=int, bbox=list))
    faults = [f'{row["id"]} with {row["bbox"]!r}' for row in content.get('annotations', []) if not _is_box(row['bbox'])]
    if faults:
        raise AnnotationError(
            f'{path}: not in the COCO format: {len(faults)} annotations have a bbox that is not [x, y, width, height] in pixels: '
            f'{", ".join(faults[:3])}. Correct or remove them.'
        )
    for row in content.get('annotations', []):
        row.setdefault('area', row['bbox'][2] * row['bbox'][3])
        row.setdefault('iscrowd', 0)
    return content


def index_coco(content: dict, classes: tuple[str, ...] = ()) -> COCO:
    """mmdet's index of a file's content.

    Args:
        content: of :func:`read_coco`.
        classes: names in the order of the labels. mmdet numbers labels in the order of the file, so that two files with the same
            categories in another order would mean different classes; here they are put into this order.
    """
    rank = {name: number for number, name in enumerate(classes)}
    ordered = sorted(content.get('categories', []), key=lambda row: rank.get(row['name'], len(rank)))
    index = COCO()
    index.dataset = dict(content, categories=ordered)
    index.createIndex()
    index.img_ann_map, index.cat_img_map = index.imgToAnns, index.catToImgs
    return index


def _check_rows(path: str | Path, content: dict, name: str, fields: dict) -> None:
    """Each entry of a list has the fields, and no id stands twice."""
    rows = content.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise AnnotationError(f'{path}: not in the COCO format: {name} must be a list of objects.')
    for number, row in enumerate(rows):
        for field, kind in fields.items():
            if not isinstance(row.get(field), kind):
                state = f'is {row[field]!r}' if field in row else 'is missing'
                raise AnnotationError(f'{path}: not in the COCO format: {field} of entry {number} of {name} {state}.')
    twice = [str(key) for key, count in Counter(row['id'] for row in rows).items() if count > 1]
    if twice:
        raise AnnotationError(
            f'{path}: {len(twice)} ids of {name} stand more than once ({", ".join(twice[:5])}); boxes of different images would '
            'be mixed up. Were files merged? Give each entry an id of its own.'
        )


def _is_box(box: list) -> bool:
    """x, y, width, height; empty boxes are boxes, which filters drop."""
    numbers = len(box) == 4 and all(isinstance(value, NUMBER) and isfinite(value) for value in box)
    return numbers and box[2] >= 0 and box[3] >= 0
