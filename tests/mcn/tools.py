"""Scripts of the checkout called in the process of the tests, which saves their imports."""

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def load(script: str) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(script: str, *arguments: object) -> None:
    """Run the ``main`` of a script with arguments of the command line."""
    load(script).main([str(argument) for argument in arguments])
