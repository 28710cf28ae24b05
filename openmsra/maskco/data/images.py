"""Unlabelled images from a folder, a list or the Conceptual Captions table."""

import logging
from pathlib import Path

from mmengine.logging import print_log

from openmsra.common.annotations import read_text, require_inside
from openmsra.common.files import existing_files
from openmsra.common.images import list_images, read_rgb
from openmsra.engine.data.rows import LongList
from openmsra.errors import MissingFileError
from openmsra.registry import DATASETS


@DATASETS.register_module()
class UnlabelledImages(LongList):
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
            names = [line.partition('\t')[0].strip() for line in read_text(self.ann_file).splitlines() if line.strip()]
            require_inside(root, names, self.ann_file)
            paths = existing_files(root, names)
            if len(paths) < len(names):
                print_log(
                    f'{self.ann_file}: {len(names) - len(paths)} of {len(names)} images are missing and left out.',
                    'current',
                    logging.WARNING,
                )
        else:
            paths = [str(path) for path in list_images(root)]
        if not paths:
            raise MissingFileError(f'{self.ann_file}: none of its images exists below {root}.')
        return [dict(img_path=path) for path in paths]

    def prepare_data(self, idx: int) -> dict | None:
        """The pipeline's output; in a training the loader replaces images that raise here.

        Raises:
            ImageError: an unreadable or too small image.
        """
        row = self.get_data_info(idx)
        return self.pipeline(dict(row, img=read_rgb(row['img_path'], smallest=self.min_side)))
