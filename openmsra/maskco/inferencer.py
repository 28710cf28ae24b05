"""Images in, embeddings of images or of regions out."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from openmsra.common.images import list_images, read_rgb
from openmsra.engine.model import init_model
from openmsra.errors import CheckpointError
from openmsra.registry import INFERENCERS

Image = str | Path | np.ndarray


@INFERENCERS.register_module()
class MaskCoInferencer:
    """Embeddings from the frozen query backbone.

    Args:
        config: of the pre-training.
        checkpoint: its weights.
        device: where the network runs.
        size: images are resized to this side, in pixels.

    Raises:
        CheckpointError: no checkpoint, or it does not fit the config.
    """

    def __init__(
        self, config: str | Path | Config, checkpoint: str | Path, device: str | torch.device = 'cpu', size: int = 224
    ) -> None:
        if not checkpoint:
            raise CheckpointError('MaskCoInferencer: give a checkpoint; embeddings of random weights mean nothing.')
        self.model, self.size = init_model(config, checkpoint, device), size

    @torch.inference_mode()
    def __call__(self, images: Image | list[Image], boxes: list[np.ndarray] | None = None, batch_size: int = 32) -> list[dict]:
        """Embed.

        Args:
            images: a file, a folder (its images, sorted), an RGB array (H, W, 3), or a list of these.
            boxes: per image (R, 4) in its pixels, any R; then the regions are embedded too.
            batch_size: images in a forward pass.

        Returns:
            for each image ``dict(image=path or index, feature=(C,))`` and with boxes ``region_features=(R, C)``,
            arrays of unit length along C.

        Raises:
            FileNotFoundError: no such file, or a folder without images.
            ValueError: a file that does not decode, or another number of box arrays than images.
        """
        found = listed(images)
        if boxes is not None and len(boxes) != len(found):
            raise ValueError(f'MaskCoInferencer: {len(boxes)} arrays of boxes for {len(found)} images.')
        rows = []
        for start in range(0, len(found), batch_size):
            chunk = found[start : start + batch_size]
            pixels = [read_rgb(image) if isinstance(image, Path) else image for _, image in chunk]
            maps = self._maps(pixels)
            vectors = torch.nn.functional.normalize(maps.mean((2, 3)), dim=-1).cpu().numpy()
            rows += [dict(image=name, feature=vector) for (name, _), vector in zip(chunk, vectors, strict=True)]
            for i in range(len(chunk)) if boxes is not None else ():
                rows[start + i]['region_features'] = self._regions(maps[i : i + 1], boxes[start + i], pixels[i].shape)
        return rows

    def _maps(self, pixels: list[np.ndarray]) -> torch.Tensor:
        import mmcv

        resized = np.stack([mmcv.imresize(image, (self.size, self.size), backend='pillow') for image in pixels])
        data = dict(inputs=torch.from_numpy(resized).permute(0, 3, 1, 2))
        return self.model(self.model.data_preprocessor(data)['inputs'])[-1]

    def _regions(self, features: torch.Tensor, boxes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        scale = self.size / np.array([shape[1], shape[0], shape[1], shape[0]])
        scaled = torch.as_tensor(np.asarray(boxes, float).reshape(-1, 4) * scale, dtype=torch.float, device=features.device)
        pooled = self.model.pool(features, scaled[None], self.size)[0]
        return torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()


def listed(images: Image | list[Image]) -> list[tuple[str | int, Path | np.ndarray]]:
    """(name, image) of every image that is meant."""
    found: list[tuple[str | int, Path | np.ndarray]] = []
    for image in images if isinstance(images, (list, tuple)) else [images]:
        if isinstance(image, np.ndarray):
            found.append((len(found), image))
            continue
        found += [(str(file), file) for file in list_images(image)]
    return found
