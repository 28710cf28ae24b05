"""COCO annotation files from anywhere, checked before anybody believes them: Soft Teacher's data, MaskCo's probes."""

import logging
from collections import Counter
from math import isfinite
from pathlib import Path

from mmengine.logging import print_log

from openmsra.common.annotations import read_json
from openmsra.errors import AnnotationError

NUMBER = int | float
UNIQUE = dict(images=('file_name',), categories=('name',))  # beside the id
UNIQUE_OF = dict(categories='classes')


def read_coco(path: str | Path) -> dict:
    """The content of a COCO file; ``annotations`` and ``categories`` are optional, missing ``area`` and ``iscrowd`` are added.

    Raises:
        MissingFileError: there is no such file.
        AnnotationError: no JSON or not in the COCO format; an id, a file or the name of a category that stands twice; a box or a
            size that is none; annotations of categories or images that the file does not have (of some images only: a warning).
            The message names the file, the entries and the fault.
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
    _check_sizes(path, content['images'])
    _check_references(path, content)
    for row in content.get('annotations', []):
        row.setdefault('area', row['bbox'][2] * row['bbox'][3])
        row.setdefault('iscrowd', 0)
    return content


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
    for field in ('id', *UNIQUE.get(name, ())):
        twice = [str(key) for key, count in Counter(row[field] for row in rows).items() if count > 1]
        if twice:
            raise AnnotationError(
                f'{path}: {len(twice)} {field}s of {name} stand more than once ({", ".join(twice[:5])}); boxes of different '
                f'{UNIQUE_OF.get(name, "images")} would be mixed up. Were files merged? Give each entry its own {field}.'
            )


def _check_sizes(path: str | Path, images: list[dict]) -> None:
    for row in images:
        for side in ('width', 'height'):
            if row.get(side) is None:
                row.pop(side, None)  # missing
            elif not isinstance(row[side], NUMBER) or isinstance(row[side], bool) or row[side] != int(row[side]) or row[side] < 1:
                raise AnnotationError(f'{path}: not in the COCO format: {side} of image {row["id"]} is {row[side]!r}.')


def _check_references(path: str | Path, content: dict) -> None:
    """Annotations of what the file does not have would be left out without a word by those who read it."""
    rows = content.get('annotations', [])
    categories, images = ({row['id'] for row in content.get(name, [])} for name in ('categories', 'images'))
    if unknown := sorted({row['category_id'] for row in rows} - categories):
        raise AnnotationError(f'{path}: it has annotations of {unknown[:5]}, but no categories with these ids.')
    orphans = [row['image_id'] for row in rows if row['image_id'] not in images]
    if not orphans:
        return
    message = f'{path}: {len(orphans)} of {len(rows)} annotations are of images that it does not list, such as {orphans[0]!r}'
    if len(orphans) == len(rows):
        raise AnnotationError(f'{message}. Is an id a number in one place and a text in the other?')
    print_log(f'{message}; they are left out.', 'current', logging.WARNING)


def _is_box(box: list) -> bool:
    """x, y, width, height; empty boxes are boxes, which filters drop."""
    numbers = len(box) == 4 and all(isinstance(value, NUMBER) and isfinite(value) for value in box)
    return numbers and box[2] >= 0 and box[3] >= 0
