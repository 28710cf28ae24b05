"""Labelled and unlabelled parts of a data set: drawn without replacement, the same for everyone, with hashes to prove it."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from openmsra.common.annotations import read_text
from openmsra.common.coco import read_coco
from openmsra.errors import AnnotationError, DataError

VOC_SETS = ('train', 'val', 'trainval', 'test')


@dataclass
class Plan:
    """Which splits to draw.

    Args:
        percents: shares of labelled images in percent.
        counts: numbers of labelled images, instead.
        folds: how many draws of each; the seed of a fold is its number, from 1.
        nested: splits of a fold are beginnings of one permutation, so that 1 % is part of 10 %, as with the official draw;
            without it they are independent.
        stratified: images are first drawn so that each category has one.
        ids: the labelled images themselves, for one fixed split.
    """

    percents: Iterable[float] = (1, 2, 5, 10)
    counts: Iterable[int] | None = None
    folds: int = 5
    nested: bool = True
    stratified: bool = False
    ids: list[str] | None = None


def voc_image_sets(folder: Path) -> dict[str, Path]:
    """Name -> file of the lists that a VOC data set divides its images by: ``ImageSets/Main/{train,val,trainval,test}.txt``.

    Lists of one class (``aeroplane_train.txt``) are not among them.

    Args:
        folder: of the data set, or of its xml files.
    """
    place = _voc_root(folder) / 'ImageSets' / 'Main'
    files = {path.stem: path for path in sorted(place.glob('[!.]*.txt'))}
    return {name: files[name] for name in VOC_SETS if name in files}


def _voc_root(folder: Path) -> Path:
    return folder if (folder / 'Annotations').is_dir() else folder.parent


def read_voc(folder: Path, image_set: str | None = None) -> dict:
    """VOC xml files of a folder as COCO content; categories in alphabetical order, 'difficult' objects are crowds.

    Args:
        folder: of the xml files, or of a data set with ``Annotations/``.
        image_set: only the images of this list; categories are those of all files, so that all lists number them alike.

    Raises:
        DataError: no xml file in the folder, or no such list.
        AnnotationError: a file is no XML, lacks an entry or has a box that is none, or a list names an image that has no file.
    """
    annotations = folder / 'Annotations' if (folder / 'Annotations').is_dir() else folder
    files = sorted(annotations.glob('[!.]*.xml'))
    if not files:
        raise DataError(f'{folder}: no VOC xml file in it.')
    if image_set is not None:
        return _only_listed(read_voc(folder), [file.stem for file in files], folder, image_set)
    trees = [_parsed_xml(file) for file in files]
    objects = [[_voc_object(file, node) for node in tree.iter('object')] for file, tree in zip(files, trees, strict=True)]
    names = sorted({name for rows in objects for name, *_ in rows})
    images, annotations = [], []
    for number, (file, tree, rows) in enumerate(zip(files, trees, objects, strict=True)):
        width, height = (int(_voc_number(file, tree, f'size/{side}')) for side in ('width', 'height'))
        images.append(dict(id=number, file_name=_voc_text(file, tree, 'filename'), width=width, height=height))
        for name, box, difficult in rows:
            annotations.append(
                dict(
                    id=len(annotations),
                    image_id=number,
                    category_id=names.index(name) + 1,
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=int(difficult),
                )
            )
    return dict(images=images, annotations=annotations, categories=[dict(id=k + 1, name=name) for k, name in enumerate(names)])


def _only_listed(content: dict, stems: list[str], folder: Path, image_set: str) -> dict:
    lists = voc_image_sets(folder)
    if image_set not in lists:
        raise DataError(f'{folder}: there is no list ImageSets/Main/{image_set}.txt; there are {", ".join(lists) or "none"}.')
    listed = [line.split()[0] for line in read_text(lists[image_set]).splitlines() if line.strip()]
    numbers = {stem: image['id'] for stem, image in zip(stems, content['images'], strict=True)}
    if missing := [name for name in listed if name not in numbers]:
        raise AnnotationError(f'{lists[image_set]}: {len(missing)} images have no xml file, such as {missing[0]}.')
    return subset(content, {numbers[name] for name in listed})


def _parsed_xml(file: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise AnnotationError(f'{file}: no XML, or cut off ({error}).') from None


def _voc_text(file: Path, node: ElementTree.Element, path: str) -> str:
    text = (node.findtext(path) or '').strip()
    if not text:
        raise AnnotationError(f'{file}: <{path}> is missing or empty.')
    return text


def _voc_number(file: Path, node: ElementTree.Element, path: str) -> float:
    text = _voc_text(file, node, path)
    try:
        number = float(text)
    except ValueError:
        number = float('nan')
    if not isfinite(number):
        raise AnnotationError(f'{file}: <{path}> is {text!r} where a number is expected.')
    return number


def _voc_object(file: Path, node: ElementTree.Element) -> tuple[str, list[float], bool]:
    """Name, box (x, y, width, height) and whether it is difficult; ``Unspecified`` and the like are not."""
    x1, y1, x2, y2 = (_voc_number(file, node, f'bndbox/{side}') for side in ('xmin', 'ymin', 'xmax', 'ymax'))
    if x2 < x1 or y2 < y1:
        raise AnnotationError(f'{file}: the box {[x1, y1, x2, y2]} has no positive width and height.')
    box = [x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1]  # VOC counts pixels from 1 and means the last one too
    return _voc_text(file, node, 'name'), box, (node.findtext('difficult') or '').strip() == '1'


def draw(content: dict, count: int, fold: int, nested: bool = True, stratified: bool = False) -> list:
    """Sorted ids of ``count`` labelled images.

    Images are drawn by their position in the file, as the official script does; ``instances_train2017.json`` is not sorted by id.

    Args:
        content: a COCO file.
        count: of labelled images.
        fold: seed.
        nested, stratified: see :class:`Plan`.

    Raises:
        DataError: more images than there are, or fewer than categories in a stratified split.
    """
    ids = [image['id'] for image in content['images']]
    if not 0 < count < len(ids):
        raise DataError(f'{count} of {len(ids)} images cannot be the labelled part; at least one must be left on each side.')
    order = [ids[i] for i in np.random.RandomState(fold if nested else [fold, count]).permutation(len(ids))]
    if stratified:
        order = _one_of_each_first(content, order)
        categories = len({row['category_id'] for row in content.get('annotations', [])})
        if count < categories and _covered(content, order[:count]) < categories:
            raise DataError(f'{count} labelled images cannot show all {categories} categories; ask for more or do not stratify.')
    return sorted(order[:count])


def _one_of_each_first(content: dict, order: list) -> list:
    """``order`` with an image of each category moved to its beginning, rarest category first."""
    shown: dict[int, set] = {}
    for row in content.get('annotations', []):
        shown.setdefault(row['category_id'], set()).add(row['image_id'])
    rank, chosen = {name: i for i, name in enumerate(order)}, []
    for category in sorted(shown, key=lambda key: (len(shown[key]), key)):
        if not shown[category] & set(chosen):
            chosen.append(min(shown[category], key=rank.__getitem__))
    return chosen + [name for name in order if name not in set(chosen)]


def _covered(content: dict, ids: list) -> int:
    kept = set(ids)
    return len({row['category_id'] for row in content.get('annotations', []) if row['image_id'] in kept})


def write_splits(content: dict, name: str, out: Path, plan: Plan) -> list[dict]:
    """Write ``{name}.{fold}@{percent}.json`` and ``...-unlabeled.json`` for all splits, and ``manifest.json``.

    Returns:
        the rows of the manifest: file, images, sha256 of the sorted ids of the labelled images, one a line.
    """
    out.mkdir(parents=True, exist_ok=True)
    total, rows = len(content['images']), []
    if plan.ids is not None:
        known = {str(image['id']): image['id'] for image in content['images']}
        if unknown := [name for name in plan.ids if name not in known]:
            raise DataError(f'{len(unknown)} ids are no images of the file: {", ".join(unknown[:10])}')
        splits = [('fixed', sorted(known[name] for name in set(plan.ids)))]
    else:
        sizes = (
            {f'{count}img': count for count in plan.counts}
            if plan.counts
            else {f'{share:g}': int(share / 100 * total) for share in plan.percents}
        )
        splits = [
            (f'{fold}@{label}', draw(content, count, fold, plan.nested, plan.stratified))
            for label, count in sizes.items()
            for fold in range(1, plan.folds + 1)
        ]
    for label, ids in splits:
        for suffix, kept in (('', set(ids)), ('-unlabeled', {image['id'] for image in content['images']} - set(ids))):
            file = out / f'{name}.{label}{suffix}.json'
            file.write_text(json.dumps(subset(content, kept)), encoding='utf-8')
            rows.append(dict(file=file.name, images=len(kept), sha256=id_hash(kept)))
    manifest = dict(source=name, nested=plan.nested, stratified=plan.stratified, splits=rows)
    (out / 'manifest.json').write_text(json.dumps(manifest, indent=1) + '\n', encoding='utf-8')
    return rows


def subset(content: dict, ids: set) -> dict:
    """The images with these ids and their annotations; everything else of the file is kept."""
    return dict(
        content,
        images=[image for image in content['images'] if image['id'] in ids],
        annotations=[row for row in content.get('annotations', []) if row['image_id'] in ids],
    )


def id_hash(ids: Iterable) -> str:
    """sha256 of the sorted ids, one a line."""
    return hashlib.sha256('\n'.join(map(str, sorted(ids))).encode()).hexdigest()


def write_unlabelled(content: dict, image_info: Path, file: Path) -> str:
    """Images of a file without annotations (COCO's ``image_info_unlabeled2017.json``) with the categories of ``content``."""
    images = read_coco(image_info)['images']
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(dict(images=images, annotations=[], categories=content['categories'])), encoding='utf-8')
    return f'{file}: {len(images)} images without annotations'
