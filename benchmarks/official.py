"""Networks of the official code, from a checkout of yours, as peers:  python benchmarks/speed.py PAPER --official FOLDER

    autoformer   github.com/microsoft/Cream, its folder AutoFormer
    ftcn         github.com/yinglinzheng/FTCN; pip install fvcore simplejson
    ckdn         github.com/researchmm/CKDN

That code was written for torch 1.4 to 1.9. What it misses in today's is filled in here; of the code itself nothing changes. One
checkout a process: their modules have the same names.
"""

import collections.abc
import contextlib
import importlib
import io
import sys
import types
from pathlib import Path

import torch
from torch import nn

from openmsra.errors import MissingFileError


def autoformer(folder: Path, arch: dict) -> nn.Module:
    """The supernet of the space "tiny" at an architecture of ours (``embed_dim``, ``depth``, ``num_heads``, ``mlp_ratio``)."""
    six = types.ModuleType('torch._six')
    six.container_abcs = collections.abc
    sys.modules['torch._six'] = six
    network = _imported(folder, 'model.supernet_transformer').Vision_TransformerSuper(
        embed_dim=256,
        depth=14,
        num_heads=4,
        mlp_ratio=4.0,
        qkv_bias=True,
        gp=True,
        relative_position=True,
        change_qkv=True,
    )
    depth = arch['depth']
    network.set_sample_config(
        dict(
            embed_dim=[arch['embed_dim']] * depth,
            mlp_ratio=list(arch['mlp_ratio']),
            num_heads=list(arch['num_heads']),
            layer_num=depth,
        )
    )
    return network


def ftcn(folder: Path) -> nn.Module:
    """The released network, FTCN with its transformer: clips (B, 3, 32, 224, 224) to ``final_output`` (B, 1), a probability."""
    settings = _imported(folder, 'config').config
    for layer in (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d):  # the code reads every argument of their __init__ as an attribute
        layer.device = layer.dtype = None
    settings.init_with_yaml()
    settings.update_with_yaml('ftcn_tt.yaml')
    settings.freeze()
    return _imported(folder, f'model.classifier.{settings.classifier_type}').I3D8x8()


def ckdn(folder: Path) -> nn.Module:
    """The network: restored, degraded, another and pristine image in one tensor (B, 12, H, W) to four outputs (B, 4)."""
    module = _imported(folder, 'ckdn')
    return module.ResNet(module.Bottleneck, [3, 4, 6, 3])


def _imported(folder: Path, name: str) -> types.ModuleType:
    """A module of the checkout, which stays importable; what it prints is kept from the terminal."""
    if not (folder / f'{name.split(".")[0]}.py').exists() and not (folder / name.split('.')[0]).is_dir():
        raise MissingFileError(
            f'{folder} has no {name}: it is not a checkout of the official code (benchmarks/official.py says of which)'
        )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    with contextlib.redirect_stdout(io.StringIO()):
        return importlib.import_module(name)


def same(ours: torch.Tensor, official: torch.Tensor) -> float:
    """The largest difference of outputs for the same weights and inputs.

    Raises:
        RuntimeError: they differ by more than 1e-4 of the largest output, so that a comparison of times would mean nothing.
    """
    apart = float((ours - official).abs().max() / official.abs().max())
    if apart > 1e-4:
        raise RuntimeError(f'outputs differ from those of the official code by {apart:.2g} of the largest')
    return apart
