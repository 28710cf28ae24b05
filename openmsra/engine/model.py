"""A model from a config and a checkpoint, ready to be used."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from torch import nn

from openmsra.engine.checkpoint.io import load_file, load_weights
from openmsra.engine.checkpoint.pretrained import foreign_loads_are_checked
from openmsra.engine.config.files import as_config
from openmsra.engine.runner import not_an_unfilled_registry
from openmsra.registry import MODELS


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device = 'cpu',
    cfg_options: dict | None = None,
) -> nn.Module:
    """Build the model of a config, load its weights strictly and switch it to evaluation mode.

    Args:
        config: a config file, a name from :func:`openmsra.apis.list_models`, or a loaded config.
        checkpoint: a checkpoint file; ``None`` keeps the random initial weights.
        device: where the model goes.
        cfg_options: overrides with dotted keys, as ``--cfg-options`` takes them.

    Returns:
        the model, with the config as ``model.cfg``.

    Raises:
        ConfigError: the config holds a key that nothing reads or a type that does not resolve.
        CheckpointError: the file is unsafe or damaged, or a weight is missing, unexpected or misshapen.
    """
    cfg = as_config(config, cfg_options)
    model_cfg = cfg.model.copy()
    if cfg.get('data_preprocessor') is not None:
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'openmsra')), _only_warnings():
        model = MODELS.build(model_cfg)
        if checkpoint is None and hasattr(model, 'init_weights'):
            with foreign_loads_are_checked():
                model.init_weights()
    if checkpoint is not None:
        load_weights(model, load_file(checkpoint), checkpoint)
        if hasattr(model, 'prepare_inference'):
            model.prepare_inference()
    model.cfg = cfg
    return model.to(device).eval()


@contextmanager
def _only_warnings() -> Iterator[None]:
    """Without a log file mmengine prints three lines for every parameter that it initialises."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')
    logger.addFilter(not_an_unfilled_registry)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeFilter(not_an_unfilled_registry)
