"""Fixtures that several test folders use."""

import gc
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from openmsra.needs import has_operators
from tests.tool_server import ToolServer

ROOT = Path(__file__).resolve().parents[1]
_READ_AT_START = ('PYTHON', 'LANG', 'LC_', 'LD_', 'OMP_', 'MKL_')  # by an interpreter or a library, once

_HAS_OPERATORS = has_operators()
collect_ignore = [] if _HAS_OPERATORS else ['soft_teacher']


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In a light environment, whatever is marked ``full`` and the rows of Soft Teacher are skipped."""
    for item in items if not _HAS_OPERATORS else ():
        if item.get_closest_marker('full') or re.search(r'\[.*(soft[-_]teacher|split_coco_semi).*\]', item.nodeid):
            item.add_marker(pytest.mark.skip(reason="needs mmcv's compiled operators: make install-full"))


def pytest_collection_finish() -> None:
    """What is there before the first test stays to the end: the garbage collector need not read it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _restore_default_scope():
    """Models and runners set mmengine's default scope; no test may see another's."""
    from mmengine.registry import DefaultScope

    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(scope='session')
def tool_server():
    with ToolServer() as server:
        yield server


@pytest.fixture(scope='session')
def run_tool(request, tmp_path_factory):
    """Run a script of the checkout from its root in a process of its own; returns the finished process with its output."""
    streams = tmp_path_factory.mktemp('streams')

    def run(*arguments: str | Path, check: bool = True, timeout: float = 240, **env: str) -> subprocess.CompletedProcess:
        arguments = [str(argument) for argument in arguments]
        environment = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', **env}
        environment['PYTHONPATH'] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])
        python = arguments[0].endswith('.py')
        if python and not any(key.startswith(_READ_AT_START) for key in env):
            done = request.getfixturevalue('tool_server').run(arguments, ROOT, environment, streams, timeout)
        else:
            command = [sys.executable if python else 'bash', *arguments]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout)
        if check:
            assert done.returncode == 0, f'{done.args} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}'
        return done

    return run


@pytest.fixture(scope='session')
def data_trees(tmp_path_factory) -> Path:
    """A folder with ``data/`` in it, where every config finds its data (see tests/trees.py); CIFAR's checksums are let pass."""
    from openmsra import compat
    from tests import trees

    compat.bridge_torchvision()
    import mmpretrain.datasets.cifar as cifar

    patch = pytest.MonkeyPatch()
    patch.setattr(cifar, 'check_md5', lambda *_: True)
    yield trees.plant(tmp_path_factory.mktemp('trees'))
    patch.undo()
