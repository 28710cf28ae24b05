"""Coloured cut-outs of one photograph pasted on another, as a COCO data set on disk: few labelled, many unlabelled images.

The class is the hue, which a network of this size learns within minutes; outline, texture, size and background vary. With a
handful of labelled images most backgrounds and many shades are known from unlabelled images alone.
"""

import fcntl
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmengine.logging import print_log

from openmsra.miniatures.photographs import load_photo
from openmsra.registry import DATASETS
from openmsra.soft_teacher.data.datasets import LabelledCoco, UnlabelledCoco, UnlabelledFolder
from openmsra.soft_teacher.data.splits import subset

CLASSES = ('red', 'green', 'blue')
HUES = (0.0, 120.0, 240.0)  # degrees, each within SPREAD
SPREAD = 30.0
CORNERS = (40, 3, 4, 10)  # disc, triangle, square, star
PHOTOS = ('astronaut', 'chelsea', 'china', 'coffee', 'flower', 'rocket', 'motorcycle', 'retina', 'hubble_deep_field',
          'immunohistochemistry', 'brick', 'grass', 'gravel')  # fmt: skip
SIZE = 96  # pixels
FOLDS = 3  # of labelled images, disjoint
COUNTS = {'labelled': 24 * FOLDS, 'unlabelled': 800, 'val': 150}
VERSION = 3  # of the drawing; another one makes the data anew


@dataclass
class Shape:
    """A closed outline (N, 2) in pixels and its class."""

    outline: np.ndarray
    label: int


def make_scenes(root: Path) -> None:
    """Write all images and ``labelled.{fold}.json``, ``unlabelled.json`` (its boxes are for monitors alone), ``val.json``.

    Deterministic; written beside ``root`` and moved there when complete.
    """
    print_log(f'SoftTeacher: making the scenes of {root}', 'current')
    part = root.with_name(f'.{root.name}.{os.getpid()}')
    shutil.rmtree(part, ignore_errors=True)
    for number, (split, count) in enumerate(COUNTS.items()):
        folder = part / split
        folder.mkdir(parents=True)
        images, annotations = [], []
        for index in range(count):
            pixels, shapes = draw_scene(np.random.default_rng([VERSION, number, index]))
            name = f'{split}/{index:04d}.png'
            cv2.imwrite(str(part / name), pixels[..., ::-1])
            images.append(dict(id=index, file_name=name, width=SIZE, height=SIZE))
            annotations += [_annotation(shape, index, len(annotations) + k) for k, shape in enumerate(shapes)]
        categories = [dict(id=k + 1, name=label) for k, label in enumerate(CLASSES)]
        content = dict(images=images, annotations=annotations, categories=categories)
        files = (
            {split: content}
            if split != 'labelled'
            else {f'labelled.{fold}': subset(content, set(range(fold, count, FOLDS))) for fold in range(FOLDS)}
        )
        for name, rows in files.items():
            (part / f'{name}.json').write_text(json.dumps(rows), encoding='utf-8')
    (part / 'version').write_text(str(VERSION))
    if root.exists():
        shutil.rmtree(root)
    part.replace(root)


def draw_scene(rng: np.random.Generator) -> tuple[np.ndarray, list[Shape]]:
    """One image (SIZE, SIZE, 3) uint8 RGB with one to three shapes that hardly overlap."""
    image = _crop(rng).astype(np.float32)
    shapes: list[Shape] = []
    for _ in range(int(rng.integers(1, 4))):
        shape = _place(rng, [cv2.boundingRect(_points(other.outline)) for other in shapes])
        if shape is None:
            continue
        mask = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(mask, [_points(shape.outline)], 255, cv2.LINE_AA)
        fill = 0.4 * _crop(rng) + 0.6 * _shade(shape.label, rng)
        opacity = mask[..., None] / 255 * rng.uniform(0.85, 1.0)
        image = image * (1 - opacity) + fill * opacity
        shapes.append(shape)
    return image.round().clip(0, 255).astype(np.uint8), shapes


