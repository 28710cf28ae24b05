"""Configs by path or by name: found, read, overridden and checked."""

from pathlib import Path
from typing import Any

from mmengine.config import Config

from openmsra import compat
from openmsra.engine.config.check import check_config
from openmsra.errors import ConfigError, MissingFileError
from openmsra.suggest import did_you_mean

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'


def config_files() -> dict[str, Path]:
    """Name -> file of all configs of the checkout.

    Raises:
        MissingFileError: openmsra is not installed from a checkout (``pip install -e .``), so there are no configs.
    """
    if not CONFIGS.is_dir():
        raise MissingFileError(f'{CONFIGS}: no configs; install openmsra from its checkout with `pip install -e .`.')
    files = (path for path in CONFIGS.glob('*/*.py') if not path.name.startswith('_') and path.parent.name != '_base_')
    return {path.stem: path for path in files}


def load_config(path: str | Path, options: dict | None = None) -> Config:
    """Read a config, apply ``--cfg-options`` and check that everything in it is read.

    Raises:
        FileNotFoundError: no such file; the message names the nearest config.
        ConfigError: a key that nothing reads, a type that does not resolve.
    """
    path, options = Path(path), options or {}
    if not path.is_file():
        others = [str(other) for other in Path('configs').glob('*/*.py')]
        raise MissingFileError(f'{path}: there is no such config. {did_you_mean(str(path), others)}')
    compat.format_configs_once()
    cfg = Config.fromfile(path)
    _refuse_text_for_lists(cfg, options)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, AssertionError) as error:
        raise ConfigError(f'--cfg-options {" ".join(options)}: {error}') from None
    check_config(cfg, tuple(options))
    return cfg


def as_config(config: str | Path | Config, cfg_options: dict | None = None) -> Config:
    """A checked config from a file, a name of :func:`config_files`, or a loaded config, with overrides.

    Raises:
        ConfigError, MissingFileError: see :func:`load_config`.
    """
    if isinstance(config, Config):
        cfg = config.copy()
        cfg.merge_from_dict(cfg_options or {})
        check_config(cfg)
        return cfg
    path = Path(config)
    if not path.suffix and not path.exists():
        path = config_files().get(str(config), path)
    return load_config(path, cfg_options)


def _refuse_text_for_lists(cfg: Config, options: dict) -> None:
    """A text in the place of a list would be read letter by letter, or as a list with commas that nobody has split."""
    for key, value in options.items():
        present: Any = cfg
        for name in key.split('.'):
            present = present.get(name) if isinstance(present, dict | Config) else None
        if isinstance(present, list | tuple) and isinstance(value, str):
            parts = ', '.join(f"'{part.strip()}'" for part in value.split(','))
            raise ConfigError(f'--cfg-options {key}={value}: this setting is a list; write {key}="[{parts}]".')
