"""Labelled images and labelled boxes for the probes of frozen features."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import mmcv
import numpy as np

from openmsra.common.annotations import inside, read_text
from openmsra.common.coco import read_coco
from openmsra.common.files import visible_folders
from openmsra.common.images import list_images, read_annotated, read_rgb, upright_size
from openmsra.engine.data.rows import LongList
from openmsra.errors import DataError, MissingFileError
from openmsra.registry import DATASETS


@DATASETS.register_module()
class LabelledFolder(LongList):
    """One sub-folder a class, as ImageNet has it; RGB. Probes alone use the labels. Hidden folders are no classes.

    Args:
        data_root: holds a folder for each class.
        classes: what numbers the classes: a folder whose sub-folders they are (that of the training images), or a text file with
            one name a line; default: ``data_root`` itself.
        bank: whether probes are fitted on these images (else tested).
        per_class: only so many images of each class, the first by name; ``None`` for all.

    Raises:
        FileNotFoundError: no folder, or none with images.
        DataError: a folder that is none of the classes.
    """

    def __init__(
        self, data_root: str, pipeline: list, bank: bool, per_class: int | None = None, classes: str = '', **kwargs
    ) -> None:
        self.bank, self.per_class, self.classes = bank, per_class, classes
        super().__init__(data_root=data_root, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        if not root.is_dir():
            raise MissingFileError(f'{root}: there is no such folder of classes.')
        names = self._class_names(Path(self.classes) if self.classes else root)
        folders = {folder.name: folder for folder in visible_folders(root)}
        if unknown := sorted(folders.keys() - set(names)):
            raise DataError(
                f'{root}: {", ".join(unknown[:5])} is none of the {len(names)} classes of {self.classes}; '
                'move the folder away, or train the probe on this class too.'
            )
        rows, class_list = [], _digest(names)
        for label, name in enumerate(names):
            for path in list_images(folders[name])[: self.per_class] if name in folders else ():
                rows.append(dict(img_path=str(path), gt_label=label, class_list=class_list))
        if not rows:
            raise MissingFileError(f'{root}: no class folders with images.')
        return rows

    @staticmethod
    def _class_names(place: Path) -> list[str]:
        if place.is_dir():
            return [folder.name for folder in visible_folders(place)]
        return [line.strip() for line in read_text(place).splitlines() if line.strip()]

    def prepare_data(self, idx: int) -> dict:
        row = self.get_data_info(idx)
        return self.pipeline(dict(row, img=read_rgb(row['img_path']), bank=self.bank))


@DATASETS.register_module()
class CocoRegions(LongList):
    """Images of a COCO annotation file with the same number of labelled boxes each, resized to squares; RGB.

    Args:
        data_root: folder of the images.
        ann_file: COCO json.
        bank: whether probes are fitted on these images (else tested).
        size: side of the squares in pixels; aspect is not kept, so that every box stays inside.
        boxes: boxes an image: its largest ones that are no crowds; images with fewer are left out.
        min_side: boxes with a smaller side in the resized image do not count, in pixels.
        count: images, the first by id; ``None`` for all.

    Raises:
        FileNotFoundError: the file is missing, or no image has enough boxes.
    """

    def __init__(
        self,
        data_root: str,
        ann_file: str,
        pipeline: list,
        bank: bool,
        size: int = 224,
        boxes: int = 2,
        min_side: float = 16,
        count: int | None = None,
        **kwargs,
    ) -> None:
        self.bank, self.size, self.boxes, self.min_side, self.count = bank, size, boxes, min_side, count
        super().__init__(data_root=data_root, ann_file=ann_file, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        content = read_coco(self.ann_file)
        labels = {category: i for i, category in enumerate(sorted(row['id'] for row in content.get('categories', [])))}
        self._class_list = _digest(
            f'{row["id"]} {row.get("name")}' for row in sorted(content.get('categories', []), key=lambda c: c['id'])
        )
        by_image: dict[int, list[dict]] = {}
        for annotation in content.get('annotations', []):
            if not annotation.get('iscrowd'):
                by_image.setdefault(annotation['image_id'], []).append(annotation)
        images = sorted(content['images'], key=lambda image: str(image['id']).rjust(30))  # numbers or texts
        rows = [self._row(image, by_image.get(image['id'], []), labels) for image in images]
        rows = [row for row in rows if len(row['gt_boxes']) == self.boxes][: self.count]
        if not rows:
            raise MissingFileError(f'{self.ann_file}: no image has {self.boxes} boxes of at least {self.min_side} pixels.')
        return rows

    def _row(self, image: dict, annotations: list[dict], labels: dict[int, int]) -> dict:
        path = inside(self.data_root, image['file_name'], self.ann_file)
        size = (image['width'], image['height']) if 'width' in image and 'height' in image else upright_size(path)
        scale = self.size / np.array(size * 2, float)
        boxes = []
        for annotation in annotations:
            x, y, w, h = annotation['bbox']
            box = np.clip(np.array([x, y, x + w, y + h]) * scale, 0, self.size)
            if (box[2:] - box[:2]).min() >= self.min_side:
                boxes.append((box.tolist(), labels[annotation['category_id']]))
        boxes = sorted(boxes, key=lambda row: (row[0][0] - row[0][2]) * (row[0][3] - row[0][1]))[: self.boxes]
        return dict(
            img_path=str(path),
            stated_size=size,
            gt_boxes=[box for box, _ in boxes],
            gt_box_labels=[label for _, label in boxes],
            class_list=self._class_list,
        )

    def prepare_data(self, idx: int) -> dict:
        row = self.get_data_info(idx)
        pixels = read_annotated(row['img_path'], row['stated_size'])
        pixels = mmcv.imresize(pixels, (self.size, self.size), backend='pillow')
        return self.pipeline(dict(row, img=pixels, bank=self.bank))


@DATASETS.register_module()
class SegmentedFrames(LongList):
    """Images with maps of classes, resized and cut into square cells; RGB.

    A cell counts if one class covers most of it. The map of an image is the PNG of the same name. A grey map holds numbers of
    classes (larger ones, of no class, do not count), a coloured one the colours of the palette (others do not count).

    Args:
        data_root: holds the folders of ``data_prefix``.
        data_prefix: ``img_path`` and ``seg_map_path``, folders of images and maps.
        metainfo: ``classes``, their names in order, and ``palette``, their colours, which coloured maps need.
        bank: whether probes are fitted on these images (else tested).
        size: (width, height) in pixels to which images are resized; aspect is not kept.
        cell: side of a cell in pixels; the stride of the network.
        share: of a cell that its class covers at least.

    Raises:
        FileNotFoundError: a folder is missing or empty, an image has no map.
        DataError: no colours for coloured maps, sizes that cells do not divide.
    """

    def __init__(
        self,
        data_root: str,
        data_prefix: dict[str, str],
        metainfo: dict,
        pipeline: list,
        bank: bool,
        size: Sequence[int] = (192, 144),
        cell: int = 8,
        share: float = 0.75,
        **kwargs,
    ) -> None:
        if size[0] % cell or size[1] % cell:
            raise DataError(f'SegmentedFrames: size={tuple(size)} is no multiple of cell={cell}.')
        self.bank, self.size, self.cell, self.share = bank, tuple(size), cell, share
        super().__init__(data_root=data_root, data_prefix=data_prefix, metainfo=metainfo, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        images = list_images(self.data_prefix['img_path'])
        rows = [dict(img_path=str(path), seg_map_path=self._map_of(path)) for path in images]
        class_list = _digest(self.metainfo['classes'])
        return [dict(row, class_list=class_list) for row in rows]

    def _map_of(self, image: Path) -> str:
        path = Path(self.data_prefix['seg_map_path'], image.relative_to(self.data_prefix['img_path'])).with_suffix('.png')
        if not path.is_file():
            raise MissingFileError(f'{image}: its map of classes is not there: {path}.')
        return str(path)

    def prepare_data(self, idx: int) -> dict:
        row = self.get_data_info(idx)
        pixels = mmcv.imresize(read_rgb(row['img_path']), self.size, backend='pillow')
        return self.pipeline(dict(row, img=pixels, cell_labels=self.cell_labels(row['seg_map_path']), bank=self.bank))

    def cell_labels(self, path: str) -> np.ndarray:
        """The class of each cell (rows, columns) of a map, -1 where none covers its ``share``."""
        labels = self.class_map(path)
        labels = labels[np.ix_(*(_nearest(n, length) for n, length in zip(self.size[::-1], labels.shape, strict=True)))]
        rows, columns = (length // self.cell for length in labels.shape)
        cells = labels.reshape(rows, self.cell, columns, self.cell).swapaxes(1, 2).reshape(rows, columns, -1)
        counts = np.stack([(cells == label).sum(-1) for label in range(len(self.metainfo['classes']))], -1)
        return np.where(counts.max(-1) >= self.share * self.cell**2, counts.argmax(-1), -1)

    def class_map(self, path: str) -> np.ndarray:
        """The class of each pixel (H, W), -1 for none."""
        pixels, count = read_rgb(path).astype(int), len(self.metainfo['classes'])
        grey = (pixels == pixels[..., :1]).all()
        if grey and (pixels[pixels != 255] <= count).all():
            return np.where(pixels[..., 0] < count, pixels[..., 0], -1)
        if 'palette' not in self.metainfo:
            raise DataError(f'{path}: a map of colours; give metainfo a palette, the colour (R, G, B) of each class.')
        codes = pixels @ [65536, 256, 1]
        labels = np.full(codes.shape, -1)
        for label, colour in enumerate(self.metainfo['palette']):
            labels[codes == np.dot(colour, [65536, 256, 1])] = label
        return labels


def _nearest(count: int, length: int) -> np.ndarray:
    """Which of ``length`` pixels the ``count`` pixels of a resized row are."""
    return ((np.arange(count) + 0.5) * length / count).astype(int)


def _digest(names: Iterable[str]) -> int:
    """A number that tells whether two parts of a probe number the same classes alike."""
    return int.from_bytes(hashlib.blake2b('\n'.join(names).encode(), digest_size=7).digest(), 'big')
