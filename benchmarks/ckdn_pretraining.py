"""A pre-trained start in place of ImageNet weights: a small ResNet that tells the training photographs of the miniature apart."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmsra.ckdn.network import BLOCKS, init_convolutions, make_stage, make_stem
from openmsra.engine.checkpoint.io import save_file


def pretrain(pixels: dict[str, np.ndarray], depth: int, channels: int, file: Path, steps: int = 400) -> float:
    """Classify patches by their photograph and write the weights under ResNet's names.

    Args:
        pixels: of the training split: ``pristine`` (N, H, W, 3), ``degraded`` (N, D, H, W, 3), ``photo`` (N,).
        depth, channels: of the CKDN model that starts from the file.
        file: checkpoint to write.

    Returns:
        accuracy of the last 50 training steps; every batch is newly flipped and shifted.
    """
    torch.manual_seed(0)
    names, labels = np.unique(pixels['photo'], return_inverse=True)
    network = _resnet(depth, channels, len(names))
    init_convolutions(network)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    images = torch.from_numpy(np.concatenate([pixels['pristine'][:, None], pixels['degraded']], axis=1)).movedim(-1, -3)
    labels, generator, hits = torch.from_numpy(labels), np.random.default_rng(0), []
    for _ in range(steps):
        scene, kind = generator.integers(len(images), size=64), generator.integers(images.shape[1], size=64)
        logits = network(_augmented(images[scene, kind], generator))
        loss = F.cross_entropy(logits, labels[scene])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        hits.append(float((logits.argmax(1) == labels[scene]).float().mean()))
    save_file(dict(state_dict=network.state_dict()), file)
    return float(np.mean(hits[-50:]))


def _resnet(depth: int, channels: int, classes: int) -> nn.Sequential:
    block, first, second = BLOCKS[depth]
    width = channels * block.expansion
    return nn.Sequential(
        OrderedDict(
            conv1=make_stem(channels),
            bn1=nn.BatchNorm2d(channels),
            relu=nn.ReLU(),
            pool=nn.MaxPool2d(3, 2, 1),
            layer1=make_stage(block, channels, channels, first, 1),
            layer2=make_stage(block, width, 2 * channels, second, 2),
            mean=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            fc=nn.Linear(2 * width, classes),
        )
    )


def _augmented(images: Tensor, generator: np.random.Generator) -> Tensor:
    """uint8 images to normalised ones, flipped and rolled by some pixels."""
    images = (images.float() - 118) / 58
    if generator.integers(2):
        images = images.flip(-1)
    return images.roll(tuple(int(n) for n in generator.integers(-8, 9, size=2)), dims=(-2, -1))
