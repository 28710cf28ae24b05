"""Images or folders in, drawn images and COCO results out."""

import json
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.datasets import CocoDataset
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope
from pycocotools import mask as rle

from openmsra.common.coco import read_coco
from openmsra.common.images import colour_pixels, named_images, read_bgr
from openmsra.engine.inferencer import Inferencer
from openmsra.errors import DataError
from openmsra.registry import DATASETS, INFERENCERS
from openmsra.soft_teacher.drawing import draw_box

Image = str | Path | np.ndarray
UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # of the numbers 1 to 90 of COCO's categories
COCO_IDS = [number for number in range(1, 91) if number not in UNUSED]


@INFERENCERS.register_module()
class SoftTeacherInferencer(Inferencer):
    """Detects with the network that ``semi_test_cfg.predict_on`` names: ``detect(images, score_thr=0.3, out_dir=...)``.

    ``images`` are a file, a folder (its images and those of its sub-folders, sorted), a pattern, an array (H, W, 3), uint8 in
    BGR, or a list of these. The rows are ``dict(image=path or index, height, width, boxes (n, 4) in pixels of the image, scores
    (n,), labels (n,), names)``, with masks also ``masks``, n run-length codes of COCO. ``score_thr`` concerns the drawings;
    rows hold all. The other arguments are those of :class:`~openmsra.engine.inferencer.Inferencer`.

    With ``out_dir`` there are also ``results.json``, a list of COCO results, and ``images.json``, the COCO file of the images and
    categories that they speak of: ``COCO('images.json').loadRes('results.json')``. Their numbers are those of ``ann_file`` or,
    without one, 1, 2, 3 ... for images, and for categories those of the validation data of the config or of COCO itself where the
    class names are COCO's.

    Args:
        config: of the training.
        checkpoint: its weights, or those of an exported plain detector.
        device: where the network runs.
        classes: names; by default those of the validation data of the config.
        ann_file: COCO file with the images, for results that are to be evaluated with it.
        cfg_options: overrides with dotted keys.

    Raises:
        CheckpointError: no checkpoint, or it does not fit the config.
        AnnotationError: ``ann_file`` is no COCO file.
        DataError: ``ann_file`` lacks a class.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path,
        device: str | torch.device = 'cpu',
        classes: tuple[str, ...] | None = None,
        ann_file: str | Path | None = None,
        cfg_options: dict | None = None,
    ) -> None:
        super().__init__(config, checkpoint, device, cfg_options)
        dataset = self.model.cfg.val_dataloader.dataset  # one view; a test may make several
        stated = dataset.get('metainfo', {}).get('classes') or DATASETS.get(dataset.type).METAINFO['classes']
        self.classes = tuple(classes or stated)
        steps = [step for step in dataset.pipeline if step.type not in ('LoadCheckedImage', 'mmdet.LoadAnnotations')]
        with DefaultScope.overwrite_default_scope('openmsra'):
            self.pipeline = Compose([dict(type='mmdet.LoadImageFromNDArray'), *steps])
        self.images = read_coco(ann_file)['images'] if ann_file is not None else None
        self.categories = self._categories(ann_file, Path(dataset.get('data_root', '')) / dataset.get('ann_file', ''))

    def list_inputs(self, inputs: Image | list[Image]) -> list[tuple[str | int, Path | np.ndarray]]:
        """(name, image) of every image that is meant.

        Raises:
            DataError: an image is not in ``ann_file``.
        """
        named = named_images(inputs)
        if self.images is not None:
            for name, _ in named:
                self._stated_image(name)
        return named

    def preprocess(self, item: Path | np.ndarray) -> dict:
        """The image through the pipeline of a validation."""
        return self.pipeline(dict(img=bgr_pixels(item), img_id=0))

    def forward(self, batch: list[dict]) -> list:
        """Data samples with ``pred_instances`` in pixels of the images."""
        return self.model.test_step({key: [row[key] for row in batch] for key in ('inputs', 'data_samples')})

    def postprocess(self, prediction: DetDataSample) -> dict:
        """See :func:`plain_row`."""
        return plain_row(prediction, self.classes)

    def draw(self, item: Path | np.ndarray, row: dict, *, score_thr: float = 0.3) -> np.ndarray:
        """The image with boxes, names, scores and masks of a result."""
        return draw(bgr_pixels(item).copy(), row, score_thr)[..., ::-1]

    def __call__(self, inputs: Image | list[Image], *args, out_dir: str | Path | None = None, **kwargs) -> list[dict]:
        """See :class:`~openmsra.engine.inferencer.Inferencer`."""
        rows = super().__call__(inputs, *args, out_dir=out_dir, **kwargs)
        if out_dir is not None:
            images, results = self.coco_results(rows)
            (Path(out_dir) / 'images.json').write_text(json.dumps(images), encoding='utf-8')
            (Path(out_dir) / 'results.json').write_text(json.dumps(results), encoding='utf-8')
        return rows

    def coco_results(self, rows: list[dict]) -> tuple[dict, list[dict]]:
        """A COCO file of the images and categories, and the list of COCO results that refers to it."""
        images, results = [], []
        for number, row in enumerate(rows, start=1):
            if 'error' in row:
                continue
            stated = self._stated_image(row['image']) if self.images is not None else dict(id=number, file_name=str(row['image']))
            images.append(dict(stated, height=row['height'], width=row['width']))
            for index, (x1, y1, x2, y2) in enumerate(row['boxes'].tolist()):
                result = dict(
                    image_id=stated['id'],
                    category_id=self.categories[row['labels'][index]]['id'],
                    bbox=[x1, y1, x2 - x1, y2 - y1],
                    score=float(row['scores'][index]),
                )
                results.append(result | (dict(segmentation=row['masks'][index]) if 'masks' in row else {}))
        return dict(images=images, categories=self.categories, annotations=[]), results

    def _categories(self, ann_file: str | Path | None, val_file: Path) -> list[dict]:
        """The category of each label."""
        if ann_file is None and val_file.is_file():
            ann_file = val_file
        if ann_file is not None:
            ids = {row['name']: row['id'] for row in read_coco(ann_file).get('categories', [])}
            if missing := [name for name in self.classes if name not in ids]:
                raise DataError(f'{ann_file}: no category is called {", ".join(map(repr, missing[:5]))}.')
            return [dict(id=ids[name], name=name) for name in self.classes]
        numbers = COCO_IDS if self.classes == CocoDataset.METAINFO['classes'] else range(1, len(self.classes) + 1)
        return [dict(id=number, name=name) for number, name in zip(numbers, self.classes, strict=True)]

    def _stated_image(self, name: str | int) -> dict:
        """The entry of ``ann_file`` whose file name is the end of this one."""
        parts = Path(str(name)).parts
        for image in self.images:
            stated = Path(image['file_name']).parts
            if parts[-len(stated) :] == stated:
                return image
        raise DataError(f'{name}: the ann_file has no image of this name.')


def plain_row(prediction: DetDataSample, classes: tuple[str, ...]) -> dict:
    """Size of the image, boxes, scores, labels and names as arrays and lists; masks as run-length codes of COCO."""
    instances = prediction.pred_instances.cpu().numpy()
    height, width = prediction.ori_shape
    row = dict(height=height, width=width, boxes=instances.bboxes, scores=instances.scores, labels=instances.labels)
    row['names'] = [classes[label] for label in instances.labels]
    if 'masks' in instances:
        codes = [rle.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in instances.masks]
        row['masks'] = [dict(code, counts=code['counts'].decode()) for code in codes]
    return row


def draw(image: np.ndarray, row: dict, score_thr: float) -> np.ndarray:
    """``image`` (H, W, 3) BGR with boxes, names, scores and masks of a result, in place."""
    rng = np.random.default_rng(7)
    colours = rng.integers(64, 255, (1 + max(row['labels'].tolist(), default=0), 3)).tolist()
    for i in sorted(np.flatnonzero(row['scores'] >= score_thr), key=lambda i: row['scores'][i]):  # the surest on top
        colour = colours[row['labels'][i]]
        if 'masks' in row:
            inside = rle.decode(row['masks'][i]).astype(bool)
            image[inside] = image[inside] // 2 + np.array(colour, np.uint8) // 2
        draw_box(image, row['boxes'][i].round().astype(int).tolist(), colour, f'{row["names"][i]} {row["scores"][i]:.2f}')
    return image


def bgr_pixels(item: Path | np.ndarray) -> np.ndarray:
    """Pixels (H, W, 3) of a file or array."""
    return colour_pixels(item) if isinstance(item, np.ndarray) else read_bgr(item)
