"""Every config is parsed, checked and built; the instant ones run through the real tools."""

import ast
import json
import re
from pathlib import Path

import pytest

from openmsra.apis import init_model, list_models
from openmsra.engine.config.check import config_chain
from openmsra.engine.config.files import load_config

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(ROOT.glob('configs/*/*.py'))
LEAVES = [path for path in CONFIGS if not path.name.startswith('_') and path.parent.name != '_base_']
PAPERS = sorted({path.parent.name for path in LEAVES})
INSTANT = [path for path in LEAVES if path.stem.endswith('_instant')]
NEEDS_OPERATORS = {'soft_teacher'}
name = pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)


def _marked(paths: list[Path]) -> list:
    return [
        pytest.param(path, id=path.stem, marks=pytest.mark.full if path.parent.name in NEEDS_OPERATORS else ()) for path in paths
    ]


@name
def test_name_follows_the_grammar(path):
    """{algorithm}_{model}_{gpus}xb{batch}-{schedule}_{data}, with _mini or _instant behind it."""
    assert re.fullmatch(r'[a-z0-9-]+_[a-z0-9-]+_(\w+-)?\d+xb\d+[-\w]*', path.stem), path.stem


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config_is_data_and_at_most_two_deep(path):
    tree = ast.parse(path.read_text(encoding='utf-8'))
    kinds = {type(node).__name__ for node in tree.body}
    assert kinds <= {'Assign', 'Expr'}, f'{path} is more than data: {kinds}'
    assert _depth(path) <= 2, f'{path} inherits more than two deep'


def _depth(path: Path) -> int:
    chain = config_chain(path)
    bases = [base for base in chain[1:] if base in _direct_bases(path)]
    return 1 + max(map(_depth, bases)) if bases else 0


def _direct_bases(path: Path) -> list[Path]:
    from mmengine.config import Config

    return [(path.parent / base).resolve() for base in Config._get_base_files(str(path))]


@pytest.fixture(scope='module')
def built() -> set[str]:
    """Networks that have been built, as text."""
    return set()


@pytest.mark.parametrize('path', _marked(LEAVES))
def test_config_is_checked_and_its_model_builds(path, built):
    cfg = load_config(path)
    assert cfg.default_scope == 'openmsra'
    package, *miniatures = cfg.custom_imports.imports
    assert package == f'openmsra.{path.parent.name}'
    toy = path.stem.endswith(('_mini', '_instant'))
    assert all(toy and name.startswith('openmsra.miniatures.') for name in miniatures)
    if cfg.model.get('pretrained'):  # a file that users bring
        cfg.model.pretrained = None
    if cfg.model.type == 'CKDN':
        cfg.model.imagenet_weights = None
    _drop_downloads(cfg.model)
    network = json.dumps(cfg.model.to_dict(), default=str, sort_keys=True)
    if network not in built:  # of configs with the same network it is built once
        assert sum(parameter.numel() for parameter in init_model(cfg).parameters()) > 0
        built.add(network)
    assert 'base_batch_size' in cfg.get('auto_scale_lr', {}) or 'optim_wrapper' not in cfg


def _drop_downloads(part: dict) -> None:
    """Weights of a model zoo belong to a training, not to a test."""
    if part.get('init_cfg') and part['init_cfg'].get('type') == 'Pretrained':
        part['init_cfg'] = None
    for child in part.values():
        if isinstance(child, dict):
            _drop_downloads(child)


def test_figures_of_trainings_in_iterations_are_logged_by_iteration():
    """mmengine logs them by epoch, which is 0 all along: curves of one point."""
    from mmengine.config import Config

    careless = []
    for path in LEAVES:
        cfg = Config.fromfile(path, import_custom_modules=False)
        iterations = cfg.get('val_cfg') is not None and cfg.get('train_cfg', {}).get('by_epoch') is False
        if iterations and cfg.default_hooks.logger.get('log_metric_by_epoch', True):
            careless.append(path.stem)
    assert not careless


@pytest.mark.parametrize('paper', PAPERS)
def test_paper_has_its_page_and_three_sizes(paper):
    stems = [path.stem for path in LEAVES if path.parent.name == paper]
    assert any(stem.endswith('_mini') for stem in stems)
    assert any(stem.endswith('_instant') for stem in stems)
    assert any(not stem.endswith(('_mini', '_instant')) for stem in stems)
    for file in ('README.md', 'metafile.yml'):
        assert (ROOT / 'configs' / paper / file).is_file()


def test_list_models_knows_every_config():
    assert list_models() == sorted(path.stem for path in LEAVES)
    assert list_models('*_instant') == sorted(path.stem for path in INSTANT)


@pytest.mark.parametrize('path', _marked(INSTANT))
def test_instant_config_trains_and_tests(path, run_tool, tmp_path):
    run_tool('tools/train.py', path.relative_to(ROOT), '--work-dir', tmp_path)
    checkpoint = (tmp_path / 'last_checkpoint').read_text().strip()
    done = run_tool('tools/test.py', path.relative_to(ROOT), checkpoint, '--work-dir', tmp_path / 'test')
    assert list((tmp_path / 'test').glob('*/*.json')), done.stdout
