"""Boxes in YOLO's text files as COCO content: ``labels/x.txt`` beside ``images/x.jpg``, a line for each box."""

from math import isfinite
from pathlib import Path

from openmsra.common.annotations import read_text
from openmsra.common.images import list_images, upright_size
from openmsra.errors import AnnotationError, DataError, MissingFileError

PARTS = ('train', 'val', 'valid', 'test')


def yolo_names(root: Path) -> list[str]:
    """Names of the classes from ``data.yaml`` (``names`` as a list or a table), else ``classes.txt`` or ``obj.names``.

    Raises:
        MissingFileError: none of these files is there.
        AnnotationError: ``data.yaml`` has no names.
    """
    for file in (*sorted(root.glob('*.yaml')), *sorted(root.glob('*.yml'))):
        import yaml

        try:
            content = yaml.safe_load(read_text(file))
        except yaml.YAMLError as error:
            raise AnnotationError(f'{file}: no YAML ({" ".join(str(error).split())}).') from None
        names = content.get('names') if isinstance(content, dict) else None
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names)]
        if not isinstance(names, list) or not names:
            raise AnnotationError(f'{file}: no names of classes in it.')
        return list(map(str, names))
    for file in (root / 'classes.txt', root / 'obj.names', root / 'labels' / 'classes.txt'):
        if file.is_file():
            return [line.strip() for line in read_text(file).splitlines() if line.strip()]
    raise MissingFileError(f'{root}: no data.yaml, classes.txt or obj.names says what the classes are called.')


def yolo_parts(root: Path) -> dict[str, Path]:
    """Part -> folder of its images, for both ways round: ``images/train`` and ``train/images``; one folder is 'train'."""
    parts = {}
    for part in PARTS:
        folder = next((place for place in (root / 'images' / part, root / part / 'images') if place.is_dir()), None)
        if folder is not None:
            parts['val' if part == 'valid' else part] = folder
    return parts or ({'train': root / 'images'} if (root / 'images').is_dir() else {})


def read_yolo(images: Path, root: Path, names: list[str]) -> dict:
    """COCO content of a folder of images; file names are relative to ``root``; an image without a text has no boxes.

    Raises:
        DataError: no image has a text with labels.
        AnnotationError: a line is none, names a class that there is not, or a box that leaves its image.
    """
    rows, annotations, labelled = [], [], 0
    for number, image in enumerate(list_images(images)):
        width, height = upright_size(image)
        rows.append(dict(id=number, file_name=image.relative_to(root).as_posix(), width=width, height=height))
        file = _label_file(image)
        if not file.is_file():
            continue
        labelled += 1
        for line_number, line in enumerate(read_text(file).splitlines(), start=1):
            if line.strip():
                label, box = _box(f'{file}, line {line_number}', line.split(), len(names), width, height)
                annotations.append(
                    dict(
                        id=len(annotations),
                        image_id=number,
                        category_id=label + 1,
                        bbox=box,
                        area=box[2] * box[3],
                        iscrowd=0,
                    )
                )
    if not labelled:
        raise DataError(f'{images}: none of its images has a text with boxes in a folder labels/ beside it.')
    return dict(images=rows, annotations=annotations, categories=[dict(id=k + 1, name=name) for k, name in enumerate(names)])


def _label_file(image: Path) -> Path:
    """The last ``images`` of the path becomes ``labels``."""
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == 'images':
            parts[index] = 'labels'
            break
    return Path(*parts).with_suffix('.txt')


def _box(place: str, fields: list[str], classes: int, width: int, height: int) -> tuple[int, list[float]]:
    """Class and (x, y, width, height) in pixels; of a polygon, the box around it."""
    try:
        label, values = int(fields[0]), [float(field) for field in fields[1:]]
    except ValueError:
        raise AnnotationError(f'{place}: not "class x y width height" ({" ".join(fields)[:60]!r}).') from None
    if not 0 <= label < classes:
        raise AnnotationError(f'{place}: class {label}, but there are {classes} names (0 to {classes - 1}).')
    if len(values) not in (4, 5) and (len(values) < 6 or len(values) % 2):
        raise AnnotationError(
            f'{place}: {len(values)} numbers behind the class; 4 are a box, an even number from 6 is a polygon.'
        )
    if not all(isfinite(value) and -0.01 <= value <= 1.01 for value in values[:4]):
        raise AnnotationError(f'{place}: coordinates are shares of the image from 0 to 1; these may be pixels.')
    if len(values) <= 5:
        x, y, w, h = values[:4]
        left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    else:
        left, right, top, bottom = min(values[::2]), max(values[::2]), min(values[1::2]), max(values[1::2])
    left, top, right, bottom = (min(max(value, 0.0), 1.0) for value in (left, top, right, bottom))
    return label, [left * width, top * height, (right - left) * width, (bottom - top) * height]
