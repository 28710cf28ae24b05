"""Images in, the most probable classes out."""

from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmpretrain.datasets import remove_transform

from openmsra.autoformer.evaluation import resolve_subnets
from openmsra.autoformer.supernet import AutoFormerSupernet
from openmsra.common.images import named_images, read_bgr, require_pixels
from openmsra.engine.inferencer import Inferencer
from openmsra.errors import ConfigError, DataError
from openmsra.registry import INFERENCERS, TRANSFORMS

Image = str | Path | np.ndarray
CAPTIONED_SIDE = 192  # pixels; smaller images are enlarged so that a caption has room


@INFERENCERS.register_module()
class AutoFormerInferencer(Inferencer):
    """Classifies images with a sub-network of a supernet, or with an exported network: ``infer(images, topk=5, ...)``.

    ``images`` are a file, a folder (its images and those of its sub-folders, sorted), a pattern, an array (H, W) or (H, W, C) in
    BGR (what ``cv2.imread`` gives), or a list of these. The rows are ``dict(image=path or index, labels=[...], classes=[...],
    scores=[...])`` with the ``topk`` best classes, best first; scores are softmax probabilities in [0, 1]. The other arguments
    are those of :class:`~openmsra.engine.inferencer.Inferencer`.

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

    batch_size = 32

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path,
        arch: str | dict | None = None,
        device: str | torch.device = 'cpu',
        classes: list[str] | None = None,
        cfg_options: dict | None = None,
    ) -> None:
        super().__init__(config, checkpoint, device, cfg_options)
        self._choose(arch)
        count = self.model.num_classes
        if classes is not None and len(classes) != count:
            raise ConfigError(f'AutoFormerInferencer: {len(classes)} class names, but the network has {count} classes.')
        self.classes = list(classes) if classes is not None else [str(i) for i in range(count)]
        steps = remove_transform(self.model.cfg.test_dataloader.dataset.pipeline, 'LoadImageFromFile')
        self.pipeline = Compose([TRANSFORMS.build(step) for step in steps])

    def list_inputs(self, inputs: Image | list[Image]) -> list[tuple[str | int, Path | np.ndarray]]:
        """(name, image) of every image that is meant."""
        return named_images(inputs)

    def preprocess(self, item: Path | np.ndarray) -> dict:
        """The image through the test pipeline.

        Raises:
            DataError: that leaves another size or number of channels than the network takes.
        """
        pixels = item if isinstance(item, np.ndarray) else _read(item, self.model.in_channels)
        require_pixels(pixels)
        if pixels.ndim == 2:
            pixels = pixels[..., None].repeat(self.model.in_channels, -1)
        prepared = self.pipeline(dict(img=pixels, img_shape=pixels.shape[:2], ori_shape=pixels.shape[:2]))
        expected, actual = (self.model.in_channels, *self.model.img_size), tuple(prepared['inputs'].shape)
        if actual != expected:
            height, width = self.model.img_size
            raise DataError(
                f'the test pipeline of the config makes {_shape(actual)} of it, the network takes {_shape(expected)}. Where a '
                f"pipeline does not resize, put dict(type='mmpretrain.Resize', scale=({width}, {height})) into "
                'test_dataloader.dataset.pipeline.'
            )
        return prepared

    def forward(self, batch: list[dict]) -> list:
        """Data samples with ``pred_score`` (K,)."""
        return self.model.test_step(pseudo_collate(batch))

    def postprocess(self, prediction, *, topk: int = 5) -> dict:
        """The best classes; no more than there are.

        Raises:
            ValueError: ``topk`` below 1.
        """
        if topk < 1:
            raise ValueError(f'AutoFormerInferencer: topk={topk}; at least 1.')
        scores, labels = prediction.pred_score.topk(min(topk, len(self.classes)))
        labels = labels.tolist()
        return dict(labels=labels, classes=[self.classes[label] for label in labels], scores=scores.tolist())

    def draw(self, item: Path | np.ndarray, row: dict) -> np.ndarray:
        """The image above a line with its best class (H, W, 3) RGB."""
        pixels = item if isinstance(item, np.ndarray) else _read(item, 3)
        if pixels.ndim == 2 or pixels.shape[2] == 1:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
        scale = max(1, -(-CAPTIONED_SIDE // min(pixels.shape[:2])))
        large = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        caption = np.full((28, large.shape[1], 3), 255, np.uint8)
        text = f'{row["classes"][0]}  {100 * row["scores"][0]:.0f} %'
        cv2.putText(caption, text, (4, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (32, 32, 32), 1, cv2.LINE_AA)
        return np.concatenate([large, caption])[..., ::-1]

    def _choose(self, arch: str | dict | None) -> None:
        if not isinstance(self.model, AutoFormerSupernet):
            if arch is not None:
                raise ConfigError('AutoFormerInferencer: an exported network has one architecture; leave out arch.')
            return
        if arch is None:
            raise ConfigError("AutoFormerInferencer: say which sub-network: arch='largest', a .json file or a dict.")
        try:
            subnets = list(resolve_subnets(self.model.space, [arch]).values())
        except ValueError as error:
            raise ConfigError(f'AutoFormerInferencer: arch: {error}') from None
        if len(subnets) != 1:
            raise ConfigError(f'AutoFormerInferencer: arch={arch!r} names {len(subnets)} sub-networks; choose one.')
        self.model.set_subnet(subnets[0])


def _shape(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f'{height}x{width} pixels of {channels} channel{"s" * (channels > 1)}'


def _read(file: Path, channels: int) -> np.ndarray:
    """BGR or, for a network of one channel, grey pixels (H, W, C), 8 bit."""
    pixels = read_bgr(file)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)[..., None] if channels == 1 else pixels
