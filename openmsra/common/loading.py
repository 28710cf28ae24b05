"""The image reader of all papers as the first step of a pipeline."""

import cv2
from mmcv.transforms import LoadImageFromFile as MMCVLoadImageFromFile

from openmsra.common.images import read_bgr
from openmsra.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImageFromFile(MMCVLoadImageFromFile):
    """mmcv's, with :func:`~openmsra.common.images.read_rgb`: half a file is an error instead of half a grey picture.

    ``img`` is BGR (H, W, 3) or, with ``color_type='grayscale'``, (H, W, 1); ordinary files give the pixels that mmcv reads.

    Raises:
        ImageError: see :func:`~openmsra.common.images.read_rgb`.
        ValueError: another ``color_type``.
    """

    def __init__(self, color_type: str = 'color', **kwargs) -> None:
        if color_type not in ('color', 'grayscale'):
            raise ValueError(f"LoadImageFromFile: color_type={color_type!r}; 'color' or 'grayscale'.")
        super().__init__(color_type=color_type, **kwargs)

    def transform(self, results: dict) -> dict:
        image = read_bgr(results['img_path'])
        if self.color_type == 'grayscale':
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]
        results['img'] = image.astype('float32') if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results
