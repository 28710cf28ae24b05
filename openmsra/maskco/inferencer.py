"""Images in, embeddings of images or of regions out."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from openmsra.common.images import colour_pixels, named_images, read_rgb
from openmsra.engine.inferencer import Inferencer
from openmsra.errors import DataError
from openmsra.registry import INFERENCERS

Image = str | Path | np.ndarray


@INFERENCERS.register_module()
class MaskCoInferencer(Inferencer):
    """Embeddings from the frozen query backbone: ``embed(images, boxes=None, batch_size=32, out_dir=None, ...)``.

    ``images`` are a file, a folder (its images and those of its sub-folders, sorted), a pattern, an RGB array (H, W, 3) of
    uint8, or a list of these. ``boxes`` holds for each image (R, 4) in its pixels, any R; then the regions are embedded too.
    The rows are ``dict(image=path or index, feature=(C,))`` and with boxes ``region_features=(R, C)``, arrays of unit length
    along C. The other arguments are those of :class:`~openmsra.engine.inferencer.Inferencer`.

    Args:
        config: of the pre-training.
        checkpoint: its weights.
        device: where the network runs.
        size: images are resized to this side, in pixels.

    Raises:
        CheckpointError: no checkpoint, or it does not fit the config.
    """

    batch_size = 32

    def __init__(
        self, config: str | Path | Config, checkpoint: str | Path, device: str | torch.device = 'cpu', size: int = 224
    ) -> None:
        super().__init__(config, checkpoint, device)
        self.size = size

    def list_inputs(self, inputs: Image | list[Image], *, boxes: list[np.ndarray] | None = None) -> list[tuple]:
        """(name, (image, its boxes)).

        Raises:
            ValueError: another number of box arrays than images.
        """
        named = named_images(inputs)
        if boxes is None:
            boxes = [None] * len(named)
        if len(boxes) != len(named):
            raise ValueError(f'MaskCoInferencer: {len(boxes)} arrays of boxes for {len(named)} images.')
        return [(name, (image, own_boxes)) for (name, image), own_boxes in zip(named, boxes, strict=True)]

    def preprocess(self, item: tuple) -> tuple[Tensor, Tensor | None]:
        """The resized image (3, S, S) and its boxes (R, 4) there."""
        import mmcv

        image, boxes = item
        pixels = read_rgb(image) if isinstance(image, Path) else colour_pixels(image)
        resized = mmcv.imresize(pixels, (self.size, self.size), backend='pillow')
        if boxes is not None:
            scale = self.size / np.array([pixels.shape[1], pixels.shape[0]] * 2)
            boxes = torch.as_tensor(np.asarray(boxes, float).reshape(-1, 4) * scale, dtype=torch.float)
            if not boxes.isfinite().all():
                raise DataError('a box is not of four finite numbers.')
        return torch.from_numpy(resized).permute(2, 0, 1), boxes

    def forward(self, batch: list[tuple[Tensor, Tensor | None]]) -> list[dict[str, Tensor]]:
        """Unit vectors ``feature`` (C,) and, of images with boxes, ``region_features`` (R, C)."""
        inputs = self.model.data_preprocessor(dict(inputs=torch.stack([image for image, _ in batch])))['inputs']
        maps = self.model(inputs)[-1]
        predictions = [dict(feature=vector) for vector in torch.nn.functional.normalize(maps.mean((2, 3)), dim=-1)]
        for number, (_, boxes) in enumerate(batch):
            if boxes is not None:
                pooled = self.model.pool(maps[number : number + 1], boxes[None].to(maps.device), self.size)[0]
                predictions[number]['region_features'] = torch.nn.functional.normalize(pooled, dim=-1)
        return predictions

    def postprocess(self, prediction: dict[str, Tensor]) -> dict[str, np.ndarray]:
        """The vectors as arrays."""
        return {name: vectors.cpu().numpy() for name, vectors in prediction.items()}
