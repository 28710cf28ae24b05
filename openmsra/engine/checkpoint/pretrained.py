"""Weights to start from: ``init_cfg=dict(type='Pretrained', checkpoint=...)`` and every other loader of the mm* libraries.

mmengine reads such a file as pickle when it cannot be read safely, and trains on when no weight of it fits. Importing this module
replaces, for all libraries of the process, the loaders behind ``CheckpointLoader`` and the initializer ``Pretrained``.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import mmengine.runner.checkpoint as mmengine_checkpoint
import torch
from mmengine.dist import all_gather_object
from mmengine.logging import MMLogger
from mmengine.model.weight_init import PretrainedInit as MMEnginePretrainedInit
from mmengine.model.weight_init import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from openmsra import compat
from openmsra.engine.checkpoint.io import load_file, shorten, weights_of
from openmsra.engine.checkpoint.share import first_on_machine
from openmsra.errors import CheckpointError
from openmsra.suggest import did_you_mean

NAMED = ('torchvision://', 'modelzoo://', 'open-mmlab://', 'openmmlab://', 'mmcls://')
HASH = re.compile(r'-([0-9a-f]{8,})\.')
DOWNLOAD_TIMEOUT = 30  # seconds without an answer


def load_named(name: str | Path, map_location: str | torch.device = 'cpu') -> dict[str, Any]:
    """Read a checkpoint by path, URL or a name such as ``open-mmlab://detectron2/resnet50_caffe``; nothing in it is executed.

    What has been downloaded once is kept in torch's folder (``torch.hub.get_dir()``), where a file put by hand is found too.

    Raises:
        CheckpointError: the file is not there and cannot be fetched, or is unsafe or damaged.
    """
    name = str(name)
    url = _url(name)
    checkpoint = load_file(_fetch(name, url) if url else Path(name).expanduser(), map_location)
    if name.startswith('mmcls://'):
        state = checkpoint.get('state_dict', checkpoint)
        return dict(
            state_dict={key.removeprefix('backbone.'): value for key, value in state.items() if key.startswith('backbone.')}
        )
    return checkpoint


def _url(name: str) -> str | None:
    """Where a name can be downloaded; nothing for a local path."""
    if name.startswith(('http://', 'https://')):
        return name
    if not name.startswith(NAMED):
        if '://' in name:
            raise CheckpointError(f'{name}: such addresses are not read; copy the file to a local folder and name it there.')
        return None
    scheme, _, model = name.partition('://')
    if scheme in ('torchvision', 'modelzoo'):
        compat.bridge_torchvision()
        known = mmengine_checkpoint.get_torchvision_models()
    elif scheme == 'mmcls':
        known = mmengine_checkpoint.get_mmcls_models()
    else:
        known = mmengine_checkpoint.get_external_models()
        model = mmengine_checkpoint.get_deprecated_model_names().get(model, model)
    if model not in known:
        raise CheckpointError(f'{name}: there is no such name. {did_you_mean(model, known)}')
    return known[model] if urlparse(known[model]).scheme else f'https://download.openmmlab.com/{known[model]}'


def _fetch(name: str, url: str) -> Path:
    """The local copy of ``url``, downloaded by one process of each machine if it is not there yet."""
    path = Path(torch.hub.get_dir()) / 'checkpoints' / Path(urlparse(url).path).name
    failure = None
    if first_on_machine() and not path.is_file():
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = HASH.search(path.name)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=digest[1] if digest else None, progress=False)
        except (OSError, RuntimeError) as error:
            failure = f'{type(error).__name__}: {error}'
        finally:
            socket.setdefaulttimeout(before)
    failure = next(filter(None, all_gather_object(failure)), None)
    if failure:
        address = '' if name == url else f' ({url})'
        raise CheckpointError(
            f'{name}{address} cannot be downloaded here ({failure[:200]}). Fetch it on a machine with a network and put it at '
            f'{path}, or name a file that you have: checkpoint=FILE.'
        )
    return path


def load_from_plain_file(filename: str, map_location: str | torch.device | None = None, **_) -> dict[str, Any]:
    """The one loader behind mmengine's ``CheckpointLoader``; its name appears in mmengine's log."""
    return load_named(filename, map_location or 'cpu')


class PretrainedInit(MMEnginePretrainedInit):
    """``init_cfg=dict(type='Pretrained', checkpoint=..., prefix=None)``: every weight of the module comes from the file.

    Weights that only the file has (the classifier of a backbone) are named in the log.

    Args:
        checkpoint: a path, a URL or a name; see :func:`load_named`.
        prefix: only keys that begin with it are used, without it.
        map_location: not needed, the weights are copied to where the module is.

    Raises:
        CheckpointError: weights are missing in the file or have another shape; the message says how many fit.
    """

    def __call__(self, module: nn.Module) -> None:
        state = weights_of(load_named(self.checkpoint), self.checkpoint)
        if self.prefix is not None:
            prefix = self.prefix.rstrip('.') + '.'
            state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        expected = module.state_dict()
        misshapen = [key for key in expected if key in state and state[key].shape != expected[key].shape]
        try:
            missing, unexpected = module.load_state_dict(state, strict=False)
        except RuntimeError as error:
            if not misshapen:
                raise CheckpointError(f'{self.checkpoint} does not fit {type(module).__name__}: {error}') from None
            missing, unexpected = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
        else:
            misshapen = []  # a module may mend shapes itself (position embeddings)
        missing = [key for key in missing if not key.endswith('num_batches_tracked')]
        if missing or misshapen:
            raise CheckpointError(self._complaint(module, expected, state, missing, misshapen, unexpected))
        logger = MMLogger.get_current_instance()
        logger.info(f'{type(module).__name__} starts from all its {len(expected)} weights in {self.checkpoint}.')
        if unexpected:
            logger.info(f'{len(unexpected)} weights of the file are not used: {shorten(unexpected)}')
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())

    def _complaint(self, module: nn.Module, expected, state, missing, misshapen, unexpected) -> str:
        wanted = [key for key in expected if not key.endswith('num_batches_tracked')]
        fit = len(wanted) - len(missing) - len(misshapen)
        lines = [f'{self.checkpoint} does not fit {type(module).__name__}: {fit} of its {len(wanted)} weights are in the file.']
        lines += [f'  {len(missing)} missing: {shorten(missing)}'] if missing else []
        shapes = [f'{key}: file {tuple(state[key].shape)}, model {tuple(expected[key].shape)}' for key in misshapen]
        lines += [f'  {len(shapes)} of another shape: {shorten(shapes)}'] if shapes else []
        lines += [f'  {len(unexpected)} only in the file: {shorten(unexpected)}'] if unexpected else []
        start = (
            next((key.removesuffix(wanted[0]) for key in unexpected if key.endswith(f'.{wanted[0]}')), None) if wanted else None
        )
        if start:
            lines.append(f"  Its keys begin with '{start}': did you mean prefix='{start}'?")
        elif not state and self.prefix is not None:
            lines.append(f"  No key of the file begins with the prefix '{self.prefix}'.")
        return '\n'.join(lines)


_mmengine_load_state_dict = mmengine_checkpoint.load_state_dict


def load_state_dict(module: nn.Module, state_dict: dict, strict: bool = False, logger=None) -> None:
    """mmengine's, except that a file of which no weight fits is an error whether ``strict`` or not.

    Raises:
        CheckpointError: not one weight of the module was set.
    """
    tensors = list(module.parameters()) or list(module.buffers())  # batch norm makes up a counter that a file lacks
    before = [tensor._version for tensor in tensors]
    _mmengine_load_state_dict(module, state_dict, strict, logger)
    if tensors and all(tensor._version == version for tensor, version in zip(tensors, before, strict=True)):
        _nothing_fits(module, state_dict)


def _nothing_fits(module: nn.Module, state: dict) -> None:
    raise CheckpointError(
        f'Not one weight of the checkpoint fits {type(module).__name__}: the file has {shorten(list(state), 4)}; '
        f'the model {shorten(list(module.state_dict()), 4)}.'
    )


@contextmanager
def foreign_loads_are_checked() -> Iterator[None]:
    """Inside, ``module.load_state_dict(state, strict=False)`` of a library's ``init_weights`` (Swin's, say) says what it missed.

    Raises:
        CheckpointError: not one weight fitted; what is missing beside buffers is a warning.
    """
    original = nn.Module.load_state_dict

    def checked(self, state_dict, strict: bool = True, assign: bool = False):
        result = original(self, state_dict, strict, assign)
        expected = self.state_dict()
        if not strict and expected and set(result.missing_keys) >= set(expected):
            _nothing_fits(self, state_dict)
        missing = [key for key in result.missing_keys if key in dict(self.named_parameters())]
        if missing:
            MMLogger.get_current_instance().warning(
                f'{type(self).__name__}: {len(missing)} weights are not in the file and start at random: {shorten(missing)}'
            )
        return result

    nn.Module.load_state_dict = checked
    try:
        yield
    finally:
        nn.Module.load_state_dict = original


def _install() -> None:
    schemes = ('', 'http://', 'https://', 'pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://', *NAMED)
    for scheme in {*schemes, *mmengine_checkpoint.CheckpointLoader._schemes}:
        mmengine_checkpoint.CheckpointLoader.register_scheme(scheme, load_from_plain_file, force=True)
    mmengine_checkpoint.load_state_dict = load_state_dict
    WEIGHT_INITIALIZERS.register_module(name='Pretrained', module=PretrainedInit, force=True)


_install()