def _crop(rng: np.random.Generator) -> np.ndarray:
    """A square crop of a photograph, at least a third of its short side."""
    photo = load_photo(PHOTOS[rng.integers(len(PHOTOS))])
    short = min(photo.shape[:2])
    side = int(rng.integers(short // 3, short + 1))
    y, x = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
    return cv2.resize(photo[y : y + side, x : x + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def _place(rng: np.random.Generator, taken: list[tuple], tries: int = 30) -> Shape | None:
    """A shape whose bounding box overlaps none of the taken ones (x, y, width, height) by more than 2 pixels."""
    for _ in range(tries):
        label, radius = int(rng.integers(len(CLASSES))), rng.uniform(9, 22)
        outline = _outline(rng) * radius + rng.uniform(radius, SIZE - radius, 2)
        x, y, w, h = cv2.boundingRect(_points(outline))
        if all(min(x + w, u + p) - max(x, u) <= 2 or min(y + h, v + q) - max(y, v) <= 2 for u, v, p, q in taken):
            return Shape(outline, label)
    return None


def _outline(rng: np.random.Generator) -> np.ndarray:
    """A disc, triangle, square or star within the unit circle, turned at random."""
    corners = int(rng.choice(CORNERS))
    turn = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(corners) / corners
    radius = np.where(np.arange(corners) % 2, 0.45, 1.0) if corners == 10 else 1.0
    return np.stack([np.cos(turn) * radius, np.sin(turn) * radius], 1)


def _shade(label: int, rng: np.random.Generator) -> np.ndarray:
    """RGB of a class: its hue, more or less saturated and bright."""
    hue = (HUES[label] + rng.uniform(-SPREAD, SPREAD)) % 360
    hsv = np.array([[[hue, rng.uniform(0.5, 1), rng.uniform(0.35, 1)]]], np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] * 255


def _points(outline: np.ndarray) -> np.ndarray:
    return outline.round().astype(np.int32)


def _annotation(shape: Shape, image: int, number: int) -> dict:
    """COCO annotation; the box is the hull of the outline within the image."""
    x1, y1 = shape.outline.min(0).clip(0, SIZE)
    x2, y2 = shape.outline.max(0).clip(0, SIZE)
    area = float(cv2.contourArea(shape.outline.astype(np.float32)))
    return dict(
        id=number,
        image_id=image,
        category_id=shape.label + 1,
        bbox=[x1, y1, x2 - x1, y2 - y1],
        area=area,
        iscrowd=0,
        segmentation=[shape.outline.ravel().tolist()],
    )


class _Scenes:
    """Makes the files before a data set reads them."""

    METAINFO = dict(classes=CLASSES, palette=[(220, 20, 60), (60, 180, 75), (0, 130, 200)])

    def __init__(self, data_root: str = 'data/shape_scenes', **kwargs) -> None:
        root = Path(data_root)
        if not _made(root):
            root.parent.mkdir(parents=True, exist_ok=True)
            with open(root.with_name(f'.{root.name}.lock'), 'w', encoding='utf-8') as lock:
                with suppress(OSError):  # a file system without locks
                    fcntl.lockf(lock, fcntl.LOCK_EX)  # all processes of a run come here at once: one draws, the others wait
                if not _made(root):
                    make_scenes(root)
        super().__init__(data_root=data_root, **kwargs)


def _made(root: Path) -> bool:
    """Whether the scenes are there, of this version."""
    version = root / 'version'
    return version.is_file() and version.read_text() == str(VERSION)


@DATASETS.register_module()
class ShapeScenes(_Scenes, LabelledCoco):
    """Labelled or validation images of :func:`make_scenes`, made on first use.

    Args:
        data_root: folder of the scenes.
        kwargs: of ``LabelledCoco``: ``ann_file`` is 'labelled.0.json' (or .1, .2) or 'val.json'.
    """


@DATASETS.register_module()
class UnlabelledShapeScenes(_Scenes, UnlabelledCoco):
    """Unlabelled images of :func:`make_scenes`: ``ann_file='unlabelled.json'``, and ``hidden=True`` for the monitor."""


@DATASETS.register_module()
class UnlabelledShapeFolder(_Scenes, UnlabelledFolder):
    """The same images as a plain folder, without their annotation file: ``folders='unlabelled'``."""
