"""Which network the branches and comparators of CKDN are cut from, and how a file of ImageNet weights fits them."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models

from openmsra.ckdn.network import BLOCKS, PlainBlock, make_stage, make_stem
from openmsra.engine.checkpoint.io import load_file
from openmsra.errors import CheckpointError, MissingFileError
from openmsra.suggest import did_you_mean


@dataclass
class Design:
    """Makers of the parts; every call gives new weights.

    Attributes:
        branch: stem and stage of a branch, with ``pool`` between them.
        comparator: takes the features of a branch.
        channels: what the comparator gives.
        name: of the network in torchvision.
        imagenet: module of an ImageNet file -> parts of CKDN that start from it.
    """

    branch: Callable[[], tuple[nn.Module, nn.Module]]
    comparator: Callable[[], nn.Module]
    pool: nn.Module
    channels: int
    name: str
    imagenet: dict[str, tuple[str, ...]]


def resnet_design(depth: int, base_channels: int, comparator: str, stem_stride: int = 2, stem_pool: bool = True) -> Design:
    """The paper's: stem and first stage of a ResNet as a branch, its second stage (or plain blocks) as the comparator.

    Args:
        depth: 18, 34, 50 or 101.
        base_channels: width of the stem; 64 is ResNet's.
        comparator: 'residual' or 'plain'.
        stem_stride, stem_pool: stride of the stem and whether a 3x3 pooling of stride 2 follows; 2 and yes is ResNet's.
    """
    block, first, second = BLOCKS[depth]
    width, compare = base_channels * block.expansion, block if comparator == 'residual' else PlainBlock
    imagenet = {'conv1': ('qse_1', 'dte_1'), 'layer1': ('qse_2', 'dte_2'), 'layer2': ('csp', 'aux_csp')}
    if comparator == 'plain':
        del imagenet['layer2']  # no published network has such a stage
    return Design(
        branch=lambda: (make_stem(base_channels, stem_stride), make_stage(block, base_channels, base_channels, first, 1)),
        comparator=lambda: make_stage(compare, width, 2 * base_channels, second, 2),
        pool=nn.MaxPool2d(3, 2, 1) if stem_pool else nn.Identity(),
        channels=2 * base_channels * compare.expansion,
        name=f'resnet{depth}',
        imagenet=imagenet,
    )


def cut_design(name: str, cuts: tuple[int, int]) -> Design:
    """Any network of torchvision whose layers before the classifier are the sequence ``features``, cut at two places.

    Args:
        name: 'vgg16_bn', 'mobilenet_v3_large', 'efficientnet_b0', 'densenet121', ...
        cuts: ``features[:first]`` is a branch, ``features[first:second]`` the comparator.

    Raises:
        ValueError: no such network, no ``features``, or cuts outside of them.
    """
    known = models.list_models(models)
    if name not in known:
        raise ValueError(f'backbone {name!r} is not in torchvision.models. {did_you_mean(name, known)}')
    features = getattr(models.get_model(name, weights=None), 'features', None)
    if not isinstance(features, nn.Sequential):
        raise ValueError(f'backbone {name!r} has no sequence of features to cut; ResNets are chosen by depth.')
    first, second = cuts
    if not 0 < first < second <= len(features):
        raise ValueError(f'cuts must increase and lie within the {len(features)} layers of {name}, got {tuple(cuts)}')
    return Design(
        branch=lambda: (copy.deepcopy(features[:first]), nn.Identity()),
        comparator=lambda: copy.deepcopy(features[first:second]),
        pool=nn.Identity(),
        channels=_channels(features[:second]),
        name=name,
        imagenet={'features': ('qse_1', 'dte_1', 'csp', 'aux_csp')},
    )


@torch.no_grad()
def _channels(features: nn.Module) -> int:
    return copy.deepcopy(features).eval()(torch.zeros(1, 3, 64, 64)).shape[1]


def imagenet_file(name: str) -> Path:
    """Where torchvision keeps the first ImageNet weights that it published of a network; the official code starts from them."""
    url = models.get_model_weights(name).IMAGENET1K_V1.url
    return Path(torch.hub.get_dir()) / 'checkpoints' / url.rpartition('/')[2]


def load_imagenet(model: nn.Module, design: Design, weights: str) -> None:
    """Copy ImageNet weights into all branches and comparators, so that Q = T.

    Args:
        weights: file with the keys of torchvision or mmpretrain, or 'torchvision' for the one that torchvision has downloaded.

    Raises:
        MissingFileError: there is no such file; the message says how to get it.
        CheckpointError: the file lacks a weight that the branches need, or has it in another shape.
    """
    path = imagenet_file(design.name) if weights == 'torchvision' else Path(weights)
    if not path.is_file():
        raise MissingFileError(
            f'{path}: no such file of ImageNet weights, from which the training starts. Let torchvision get it:\n'
            '    python -c "import openmsra.ckdn; from torchvision import models; '
            f"models.{design.name}(weights='IMAGENET1K_V1')\"\n"
            'or name a file with the keys of torchvision or mmpretrain: --cfg-options model.imagenet_weights=FILE. With '
            'model.imagenet_weights=None the weights are random; the rate and the weight of the alignment are not made for that.'
        )
    checkpoint = load_file(path)
    state = {key.removeprefix('backbone.'): value for key, value in checkpoint.get('state_dict', checkpoint).items()}
    for source, targets in design.imagenet.items():
        for target in (name for name in targets if hasattr(model, name)):
            getattr(model, target).load_state_dict(_part(state, source, target, getattr(model, target), path))


def _part(state: dict[str, Tensor], source: str, target: str, module: nn.Module, path: Path) -> dict[str, Tensor]:
    expected = module.state_dict()
    # files from before PyTorch 0.4.1, the one of the official code among them, do not count batches
    part = {
        key: state.get(f'{source}.{key}', value if key.endswith('num_batches_tracked') else None)
        for key, value in expected.items()
    }
    missing = [key for key, value in part.items() if value is None]
    if missing:
        raise CheckpointError(f'{path}: no {source} for {target}: {", ".join(missing[:8])} missing.')
    misshapen = [key for key, value in part.items() if value.shape != expected[key].shape]
    if misshapen:
        key = misshapen[0]
        raise CheckpointError(
            f'{path}: {source}.{key} has the shape {tuple(part[key].shape)}, {target} of this model '
            f'{tuple(expected[key].shape)}; take a file of the same network, or model.imagenet_weights=None for random weights.'
        )
    return part
