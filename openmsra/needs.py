"""What the papers import, whether it is here, and what brings it. Standard library alone."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from openmsra.errors import MissingPackageError

OPERATORS = 'operators'  # mmcv's compiled ones
NEEDS = {  # what a paper imports to train and to infer
    'autoformer': ('mmcv', 'mmpretrain', 'sklearn'),
    'soft_teacher': ('mmcv', 'mmdet', 'pycocotools', OPERATORS),
    'ftcn': ('mmcv', 'mmaction', 'einops'),
    'ckdn': ('mmcv', 'scipy'),
    'mcn': ('mmcv', 'mmaction', 'einops'),
    'maskco': ('mmcv', 'mmpretrain', 'sklearn'),
}
PACKAGES = frozenset(name for names in NEEDS.values() for name in names) - {OPERATORS}
NO_OPERATORS = 'make install-full compiles them; without a checkout: pip install --no-build-isolation onedl-mmcv with torch there'
MTCNN = 'facenet-pytorch==2.6.0'  # the package whose wheel holds the weights of FTCN's face detector
PATIENCE = 300  # seconds for an import that takes three


def has_operators() -> bool:
    """Whether mmcv's compiled operators are installed; :func:`import_fault` says whether they can be loaded too."""
    return find_spec('mmcv') is not None and find_spec('mmcv._ext') is not None


def import_fault(module: str) -> str | None:
    """Why a module cannot be imported, asked in a process of its own, which may crash; ``None`` where it can."""
    command = [sys.executable, '-c', f'import {module}']
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f'the import takes more than {PATIENCE} s, this machine is very busy'
    return (done.stderr.strip().splitlines() or [f'exit code {done.returncode}'])[-1] if done.returncode else None


def operators_fault() -> str | None:
    """Why mmcv's compiled operators cannot be loaded; ``None`` where they can."""
    return import_fault('torch, mmcv._ext')


@contextmanager
def explained_imports() -> Iterator[None]:
    """Turn the error of a package that a paper needs and that is not here into the sentence that says what brings it.

    Raises:
        MissingPackageError: instead of the :class:`ImportError`; one of any other module goes on as it is.
    """
    try:
        yield
    except ImportError as error:
        if (sentence := _missing_package(error)) is None:
            raise
        raise MissingPackageError(sentence) from error


def _missing_package(error: BaseException | None) -> str | None:
    """The first module that was not found decides; mmengine wraps its error where a config names modules."""
    while error is not None and not isinstance(error, ModuleNotFoundError):
        error = error.__cause__ or error.__context__
    if error is None:
        return None
    if error.name == 'mmcv._ext':
        return f"this needs mmcv's compiled operators, which are missing here; {NO_OPERATORS}."
    if error.name in PACKAGES:
        return f'this needs {error.name}, which is not installed here; `openmsra doctor` names the command that installs it.'
    return None
