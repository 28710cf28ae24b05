"""Images in, the most probable classes out."""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmpretrain.datasets import remove_transform

from openmsra.autoformer.loops import resolve_subnets
from openmsra.autoformer.supernet import AutoFormerSupernet
from openmsra.common.images import list_images, read_rgb
from openmsra.engine.model import init_model
from openmsra.errors import CheckpointError, ConfigError
from openmsra.registry import INFERENCERS, TRANSFORMS

Image = str | Path | np.ndarray


@INFERENCERS.register_module()
class AutoFormerInferencer:
    """Classifies images with a sub-network of a supernet, or with an exported network.

    Args:
        config: of the supernet or of the exported network; its test pipeline prepares the images.
        checkpoint: the weights; there is no inference without.
        arch: for a supernet: 'smallest', 'middle', 'largest', the path of an architecture file, or an architecture.
        device: where the network runs.
        classes: K names; default: the class indices.
        cfg_options: overrides with dotted keys, e.g. ``{'model.arch': {...}}`` of an exported network.

    Raises:
        CheckpointError: no checkpoint, or it does not fit the config.
        ConfigError: a supernet without ``arch``, an exported network with one, an architecture that does not fit, or
            another number of class names than classes.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path,
        arch: str | dict | None = None,
        device: str | torch.device = 'cpu',
        classes: list[str] | None = None,
        cfg_options: dict | None = None,
    ) -> None:
        if not checkpoint:
            raise CheckpointError('AutoFormerInferencer: give a checkpoint; random weights predict nothing.')
        self.model = init_model(config, checkpoint, device, cfg_options)
        self._choose(arch)
        count = self.model.num_classes
        if classes is not None and len(classes) != count:
            raise ConfigError(f'AutoFormerInferencer: {len(classes)} class names, but the network has {count} classes.')
        self.classes = list(classes) if classes is not None else [str(i) for i in range(count)]
        steps = remove_transform(self.model.cfg.test_dataloader.dataset.pipeline, 'LoadImageFromFile')
        self.pipeline = Compose([TRANSFORMS.build(step) for step in steps])

    def __call__(self, images: Image | list[Image], topk: int = 5, batch_size: int = 32) -> list[dict]:
        """Classify images.

        Args:
            images: a file, a folder (its images, sorted), an array (H, W) or (H, W, C) in BGR, or a list of these.
            topk: number of classes to return; no more than there are.
            batch_size: images in a forward pass.

        Returns:
            for each image ``dict(image=path or index, labels=[...], classes=[...], scores=[...])``, best class first;
            scores are softmax probabilities in [0, 1].

        Raises:
            FileNotFoundError: no such file, or a folder without images.
            ImageError: a file that does not decode.
            ValueError: ``topk`` or ``batch_size`` below 1.
        """
        if topk < 1 or batch_size < 1:
            raise ValueError(f'topk={topk}, batch_size={batch_size}: must be at least 1.')
        found = _listed(images)
        results = []
        for start in range(0, len(found), batch_size):
            batch = found[start : start + batch_size]
            results += self._classify([self._prepared(image) for _, image in batch], [name for name, _ in batch], topk)
        return results

    def _choose(self, arch: str | dict | None) -> None:
        if not isinstance(self.model, AutoFormerSupernet):
            if arch is not None:
                raise ConfigError('AutoFormerInferencer: an exported network has one architecture; leave out arch.')
            return
        if arch is None:
            raise ConfigError("AutoFormerInferencer: say which sub-network: arch='largest', a .json file or a dict.")
        try:
            (chosen,) = resolve_subnets(self.model.space, [arch]).values()
        except (ValueError, json.JSONDecodeError) as error:
            raise ConfigError(f'AutoFormerInferencer: arch: {error}') from None
        self.model.set_subnet(chosen)

    def _prepared(self, image: Path | np.ndarray) -> dict:
        pixels = image if isinstance(image, np.ndarray) else _read(image, self.model.in_channels)
        if pixels.ndim == 2:
            pixels = pixels[..., None].repeat(self.model.in_channels, -1)
        return self.pipeline(dict(img=pixels, img_shape=pixels.shape[:2], ori_shape=pixels.shape[:2]))

    @torch.inference_mode()
    def _classify(self, prepared: list[dict], names: list, topk: int) -> list[dict]:
        samples = self.model.test_step(pseudo_collate(prepared))
        rows = []
        for name, sample in zip(names, samples, strict=True):
            scores, labels = sample.pred_score.topk(min(topk, len(self.classes)))
            labels = labels.tolist()
            rows.append(dict(image=name, labels=labels, classes=[self.classes[i] for i in labels], scores=scores.tolist()))
        return rows


def _listed(images: Image | list[Image]) -> list[tuple[str | int, Path | np.ndarray]]:
    """(name, image) of every image that is meant."""
    listed: list[tuple[str | int, Path | np.ndarray]] = []
    for image in images if isinstance(images, (list, tuple)) else [images]:
        if isinstance(image, np.ndarray):
            listed.append((len(listed), image))
        else:
            listed += [(str(path), path) for path in list_images(image)]
    return listed


def _read(file: Path, channels: int) -> np.ndarray:
    """BGR or, for a network of one channel, grey pixels (H, W, C), 8 bit."""
    conversion = cv2.COLOR_RGB2GRAY if channels == 1 else cv2.COLOR_RGB2BGR
    pixels = cv2.cvtColor(read_rgb(file), conversion)
    return pixels[..., None] if channels == 1 else pixels
