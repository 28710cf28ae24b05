"""Where in an image the quality is low: the head on every position of the comparator's features."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from openmsra.ckdn.data.transforms import INTERPOLATION, LoadPair, resize_short_side, to_tensor
from openmsra.ckdn.model import CKDN

SHORT_SIDE = 329  # pixels, the scale of the training


@torch.inference_mode()
def quality_map(model: CKDN, restored: str | Path, degraded: str | Path, ref_interp: str = 'nearest') -> np.ndarray:
    """Local scores (h, w) in (0, 1) of the whole restored image, one for each 8 x 8 pixels at the scale of the training.

    The head was trained on means over all positions, so a local score is only good for comparing places of one image; the
    mean of the map is not the score.

    Raises:
        ImageError: an image cannot be scored.
    """
    images = LoadPair()(dict(restored_path=str(restored), degraded_path=str(degraded)))
    sides = (
        resize_short_side(images['restored'], SHORT_SIDE, 'bicubic'),
        resize_short_side(images['degraded'], SHORT_SIDE, ref_interp),
    )
    width, height = (min(side.size[axis] for side in sides) for axis in (0, 1))  # long sides may differ by a pixel
    device = model.data_preprocessor.mean.device
    batch = (model.data_preprocessor.stack(to_tensor(side)[None, :, :height, :width].to(device)) for side in sides)
    return model.local_logits(*batch)[0].sigmoid().cpu().numpy()


def overlay(image: Image.Image, scores: np.ndarray) -> Image.Image:
    """The grey image tinted by local scores (h, w): red where they are lowest in this image, green where highest."""
    from matplotlib import colormaps

    low, high = scores.min(), scores.max()
    shares = (scores - low) / max(high - low, 1e-12)
    tint = Image.fromarray((255 * colormaps['RdYlGn'](shares)[..., :3]).astype(np.uint8))
    return Image.blend(image.convert('L').convert('RGB'), tint.resize(image.size, INTERPOLATION['bicubic']), 0.45)
