"""Images or folders in, drawn images and COCO results out."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DefaultScope

from openmsra.common.images import list_images, read_rgb
from openmsra.engine.model import init_model
from openmsra.errors import CheckpointError
from openmsra.registry import INFERENCERS

Source = str | Path | np.ndarray


@INFERENCERS.register_module()
class SoftTeacherInferencer:
    """Detects with the teacher (or the network that ``semi_test_cfg.predict_on`` names).

    Args:
        config: of the training.
        checkpoint: its weights, or those of an exported plain detector.
        device: where the network runs.
        classes: names; by default those of the validation data set of the config.

    Raises:
        CheckpointError: no checkpoint, or it does not fit the config.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path,
        device: str | torch.device = 'cpu',
        classes: tuple[str, ...] | None = None,
    ) -> None:
        if not checkpoint:
            raise CheckpointError('SoftTeacherInferencer: give a checkpoint; random weights detect nothing.')
        self.model = init_model(config, checkpoint, device)
        dataset = self.model.cfg.test_dataloader.dataset
        self.classes = classes or dataset.get('metainfo', {}).get('classes') or _classes_of(dataset.type)
        steps = [step for step in dataset.pipeline if step.type not in ('LoadImageFromFile', 'mmdet.LoadAnnotations')]
        with DefaultScope.overwrite_default_scope('openmsra'):
            self.pipeline = Compose([dict(type='mmdet.LoadImageFromNDArray'), *steps])

    @torch.inference_mode()
    def __call__(
        self, images: Source | list[Source], score_thr: float = 0.3, out_dir: str | Path | None = None, batch_size: int = 1
    ) -> list[dict]:
        """Detect.

        Args:
            images: a file, a folder (its images, also in sub-folders, sorted), a BGR array (H, W, 3), or a list of these.
            score_thr: boxes below it are not drawn; results hold all.
            out_dir: where to write drawn images and ``results.json``; ``None`` writes nothing.
            batch_size: images in a forward pass.

        Returns:
            for each image ``dict(image, boxes (n, 4) in its pixels, scores (n,), labels (n,), names)``, arrays; with masks
            also ``masks`` (n, H, W) bool.

        Raises:
            MissingFileError: no such file, or a folder without images.
            ImageError: a file that does not decode.
        """
        rows, batch = [], []
        sources = list(_listed(images))
        for number, (name, pixels) in enumerate(sources):
            batch.append((name, pixels))
            if len(batch) == batch_size or number + 1 == len(sources):
                rows += self._detect(batch)
                batch = []
        if out_dir is not None:
            self._write(rows, sources, Path(out_dir), score_thr)
        return rows

    def _detect(self, batch: list[tuple[str, np.ndarray]]) -> list[dict]:
        packed = [self.pipeline(dict(img=_pixels(name, image), img_id=name)) for name, image in batch]
        samples = self.model.test_step(
            dict(inputs=[row['inputs'] for row in packed], data_samples=[row['data_samples'] for row in packed])
        )
        return [self._row(name, sample.pred_instances.cpu().numpy()) for (name, _), sample in zip(batch, samples, strict=True)]

    def _row(self, name: str, found) -> dict:
        row = dict(
            image=name,
            boxes=found.bboxes,
            scores=found.scores,
            labels=found.labels,
            names=[self.classes[label] for label in found.labels],
        )
        return row | (dict(masks=found.masks.astype(bool)) if 'masks' in found else {})

    def _write(self, rows: list[dict], sources: list, folder: Path, score_thr: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for number, (row, (name, image)) in enumerate(zip(rows, sources, strict=True)):
            cv2.imwrite(str(folder / f'{number:05d}_{Path(name).stem}.png'), draw(_pixels(name, image).copy(), row, score_thr))
        (folder / 'results.json').write_text(json.dumps(coco_results(rows)), encoding='utf-8')


def coco_results(rows: list[dict]) -> dict:
    """``images`` with ids and file names, ``annotations`` in the format of COCO results (boxes as x, y, width, height)."""
    annotations = []
    for number, row in enumerate(rows):
        for box, score, label, name in zip(row['boxes'].tolist(), row['scores'].tolist(), row['labels'].tolist(), row['names']):
            size = [box[2] - box[0], box[3] - box[1]]
            annotations.append(dict(image_id=number, category_id=label + 1, category=name, bbox=[*box[:2], *size], score=score))
    return dict(images=[dict(id=number, file_name=row['image']) for number, row in enumerate(rows)], annotations=annotations)


def draw(image: np.ndarray, row: dict, score_thr: float) -> np.ndarray:
    """``image`` (H, W, 3) BGR with boxes, names, scores and masks of a result, in place."""
    rng = np.random.default_rng(7)
    colours = rng.integers(64, 255, (1 + max(row['labels'].tolist(), default=0), 3)).tolist()
    for i in np.flatnonzero(row['scores'] >= score_thr):
        colour = colours[row['labels'][i]]
        if 'masks' in row:
            inside = row['masks'][i]
            image[inside] = image[inside] // 2 + np.array(colour, np.uint8) // 2
        x1, y1, x2, y2 = row['boxes'][i].round().astype(int).tolist()
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, 2)
        text = f'{row["names"][i]} {row["scores"][i]:.2f}'
        cv2.putText(image, text, (x1 + 2, max(y1 - 4, 12)), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    return image


def _classes_of(dataset: str) -> tuple[str, ...]:
    from openmsra.registry import DATASETS

    return DATASETS.get(dataset).METAINFO['classes']


def _listed(images: Source | list[Source]) -> Iterator[tuple[str, np.ndarray | None]]:
    """Name and, for arrays, pixels of each image; files are read when their turn comes."""
    for number, image in enumerate(images if isinstance(images, list) else [images]):
        if isinstance(image, np.ndarray):
            yield f'array{number}', image
        else:
            yield from ((str(path), None) for path in list_images(image))


def _pixels(name: str, image: np.ndarray | None) -> np.ndarray:
    return cv2.cvtColor(read_rgb(name), cv2.COLOR_RGB2BGR) if image is None else image
