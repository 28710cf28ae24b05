"""What imports what: the package itself is light, papers stand alone, the core knows no paper."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'openmsra'
PAPERS = ['autoformer', 'ckdn', 'ftcn', 'maskco', 'mcn', 'soft_teacher']
SIBLINGS = {'mmdet': {'soft_teacher'}, 'mmaction': {'ftcn', 'mcn'}, 'mmpretrain': {'autoformer', 'maskco'}}


def _imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            names |= {node.module, *(f'{node.module}.{alias.name}' for alias in node.names)}
    return names


def _papers_imported(path: Path) -> set[str]:
    return {name.split('.')[1] for name in _imports(path) if name.startswith('openmsra.')} & set(PAPERS)


def test_importing_openmsra_is_light():
    code = (
        "import sys, openmsra; heavy = [m for m in sys.modules if m.partition('.')[0] in "
        "('torch', 'mmengine', 'mmcv', 'mmdet', 'mmaction', 'mmpretrain', 'numpy')]; print(heavy, openmsra.__version__)"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.startswith('[] 0.')


@pytest.mark.parametrize('path', sorted(PACKAGE.rglob('*.py')), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_one_way_rule(path):
    room = path.relative_to(PACKAGE).parts[0]
    allowed = {room} if room in PAPERS else set()
    assert _papers_imported(path) <= allowed, f'{path} imports another paper'
    for sibling, papers in SIBLINGS.items():
        if any(name.partition('.')[0] == sibling for name in _imports(path)) and path.name != 'compat.py':
            assert room in papers, f'{path} imports {sibling}; only {sorted(papers)} may'


@pytest.mark.parametrize('paper', PAPERS)
def test_paper_imports_without_the_dependencies_of_the_others(paper):
    blocked = [sibling for sibling, papers in SIBLINGS.items() if paper not in papers]
    code = f'import sys\nfor name in {blocked}: sys.modules[name] = None\nimport openmsra.{paper}'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
