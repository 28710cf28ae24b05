"""Labelled images that are checked, unlabelled ones with an annotation file or as a plain folder."""

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from mmdet.datasets import BaseDetDataset, CocoDataset
from mmengine.logging import print_log

from openmsra.common.annotations import inside, read_text, require_inside
from openmsra.common.coco import read_coco
from openmsra.common.images import list_images, upright_size
from openmsra.engine.data.rows import LongList
from openmsra.errors import AnnotationError, DataError, ImageError
from openmsra.registry import DATASETS
from openmsra.soft_teacher.data.coco import index_coco
from openmsra.suggest import did_you_mean


@DATASETS.register_module()
class LabelledCoco(LongList, CocoDataset):
    """mmdet's ``CocoDataset`` that does not go on without labels, or with wrong ones.

    Labels are the positions of the names in ``metainfo['classes']``, whatever the order of the categories in the file. Sizes that
    the file does not state are read from the images.

    Raises:
        DataError: a class of ``metainfo`` is no category of the file, or the filter leaves no image.
        AnnotationError: the file is not in the COCO format, has an id twice, or names images outside their folder.
    """

    def __init__(self, *args, data_prefix: dict | None = None, **kwargs) -> None:
        super().__init__(*args, data_prefix=data_prefix or dict(img=''), **kwargs)

    def load_data_list(self) -> list[dict]:
        rows = super().load_data_list()
        self.num_before_filter = len(rows)
        return rows

    def COCOAPI(self, path: str):  # noqa: N802 - the name by which CocoDataset reads files
        """The checked content of the file in mmdet's index."""
        content, classes = read_coco(path), self.metainfo['classes']
        if isinstance(classes, str):
            raise DataError(f"metainfo: classes={classes!r} is one text, not names; write ('{classes}',), with a comma.")
        for image in content['images']:
            file = inside(self.data_prefix['img'], image['file_name'], path)
            if 'width' not in image or 'height' not in image:
                try:
                    image['width'], image['height'] = upright_size(file)
                except ImageError as error:
                    raise DataError(
                        f'{path}: states no size of {image["file_name"]}, nor can it be read from it: {error}'
                    ) from None
        names = {row['name'] for row in content.get('categories', [])}
        if missing := [name for name in classes if name not in names]:
            raise DataError(
                f'{path}: no category of this file is called {", ".join(map(repr, missing[:5]))}. '
                f'{did_you_mean(missing[0], names)} Set metainfo=dict(classes=(...)) of both data sets.'
            )
        return index_coco(content, classes)

    def filter_data(self) -> list[dict]:
        rows = super().filter_data()
        if not rows:
            raise DataError(
                f'{self.ann_file}: none of its {self.num_before_filter} images is left after filter_cfg={self.filter_cfg}; '
                'it has no image with a usable box of the classes.'
            )
        return rows


@DATASETS.register_module()
class UnlabelledCoco(LabelledCoco):
    """Images of a COCO file without their annotations.

    Args:
        hidden: boxes of the file travel with the image as ``hidden_bboxes`` (n, 4) and ``hidden_labels`` (n,), out of reach of
            the network: only the pseudo-label monitor looks at them.
    """

    def __init__(self, *args, hidden: bool = False, **kwargs) -> None:
        self.hidden = hidden
        super().__init__(*args, **kwargs)

    def parse_data_info(self, raw_data_info: dict) -> dict:
        row = super().parse_data_info(raw_data_info)
        instances, row['instances'] = row['instances'], []
        if self.hidden:
            row['hidden_bboxes'] = np.array([instance['bbox'] for instance in instances], np.float32).reshape(-1, 4)
            row['hidden_labels'] = np.array([instance['bbox_label'] for instance in instances], np.int64)
        return row


@DATASETS.register_module()
class UnlabelledFolder(LongList, BaseDetDataset):
    """Every image below one or more folders; no annotation file is needed.

    Args:
        folders: a folder or a list; relative ones lie in ``data_root``.
        recursive: look into sub-folders.
        list_file: a text file with one path a line, relative to the only folder; then the folder is not searched. Behind a tab
            and another one it may state width and height of the upright image, as ``tools/dataset_converters/image_sizes.py``
            writes them; else each image is opened at the start, a minute or more for a million.
        skip_broken: leave out images whose header cannot be read instead of stopping.

    Raises:
        MissingFileError: no such folder, or no image in it.
        AnnotationError: a line of the list is malformed or leads out of its folder.
        DataError: images with a broken header (the message lists them).
    """

    METAINFO = CocoDataset.METAINFO  # ConcatDataset joins data sets only if their palettes are the same too

    def __init__(
        self, folders: str | list[str], recursive: bool = True, list_file: str | None = None, skip_broken: bool = False, **kwargs
    ) -> None:
        self.folders = [folders] if isinstance(folders, str) else list(folders)
        self.recursive, self.list_file, self.skip_broken = recursive, list_file, skip_broken
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> list[dict]:
        rows, broken = [], []
        for path, size in (row for folder in self.folders for row in self._images(Path(self.data_root or '') / folder)):
            try:
                width, height = size or upright_size(path)
            except DataError:
                broken.append(path)
                continue
            rows.append(dict(img_path=path, img_id=path, width=width, height=height, instances=[]))
        if broken and not (self.skip_broken and rows):
            raise DataError(
                f'UnlabelledFolder: {len(broken)} of {len(rows) + len(broken)} images cannot be read: {", ".join(broken[:10])}. '
                'Remove them or set skip_broken=True.'
            )
        if broken:
            print_log(
                f'UnlabelledFolder: {len(broken)} images are left out: {", ".join(broken[:10])}', 'current', logging.WARNING
            )
        return rows

    def _images(self, folder: Path) -> Iterable[tuple[str, tuple[int, int] | None]]:
        """Paths with width and height, where these are known."""
        if not self.list_file:
            return ((str(path), None) for path in list_images(folder, self.recursive))
        rows = list(read_sizes(folder / self.list_file))
        require_inside(folder, (name for name, _ in rows), self.list_file)
        return ((os.path.join(folder, name), size) for name, size in rows)


def read_sizes(path: str | Path) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """Names and sizes (width, height) of a list: in each line a name, or a name, a width and a height with tabs between them.

    Raises:
        AnnotationError: a line of another form.
    """
    for number, line in enumerate(map(str.strip, read_text(path).splitlines()), start=1):
        name, *size = line.split('\t')
        if size and not (len(size) == 2 and all(side.isdecimal() and int(side) for side in size)):
            raise AnnotationError(f'{path}, line {number}: behind the name come a width and a height in pixels, or nothing.')
        if name:
            yield name, (int(size[0]), int(size[1])) if size else None
