"""Reading images, and the official augmentations of Soft Teacher with their exact ranges; each geometric one records its matrix.

Where a transform draws a "level", it is an integer in 1..9 as in the official code, unless said otherwise.
"""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmdet.structures.bbox import HorizontalBoxes, autocast_box_type
from mmdet.structures.mask import BitmapMasks
from PIL import Image, ImageEnhance, ImageOps

from openmsra.common.images import read_annotated
from openmsra.common.loading import LoadImageFromFile
from openmsra.registry import TRANSFORMS

LEVELS = 10
COLOUR_OPS = {
    'identity': lambda image, level: image,
    'autocontrast': lambda image, level: ImageOps.autocontrast(image),
    'equalize': lambda image, level: ImageOps.equalize(image),
    'solarize': lambda image, level: ImageOps.solarize(image, min(256 * level // LEVELS, 255)),
    'color': lambda image, level: ImageEnhance.Color(image).enhance(_factor(level)),
    'contrast': lambda image, level: ImageEnhance.Contrast(image).enhance(_factor(level)),
    'brightness': lambda image, level: ImageEnhance.Brightness(image).enhance(_factor(level)),
    'sharpness': lambda image, level: ImageEnhance.Sharpness(image).enhance(_factor(level)),
    'posterize': lambda image, level: ImageOps.posterize(image, 4 - 4 * level // LEVELS),
}
GEOMETRIC_OPS = ('translate_x', 'translate_y', 'rotate', 'shear')


def _factor(level: int) -> float:
    return 0.1 + 1.8 * level / LEVELS


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImageFromFile):
    """The image reader of all papers, and boxes that fit their pixels.

    Images are upright, as their EXIF entry says. Where the annotation file states the size of the stored pixels instead, its
    boxes were drawn on these, and the image is left as it is stored.

    Raises:
        ImageError: the file is damaged, cut off or no image.
        AnnotationError: the annotation file states another size.
    """

    def transform(self, results: dict) -> dict:
        """Read ``img_path`` to ``img`` (H, W, 3), uint8 BGR."""
        stated = results.get('width'), results.get('height')
        image = cv2.cvtColor(read_annotated(results['img_path'], None if None in stated else stated), cv2.COLOR_RGB2BGR)
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results


@TRANSFORMS.register_module()
class OneColourOp(BaseTransform):
    """One of nine operations on colours, each with the same probability: enhancing factors of 0.28 to 1.72, solarising from 25 to
    230 on, posterising to 4 to 1 bits.

    Args:
        ops: names out of ``COLOUR_OPS``.
    """

    def __init__(self, ops: tuple[str, ...] = tuple(COLOUR_OPS)) -> None:
        if unknown := set(ops) - set(COLOUR_OPS):
            raise ValueError(f'OneColourOp: unknown {sorted(unknown)}; valid are {", ".join(COLOUR_OPS)}.')
        self.ops = tuple(ops)

    @cache_randomness
    def _draw(self) -> tuple[str, int]:
        return self.ops[np.random.randint(len(self.ops))], int(np.random.randint(1, LEVELS))

    def transform(self, results: dict) -> dict:
        """Change ``img`` (H, W, 3), uint8 BGR."""
        name, level = self._draw()
        image = Image.fromarray(cv2.cvtColor(results['img'], cv2.COLOR_BGR2RGB))
        results['img'] = cv2.cvtColor(np.asarray(COLOUR_OPS[name](image, level)), cv2.COLOR_RGB2BGR)
        return results


@TRANSFORMS.register_module()
class OneGeometricOp(BaseTransform):
    """One of: shift in x or y, rotation about the centre, shear in x and y; each with the same probability.

    Boxes are projected and clipped, masks are warped; uncovered pixels are filled. ``homography_matrix`` is updated.

    Args:
        ops: names out of ``GEOMETRIC_OPS``.
        translate: largest shift as a share of the side.
        rotate, shear: largest angle in degrees; the coefficient of the shear is tanh of the angle in radians (official code).
        fill: grey value of uncovered pixels.
    """

    def __init__(
        self,
        ops: tuple[str, ...] = GEOMETRIC_OPS,
        translate: float = 0.1,
        rotate: float = 30.0,
        shear: float = 30.0,
        fill: int = 125,
    ) -> None:
        if unknown := set(ops) - set(GEOMETRIC_OPS):
            raise ValueError(f'OneGeometricOp: unknown {sorted(unknown)}; valid are {", ".join(GEOMETRIC_OPS)}.')
        self.ops, self.translate, self.rotate, self.shear, self.fill = tuple(ops), translate, rotate, shear, fill

    @cache_randomness
    def _draw(self) -> tuple[str, float, float]:
        return self.ops[np.random.randint(len(self.ops))], *np.random.uniform(-1, 1, 2)

    def matrix(self, op: str, first: float, second: float, height: int, width: int) -> np.ndarray:
        """(3, 3) of an operation; ``first`` and ``second`` in [-1, 1] are its draws."""
        matrix = np.eye(3)
        if op == 'translate_x':
            matrix[0, 2] = first * self.translate * width
        elif op == 'translate_y':
            matrix[1, 2] = first * self.translate * height
        elif op == 'rotate':
            matrix[:2] = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -first * self.rotate, 1)
        else:
            shears = [np.tanh(np.deg2rad(draw * self.shear)) for draw in (first, second)]
            matrix = np.array([[1, shears[0], 0], [0, 1, 0], [0, 0, 1]]) @ [[1, 0, 0], [shears[1], 1, 0], [0, 0, 1]]
        return matrix

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        """Warp ``img``, ``gt_bboxes`` and ``gt_masks`` and record the matrix."""
        height, width = results['img'].shape[:2]
        matrix = self.matrix(*self._draw(), height, width)
        results['img'] = _warp(results['img'], matrix, (self.fill,) * 3)
        if 'gt_bboxes' in results:
            results['gt_bboxes'].project_(matrix)
            results['gt_bboxes'].clip_((height, width))
        if results.get('gt_masks') is not None:
            maps = [_warp(mask, matrix, 0) for mask in results['gt_masks'].to_ndarray()]
            results['gt_masks'] = BitmapMasks(np.stack(maps) if maps else np.zeros((0, height, width), np.uint8), height, width)
        record_matrix(results, matrix)
        return results


def _warp(image: np.ndarray, matrix: np.ndarray, fill: int | tuple[int, ...]) -> np.ndarray:
    interpolation = cv2.INTER_LINEAR if image.ndim == 3 else cv2.INTER_NEAREST
    return cv2.warpAffine(image, matrix[:2], image.shape[1::-1], flags=interpolation, borderValue=fill)


def record_matrix(results: dict, matrix: np.ndarray) -> None:
    """The newest matrix stands on the left of the product."""
    results['homography_matrix'] = (matrix @ results.get('homography_matrix', np.eye(3))).astype(np.float32)


@TRANSFORMS.register_module()
class EraseSquares(BaseTransform):
    """Grey patches of the aspect of the image; boxes are not touched (official code).

    Args:
        patches: least and most patches.
        ratio: least and largest share of the sides.
        fill: grey value.
    """

    def __init__(self, patches: tuple[int, int] = (1, 4), ratio: tuple[float, float] = (0.0, 0.2), fill: int = 125) -> None:
        self.patches, self.ratio, self.fill = patches, ratio, fill

    @cache_randomness
    def _draw(self) -> np.ndarray:
        """(patches, 3): share of the sides, place in x and y."""
        count = np.random.randint(self.patches[0], self.patches[1] + 1)
        return np.random.uniform([self.ratio[0], 0, 0], [self.ratio[1], 1, 1], (count, 3))

    def transform(self, results: dict) -> dict:
        """Erase in ``img``."""
        image = results['img'] = results['img'].copy()
        height, width = image.shape[:2]
        for share, x, y in self._draw():
            h, w = int(height * share), int(width * share)
            top, left = int(y * (height - h)), int(x * (width - w))
            image[top : top + h, left : left + w] = self.fill
        return results


@TRANSFORMS.register_module()
class EmptyAnnotations(BaseTransform):
    """No boxes, no labels, no masks: whatever the file of an unlabelled image holds does not reach the network.

    Args:
        with_mask: for detectors with masks.
    """

    def __init__(self, with_mask: bool = False) -> None:
        self.with_mask = with_mask

    def transform(self, results: dict) -> dict:
        """Set empty ``gt_*``."""
        results.update(
            gt_bboxes=HorizontalBoxes(np.zeros((0, 4), np.float32)),
            gt_bboxes_labels=np.zeros(0, np.int64),
            gt_ignore_flags=np.zeros(0, bool),
        )
        if self.with_mask:
            height, width = results['img'].shape[:2]
            results['gt_masks'] = BitmapMasks(np.zeros((0, height, width), np.uint8), height, width)
        return results
