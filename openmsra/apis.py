"""The front door: a model or an inferencer from a config and a checkpoint, and a list of what there is."""

import fnmatch
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config

from openmsra.engine.config.files import as_config
from openmsra.engine.model import init_model
from openmsra.errors import ConfigError
from openmsra.registry import INFERENCERS
from openmsra.resources import config_files

__all__ = ['init_inferencer', 'init_model', 'list_models']


def init_inferencer(
    config: str | Path | Config, checkpoint: str | Path, device: str | torch.device = 'cpu', **options
) -> Callable:
    """Build the inferencer that a config names: files in; classes, boxes, scores or embeddings out.

    Args:
        config: a config file, a name from :func:`list_models`, or a loaded config; its key ``inferencer`` names the class and
            may set further arguments.
        checkpoint: the weights; no inferencer works without.
        device: where the model goes.
        options: further arguments of this inferencer, such as ``arch`` of AutoFormer's.

    Raises:
        ConfigError: the config names no inferencer, holds a key that nothing reads or a type that does not resolve.
        CheckpointError: no checkpoint, or it is unsafe or damaged or does not fit the config.
    """
    cfg = as_config(config)
    if 'inferencer' not in cfg:
        raise ConfigError(f"{cfg.filename or 'the config'}: no inferencer; add inferencer = dict(type='...Inferencer').")
    named = {**cfg.inferencer, **options}
    return INFERENCERS.get(named.pop('type'))(cfg, checkpoint, device=device, **named)


def list_models(pattern: str = '*') -> list[str]:
    """Names of all configs that match ``pattern`` (shell wildcards), sorted."""
    return sorted(fnmatch.filter(config_files(), pattern))
