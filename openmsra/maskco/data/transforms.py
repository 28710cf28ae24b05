"""Two augmented views of an image with the regions that correspond."""

from collections.abc import Sequence

import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose

from openmsra.common.boxes import area, intersect
from openmsra.common.images import channels_first
from openmsra.maskco.data.geometry import View, common_region, random_crop, random_negatives, random_regions
from openmsra.registry import TRANSFORMS


@TRANSFORMS.register_module()
class TwoRegionViews(BaseTransform):
    """Query and key view (MoCo v2's augmentation), and where regions of one lie in the other (MaskCo, framework figure).

    Reads ``img`` (H, W, 3). Adds ``views`` (two (S, S, 3) arrays), ``geometry`` (two :class:`View`), ``boxes_original``,
    ``query_boxes``, ``key_boxes`` (R, 4), ``negatives`` (a pair for query and key view of boxes (J, 4) and whether each is
    valid (J,); ``None`` for the query without ``both_views``) and ``figures`` of the pair: ``redraws``, ``overlap`` (share
    of the smaller crop) and, of images with ``gt_boxes``, ``common_object``: whether both crops show half of one object.
    The paper says that a region of the query view is masked and that its place in the key view is the positive; every number
    about overlap, size and negatives is ours.

    Args:
        size: side of the views in pixels.
        crop_scale, crop_ratio: area share and aspect of the random resized crops.
        flip: probability of a horizontal flip, per view.
        photometric: transforms that change values only, drawn separately for each view.
        share_crop: the key view takes the query's crop (flip and photometry stay separate).
        min_overlap, min_common_side: the common part must have this share of the smaller crop and this side in pixels
            of both views; otherwise the key crop is drawn again, ten times, then the query's crop is taken.
        num_regions: disjoint regions per image; repeated where the common part has no room for as many.
        region_scale, region_ratio, min_region_side: area share of the query view, aspect, and least side in pixels.
        num_negatives, negative_iou: other regions of the key view, and their largest overlap with the region.
        both_views: draws other regions of the query view too, for a symmetric loss.

    Raises:
        ValueError: a setting is out of range, an image is smaller than 2 pixels, regions do not fit.
    """

    def __init__(
        self,
        size: int = 224,
        crop_scale: Sequence[float] = (0.2, 1.0),
        crop_ratio: Sequence[float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        photometric: Sequence[dict] = (),
        share_crop: bool = False,
        min_overlap: float = 0.2,
        min_common_side: float = 64,
        num_regions: int = 1,
        region_scale: Sequence[float] = (0.1, 0.3),
        region_ratio: Sequence[float] = (0.5, 2.0),
        min_region_side: float = 32,
        num_negatives: int = 4,
        negative_iou: float = 0.1,
        both_views: bool = False,
    ) -> None:
        for name, (low, high), top in (
            ('crop_scale', crop_scale, 1),
            ('region_scale', region_scale, 1),
            ('crop_ratio', crop_ratio, np.inf),
            ('region_ratio', region_ratio, np.inf),
        ):
            if not 0 < low <= high <= top:
                raise ValueError(f'TwoRegionViews: {name}=({low}, {high}) must rise and lie in (0, {top}].')
        if not 0 < min_region_side <= min_common_side <= size:
            raise ValueError(
                f'TwoRegionViews: a region of at least {min_region_side} pixels must fit into a common part of at least '
                f'{min_common_side} and a view of {size}; lower min_region_side or min_common_side.'
            )
        if region_scale[0] * size * size * num_regions > 0.5 * size * size:
            raise ValueError(
                f'TwoRegionViews: {num_regions} region(s) of at least {region_scale[0]:g} of the view leave too little '
                'context to predict from; lower num_regions or region_scale.'
            )
        self.size, self.crop_scale, self.crop_ratio, self.flip = size, tuple(crop_scale), tuple(crop_ratio), flip
        self.photometric = Compose([TRANSFORMS.build(step) for step in photometric])
        self.share_crop, self.min_overlap, self.min_common_side = share_crop, min_overlap, min_common_side
        self.num_regions, self.num_negatives, self.negative_iou = num_regions, num_negatives, negative_iou
        self.region_scale, self.region_ratio = tuple(region_scale), tuple(region_ratio)
        self.min_region_side, self.both_views = min_region_side, both_views

    def transform(self, results: dict) -> dict:
        image = results['img']
        if min(image.shape[:2]) < 2:
            raise ValueError(f'{results.get("img_path", "image")}: {image.shape[:2]} pixels are too few for a crop.')
        rng = np.random.default_rng(np.random.randint(2**31))  # seeded through numpy's global state, as mmcv's transforms
        query, key, common, redraws = self._draw_views(image.shape[1], image.shape[0], rng)
        boxes = random_regions(
            query, key, common, self.num_regions, self.region_scale, self.region_ratio, self.min_region_side, rng
        )
        query_boxes, key_boxes = (self._inside(view.to_view(boxes), results) for view in (query, key))
        figures = dict(redraws=redraws, overlap=area(common) / min(area(query.box), area(key.box)))
        if 'gt_boxes' in results:
            figures['common_object'] = float((_shows(query, results['gt_boxes']) & _shows(key, results['gt_boxes'])).any())
        results.update(
            views=[self._render(image, view) for view in (query, key)],
            geometry=[query, key],
            boxes_original=boxes,
            query_boxes=query_boxes,
            key_boxes=key_boxes,
            figures=figures,
            negatives=[self._negatives(query_boxes, rng) if self.both_views else None, self._negatives(key_boxes, rng)],
        )
        return results

    def _negatives(self, taken: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return random_negatives(
            taken, self.num_negatives, self.size, self.region_scale, self.region_ratio, self.negative_iou, rng
        )

    def _draw_views(self, width: int, height: int, rng: np.random.Generator) -> tuple[View, View, np.ndarray, int]:
        query = self._draw_view(random_crop(width, height, self.crop_scale, self.crop_ratio, rng), rng)
        for redraws in range(0 if self.share_crop else 11):
            key = self._draw_view(random_crop(width, height, self.crop_scale, self.crop_ratio, rng), rng)
            common = common_region(query, key, self.min_overlap, self.min_common_side)
            if common is not None:
                return query, key, common, redraws
        return query, self._draw_view(query.crop, rng), query.box, 0 if self.share_crop else 11

    def _draw_view(self, crop: tuple[int, int, int, int], rng: np.random.Generator) -> View:
        return View(crop, bool(rng.uniform() < self.flip), self.size)

    def _inside(self, boxes: np.ndarray, results: dict) -> np.ndarray:
        if boxes.min() < -1e-6 * self.size or boxes.max() > self.size * (1 + 1e-6):
            raise ValueError(f'{results.get("img_path", "image")}: the region {boxes.tolist()} is outside a view.')
        return np.clip(boxes, 0, self.size)

    def _render(self, image: np.ndarray, view: View) -> np.ndarray:
        x, y, w, h = view.crop
        pixels = mmcv.imresize(image[y : y + h, x : x + w], (self.size, self.size), backend='pillow')
        pixels = pixels[:, ::-1] if view.flip else pixels
        return self.photometric(dict(img=np.ascontiguousarray(pixels)))['img']


@TRANSFORMS.register_module()
class PackRegionViews(BaseTransform):
    """The two views and their regions as tensors, for :class:`MaskCo`."""

    def transform(self, results: dict) -> dict:
        regions = dict(query=_boxes(results['query_boxes']), key=_boxes(results['key_boxes']))
        for names, drawn in zip((('query_negatives', 'query_valid'), ('negatives', 'valid')), results['negatives'], strict=True):
            if drawn is not None:
                regions |= zip(names, (_boxes(drawn[0]), torch.from_numpy(drawn[1])), strict=True)
        regions |= {name: torch.tensor(float(value)) for name, value in results['figures'].items()}
        return dict(inputs=[_tensor(view) for view in results['views']], regions=regions)


@TRANSFORMS.register_module()
class PackProbe(BaseTransform):
    """An image with its labels for the probes.

    Reads ``img``, ``bank`` (whether the image belongs to the part that a probe is fitted on) and ``gt_label``,
    ``gt_boxes`` (R, 4) with ``gt_box_labels`` (R,), or ``cell_labels`` (rows, columns); ``class_list``, a number for the list
    of all classes, is optional.
    """

    def transform(self, results: dict) -> dict:
        targets = dict(bank=torch.tensor(bool(results['bank'])))
        if 'class_list' in results:
            targets['class_list'] = torch.tensor(results['class_list'])
        if 'gt_label' in results:
            targets['label'] = torch.tensor(int(results['gt_label']))
        if 'gt_boxes' in results:
            targets['boxes'] = torch.as_tensor(results['gt_boxes']).float()
            targets['box_labels'] = torch.as_tensor(results['gt_box_labels']).long()
        if 'cell_labels' in results:
            targets['cell_labels'] = torch.as_tensor(results['cell_labels']).long()
        return dict(inputs=_tensor(results['img']), regions=targets)


def _tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(channels_first(image))


def _boxes(boxes: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(boxes).float()


def _shows(view: View, objects: np.ndarray) -> np.ndarray:
    """Whether at least half of each object (N, 4) is in the crop (N,)."""
    return area(intersect(view.box, objects)) >= 0.5 * area(objects)
