"""Where the configs and the tools are: in a checkout, or in the installed package (``openmsra/.mim``, as in OpenMMLab).

Standard library alone: ``openmsra list`` does not wait for torch.
"""

from pathlib import Path

from openmsra.errors import MissingFileError

PACKAGE = Path(__file__).resolve().parent
PAPERS = ('autoformer', 'soft_teacher', 'ftcn', 'ckdn', 'mcn', 'maskco')
PREFIX = 'openmsra::'  # of a config in ``_base_``, wherever openmsra is installed


def resource_root() -> Path:
    """The folder with ``configs/``, ``tools/`` and ``model-index.yml``.

    Raises:
        MissingFileError: the installation has none.
    """
    for root in (PACKAGE.parent, PACKAGE / '.mim'):
        if (root / 'configs' / '_base_').is_dir() and (root / 'tools').is_dir():
            return root
    raise MissingFileError(f'{PACKAGE}: this installation has no configs; install openmsra from its wheel or its checkout.')


def config_files() -> dict[str, Path]:
    """Name -> file of all configs, sorted by paper and name."""
    files = sorted((resource_root() / 'configs').glob('*/*.py'))
    return {path.stem: path for path in files if not path.name.startswith('_') and path.parent.name != '_base_'}


def base_file(name: str) -> Path:
    """The file of ``openmsra::paper/config.py`` in a ``_base_``.

    Raises:
        MissingFileError: there is none.
    """
    file = resource_root() / 'configs' / name.removeprefix(PREFIX)
    if not file.is_file():
        raise MissingFileError(f'{name}: openmsra has no such config; `openmsra list` shows all.')
    return file
