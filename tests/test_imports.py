"""What imports what: the package itself is light, papers stand alone, arrows between the rooms run down only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'openmsra'
PAPERS = {'autoformer', 'ckdn', 'ftcn', 'maskco', 'mcn', 'soft_teacher'}
FOUNDATION = {'compat', 'errors', 'registry', 'needs', 'resources', 'suggest'}
# which rooms a room may import, itself aside; the arrows of ARCHITECTURE.md
ARROWS = {
    'errors': set(),
    'needs': {'errors'},
    'resources': {'errors'},
    'compat': {'resources'},
    'suggest': set(),
    'registry': {'suggest'},
    'common': FOUNDATION,
    'engine': FOUNDATION,
    **{paper: FOUNDATION | {'common', 'engine'} for paper in PAPERS},
    'miniatures': FOUNDATION | {'common', 'engine'} | PAPERS,
    'apis': FOUNDATION | {'common', 'engine'},
    'demo': FOUNDATION | {'common', 'engine', 'miniatures'} | PAPERS,
    'cli': FOUNDATION | {'apis', 'common', 'engine'} | PAPERS,
    '__main__': {'cli'},
}
SIBLINGS = {'mmdet': {'soft_teacher'}, 'mmaction': {'ftcn', 'mcn'}, 'mmpretrain': {'autoformer', 'maskco'}}
MODULES = sorted(path for path in PACKAGE.rglob('*.py') if path != PACKAGE / '__init__.py')
each_module = pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))


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


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix('').parts[0]


def _rooms_imported(path: Path) -> set[str]:
    """Rooms and top modules of openmsra that a file imports."""
    return {name.split('.')[1] for name in _imports(path) if name.startswith('openmsra.')} - {'__version__'}


def test_importing_openmsra_is_light():
    code = (
        "import sys, openmsra; heavy = [m for m in sys.modules if m.partition('.')[0] in "
        "('torch', 'mmengine', 'mmcv', 'mmdet', 'mmaction', 'mmpretrain', 'numpy')]; print(heavy, openmsra.__version__)"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.startswith('[] 0.')


def test_every_room_has_its_arrows():
    rooms = {_room(path) for path in MODULES}
    assert rooms == set(ARROWS), 'a new room: draw its arrows here and in ARCHITECTURE.md'


@each_module
def test_arrows_run_down(path):
    room = _room(path)
    above = _rooms_imported(path) - ARROWS[room] - {room}
    assert not above, f'{path} imports {sorted(above)}; {room} may import {sorted(ARROWS[room])}'


@each_module
def test_sibling_libraries_stay_in_their_papers(path):
    if path.name == 'compat.py':
        return
    for sibling, papers in SIBLINGS.items():
        if any(name.partition('.')[0] == sibling for name in _imports(path)):
            assert _room(path) in papers, f'{path} imports {sibling}; only {sorted(papers)} may'


@pytest.mark.parametrize('folder', ['openmsra', 'tools'])
def test_nothing_but_configs_names_miniatures(folder):
    """Their own room, the demonstration, and the tools that show a paper on its miniature, aside."""
    for path in sorted((ROOT / folder).rglob('*.py')):
        if path.is_relative_to(PACKAGE / 'miniatures') or path.is_relative_to(PACKAGE / 'demo') or path.stem.endswith('_example'):
            continue
        assert not any(name.startswith('openmsra.miniatures') for name in _imports(path)), f'{path} imports miniatures'


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').rglob('*.py')), ids=lambda path: path.stem)
def test_configs_of_published_sizes_name_no_miniature(path):
    if not path.stem.startswith('_') and not path.stem.endswith(('_mini', '_instant', '_shapes')):
        assert 'openmsra.miniatures' not in path.read_text(encoding='utf-8')


@pytest.mark.parametrize('paper', sorted(PAPERS))
def test_what_importing_a_paper_brings(paper):
    """It needs no dependency of the others and no miniature; two need no library of reports and figures either."""
    absent = [sibling for sibling, papers in SIBLINGS.items() if paper not in papers]
    unwanted = [
        'openmsra.miniatures',
        *(('matplotlib', 'pandas', 'scipy', 'skimage', 'sklearn') if paper in ('ckdn', 'ftcn') else ()),
    ]
    code = (
        f'import sys\nfor name in {absent}: sys.modules[name] = None\nimport openmsra.{paper}\n'
        f'print([name for name in sys.modules if name.startswith({tuple(unwanted)})])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == '[]'
