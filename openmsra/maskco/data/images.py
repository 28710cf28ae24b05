"""Unlabelled images from a folder, a list or the Conceptual Captions table."""

import logging
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from PIL import Image, ImageOps, UnidentifiedImageError

from openmsra.common.annotations import inside, read_text
from openmsra.errors import MissingFileError
from openmsra.registry import DATASETS

SUFFIXES = {'.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff'}


@DATASETS.register_module()
class UnlabelledImages(BaseDataset):
    """Images without labels, RGB, in the orientation that their EXIF entry asks for.

    Args:
        data_root: folder that is searched with its sub-folders, or that the names of ``ann_file`` are relative to.
        ann_file: text file with one image per line; of a tab-separated line the first field is the name. Images
            that are missing (dead links) are left out, counted and reported.
        min_side: smaller images count as broken when they are read, in pixels.

    Raises:
        FileNotFoundError: the folder or list is missing, or holds no image that exists.
    """

    def __init__(self, data_root: str, pipeline: list, ann_file: str = '', min_side: int = 2, **kwargs) -> None:
        self.min_side = min_side
        super().__init__(data_root=data_root, ann_file=ann_file, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        if not root.is_dir():
            raise MissingFileError(f'{root}: there is no such folder of images.')
        if self.ann_file:
            names = [line.split('\t')[0].strip() for line in read_text(self.ann_file).splitlines() if line.strip()]
            wanted = [inside(root, name, self.ann_file) for name in names]
            found = [path for path in wanted if path.is_file()]
            if len(found) < len(wanted):
                print_log(
                    f'{self.ann_file}: {len(wanted) - len(found)} of {len(wanted)} images are missing and left out.',
                    'current',
                    logging.WARNING,
                )
        else:
            found = sorted(path for path in root.rglob('*') if path.suffix.lower() in SUFFIXES)
        if not found:
            raise MissingFileError(f'{self.ann_file or root}: no images ({", ".join(sorted(SUFFIXES))}).')
        return [dict(img_path=str(path)) for path in found]

    def prepare_data(self, idx: int) -> dict | None:
        """The pipeline's output; in a training the loader replaces images that raise here.

        Raises:
            ValueError: an unreadable or too small image.
        """
        row = self.get_data_info(idx)
        pixels = read_rgb(row['img_path'])
        if min(pixels.shape[:2]) < self.min_side:
            size = f'{pixels.shape[1]}x{pixels.shape[0]}'
            raise ValueError(f'{row["img_path"]}: {size} pixels, at least {self.min_side} are asked for')
        return self.pipeline(dict(row, img=pixels))


def read_rgb(path: str | Path) -> np.ndarray:
    """Pixels (H, W, 3), 8 bit, in the orientation that the EXIF entry asks for.

    Raises:
        ValueError: not an image, or damaged.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f'{path}: not an image, or damaged ({error}).') from None
