"""The front door: a model or an inferencer from a config and a checkpoint, and a list of what there is."""

import fnmatch
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from torch import nn

from openmsra.engine.checkpoint.io import load_file, load_weights
from openmsra.engine.config.check import check_config
from openmsra.engine.launch import load_config
from openmsra.engine.runner import not_an_unfilled_registry
from openmsra.registry import INFERENCERS, MODELS

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device = 'cpu',
    cfg_options: dict | None = None,
) -> nn.Module:
    """Build the model of a config, load its weights strictly and switch it to evaluation mode.

    Args:
        config: a config file, a name from :func:`list_models`, or a loaded config.
        checkpoint: a checkpoint file; ``None`` keeps the random initial weights.
        device: where the model goes.
        cfg_options: overrides with dotted keys, as ``--cfg-options`` takes them.

    Returns:
        the model, with the config as ``model.cfg``.

    Raises:
        ConfigError: the config holds a key that nothing reads or a type that does not resolve.
        CheckpointError: the file is unsafe or damaged, or a weight is missing, unexpected or misshapen.
    """
    cfg = _as_config(config, cfg_options)
    model_cfg = cfg.model.copy()
    if cfg.get('data_preprocessor') is not None:
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'openmsra')), _only_warnings():
        model = MODELS.build(model_cfg)
        if checkpoint is None and hasattr(model, 'init_weights'):
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


def init_inferencer(
    config: str | Path | Config, checkpoint: str | Path, device: str | torch.device = 'cpu', **options
) -> Callable:
    """Build the inferencer of the paper that a config belongs to: files in; classes, boxes, scores or embeddings out.

    Args:
        config: a config file, a name from :func:`list_models`, or a loaded config.
        checkpoint: the weights; no inferencer works without.
        device: where the model goes.
        options: further arguments of this paper's inferencer, such as ``arch`` of AutoFormer's.

    Raises:
        ConfigError: the config holds a key that nothing reads or a type that does not resolve.
        CheckpointError: no checkpoint, or it is unsafe or damaged or does not fit the config.
    """
    cfg = _as_config(config, None)
    package = f'{cfg.custom_imports.imports[0]}.'
    (inferencer,) = (cls for cls in INFERENCERS.module_dict.values() if cls.__module__.startswith(package))
    return inferencer(cfg, checkpoint, device=device, **options)


def list_models(pattern: str = '*') -> list[str]:
    """Names of all configs of the checkout that match ``pattern`` (shell wildcards), sorted.

    Raises:
        FileNotFoundError: openmsra is not installed from a checkout (``pip install -e .``), so there are no configs.
    """
    return sorted(fnmatch.filter(_config_files(), pattern))


def _config_files() -> dict[str, Path]:
    if not CONFIGS.is_dir():
        raise FileNotFoundError(f'{CONFIGS}: no configs; install openmsra from its checkout with `pip install -e .`.')
    return {path.stem: path for path in CONFIGS.glob('*/*.py') if not path.name.startswith('_') and path.parent.name != '_base_'}


def _as_config(config: str | Path | Config, cfg_options: dict | None) -> Config:
    if isinstance(config, Config):
        cfg = config.copy()
        cfg.merge_from_dict(cfg_options or {})
        check_config(cfg)
        return cfg
    path = Path(config)
    if not path.suffix and not path.exists():
        path = _config_files().get(str(config), path)
    return load_config(path, cfg_options)
