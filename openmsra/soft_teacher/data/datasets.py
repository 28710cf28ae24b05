"""Labelled images that are checked, unlabelled ones with an annotation file or as a plain folder."""

from pathlib import Path

import numpy as np
from mmdet.datasets import BaseDetDataset, CocoDataset
from PIL import Image, UnidentifiedImageError

from openmsra.common.annotations import inside, read_text
from openmsra.common.images import list_images
from openmsra.errors import AnnotationError, DataError
from openmsra.registry import DATASETS
from openmsra.suggest import did_you_mean


@DATASETS.register_module()
class LabelledCoco(CocoDataset):
    """mmdet's ``CocoDataset`` that does not go on without labels.

    Raises:
        DataError: a class of ``metainfo`` is no category of the file, or the filter leaves no image.
        AnnotationError: the file is not in the COCO format, or names images outside their folder.
    """

    def __init__(self, *args, data_prefix: dict | None = None, **kwargs) -> None:
        super().__init__(*args, data_prefix=data_prefix or dict(img=''), **kwargs)

    def load_data_list(self) -> list[dict]:
        rows = super().load_data_list()
        names = {row['name'] for row in self._categories}
        if missing := [name for name in self.metainfo['classes'] if name not in names]:
            raise DataError(
                f'{self.ann_file}: no category of this file is called {", ".join(map(repr, missing[:5]))}. '
                f'{did_you_mean(missing[0], names)} Set metainfo=dict(classes=(...)) of both data sets.'
            )
        self.num_before_filter = len(rows)
        return rows

    def COCOAPI(self, path: str):  # noqa: N802 - the name by which CocoDataset reads files
        """mmdet's reader, whose categories are kept for the check."""
        try:
            index = CocoDataset.COCOAPI(path)
            names = [str(image['file_name']) for image in index.dataset['images']]
            self._categories = index.dataset['categories']
        except (ValueError, AssertionError, KeyError, TypeError) as error:
            raise AnnotationError(f'{path}: not in the COCO format ({type(error).__name__}: {error}).') from error
        for name in names:
            inside(self.data_prefix['img'], name, path)
        return index

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
class UnlabelledFolder(BaseDetDataset):
    """Every image below one or more folders; no annotation file is needed.

    Args:
        folders: a folder or a list; relative ones lie in ``data_root``.
        recursive: look into sub-folders.
        list_file: a text file with one path a line, relative to the only folder; then the folder is not searched.
        skip_broken: leave out images whose header cannot be read instead of stopping.

    Raises:
        MissingFileError: no such folder, or no image in it.
        DataError: images with a broken header (the message lists them).
    """

    def __init__(
        self, folders: str | list[str], recursive: bool = True, list_file: str | None = None, skip_broken: bool = False, **kwargs
    ) -> None:
        self.folders = [folders] if isinstance(folders, str) else list(folders)
        self.recursive, self.list_file, self.skip_broken = recursive, list_file, skip_broken
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> list[dict]:
        paths = [path for folder in self.folders for path in self._files(Path(self.data_root or '') / folder)]
        rows, broken = [], []
        for path in paths:
            try:
                with Image.open(path) as image:
                    width, height = image.size
            except (UnidentifiedImageError, OSError):
                broken.append(str(path))
                continue
            rows.append(dict(img_path=str(path), img_id=str(path), width=width, height=height, instances=[]))
        if broken and not (self.skip_broken and rows):
            raise DataError(
                f'UnlabelledFolder: {len(broken)} of {len(paths)} images cannot be read: {", ".join(broken[:10])}. '
                'Remove them or set skip_broken=True.'
            )
        return rows

    def _files(self, folder: Path) -> list[Path]:
        if not folder.is_dir():
            raise DataError(f'UnlabelledFolder: there is no folder {folder}.')
        if self.list_file:
            names = read_text(folder / self.list_file).splitlines()
            return [inside(folder, name.strip(), self.list_file) for name in names if name.strip()]
        return list_images(folder, self.recursive)
