"""Configs by path or by name: found, read, overridden and checked."""

from pathlib import Path
from typing import Any

from mmengine.config import Config

from openmsra import compat
from openmsra.engine.config.check import check_config
from openmsra.errors import ConfigError, MissingFileError
from openmsra.resources import config_files
from openmsra.suggest import did_you_mean


def load_config(path: str | Path, options: dict | None = None) -> Config:
    """Read a config, apply ``--cfg-options`` and check that everything in it is read.

    Args:
        path: a file, or the name of one of openmsra's configs.
        options: dotted keys and their values.

    Raises:
        FileNotFoundError: no such file or name; the message names the nearest config.
        ConfigError: a key that nothing reads, a type that does not resolve.
    """
    path, options = _existing_config(path), options or {}
    compat.format_configs_once()
    compat.let_configs_inherit_ours()
    cfg = Config.fromfile(path)
    _refuse_text_for_lists(cfg, options)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, AssertionError) as error:
        raise ConfigError(f'--cfg-options {" ".join(options)}: {error}') from None
    check_config(cfg, tuple(options))
    return cfg


def as_config(config: str | Path | Config, cfg_options: dict | None = None) -> Config:
    """A checked config from a file, a name of :func:`openmsra.resources.config_files`, or a loaded config, with overrides.

    Raises:
        ConfigError, MissingFileError: see :func:`load_config`.
    """
    if isinstance(config, Config):
        cfg = config.copy()
        cfg.merge_from_dict(cfg_options or {})
        check_config(cfg)
        return cfg
    return load_config(config, cfg_options)


def _existing_config(path: str | Path) -> Path:
    path, ours = Path(path), config_files()
    if path.is_file():
        return path
    if path.stem in ours and str(path) in (path.stem, path.name):
        return ours[path.stem]
    others = list(ours) if path.parent == Path() else [str(other) for other in Path('configs').glob('*/*.py')] or list(ours)
    raise MissingFileError(f'{path}: there is no such config. {did_you_mean(str(path), others)}')


def _refuse_text_for_lists(cfg: Config, options: dict) -> None:
    """A text in the place of a list would be read letter by letter, or as a list with commas that nobody has split."""
    for key, value in options.items():
        present: Any = cfg
        for name in key.split('.'):
            present = present.get(name) if isinstance(present, dict | Config) else None
        if isinstance(present, list | tuple) and isinstance(value, str):
            parts = ', '.join(f"'{part.strip()}'" for part in value.split(','))
            raise ConfigError(f'--cfg-options {key}={value}: this setting is a list; write {key}="[{parts}]".')
