"""``pip install .[paper]`` installs what the modules of a paper import, those inside functions and in its miniatures too."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[1]
PAPERS = ('autoformer', 'ckdn', 'ftcn', 'maskco', 'mcn', 'soft_teacher')
# distribution of a top-level module whose name it does not bear; pillow comes with torchvision
DISTRIBUTION = dict(
    cv2='opencv-python-headless',
    sklearn='scikit-learn',
    skimage='scikit-image',
    PIL='torchvision',
    mmengine='onedl-mmengine',
    mmcv='onedl-mmcv',
    mmdet='onedl-mmdetection',
    mmpretrain='onedl-mmpretrain',
    mmaction='mmaction2',
    skvideo='scikit-video',
    yaml='pyyaml',
)
# with an error that names the package to install, as the commands of the export need it
NAMED_WHEN_MISSING = {'onnx', 'onnxruntime', 'onnxscript', 'fvcore'}


def _path(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split('.'))
    return next((file for file in (path.with_suffix('.py'), path / '__init__.py') if file.is_file()), None)


@cache
def _imported(path: Path) -> frozenset[str]:
    """Dotted names that a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f'{node.module}.{alias.name}' for alias in node.names)}
    return frozenset(names)


def _foreign(paper: str) -> dict[str, str]:
    """Top-level module -> one file that imports it, of all that is reached from a paper's modules, configs and tools."""
    waiting = [*(ROOT / 'openmsra' / paper).rglob('*.py'), *ROOT.glob(f'tools/**/{paper}_*.py')]
    for config in (ROOT / 'configs' / paper).glob('*.py'):  # those of maskco/detection are for mmdet, as its page says
        if not config.name.startswith('_'):
            imports = Config.fromfile(config, import_custom_modules=False).get('custom_imports', {}).get('imports', [])
            waiting += filter(None, map(_path, imports))
    seen, foreign = set(), {}
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in _imported(path):
            if name.startswith('openmsra'):
                waiting += filter(None, [_path(name)])
            else:
                foreign.setdefault(name.partition('.')[0], str(path.relative_to(ROOT)))
    return foreign


def _installed(paper: str) -> set[str]:
    """Names of the distributions that ``pip install .[paper]`` asks for."""
    given = {}
    text = (ROOT / 'setup.py').read_text(encoding='utf-8').replace('from setuptools import find_packages, setup\n', '')
    names = dict(__file__=str(ROOT / 'setup.py'), setup=given.update, find_packages=lambda **_: [])
    exec(compile(text, 'setup.py', 'exec'), names)  # noqa: S102
    wanted = [*given['install_requires'], *given['extras_require'][paper]]
    return {re.match(r'[\w.-]+', requirement)[0].lower() for requirement in wanted}


@pytest.mark.parametrize('paper', PAPERS)
def test_extra_of_a_paper_installs_what_it_imports(paper):
    installed = _installed(paper)
    missing = {
        f'{module} ({file})'
        for module, file in _foreign(paper).items()
        if module not in sys.stdlib_module_names | NAMED_WHEN_MISSING
        and DISTRIBUTION.get(module, module).lower() not in installed
        and module not in ('tools', 'benchmarks', 'tests')
    }
    assert not missing, f"setup.py, extras_require['{paper}'] lacks them"
