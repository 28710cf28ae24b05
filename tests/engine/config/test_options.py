"""Values of ``--cfg-options`` arrive as they were written."""

import argparse
import ast
from pathlib import Path

import pytest

from openmsra.engine.config.files import load_config
from openmsra.engine.config.options import OptionAction, parse_value
from openmsra.errors import ConfigError

INSTANT = 'configs/autoformer/autoformer_supernet_1xb32-2e_digits_instant.py'
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('my photos', 'my photos'),
        ('a, b and c', 'a, b and c'),
        ('data/a,b.json', 'data/a,b.json'),
        (' leading', ' leading'),
        ('x=1', 'x=1'),
        ('', ''),
        ("it's", "it's"),
        ('3', 3),
        ('-3', -3),
        ('007', 7),
        ('1e-4', 1e-4),
        ('.5', 0.5),
        ('1e', '1e'),
        ('nan', 'nan'),
        ('true', True),
        ('False', False),
        ('None', None),
        ("'3'", '3'),
        ('"my photos"', 'my photos'),
        ('1,2', [1, 2]),
        ('[1,2]', [1, 2]),
        ('[a, b c]', ['a', 'b c']),
        ("['a,b', c]", ['a,b', 'c']),
        ('(1, 2)', (1, 2)),
        ('(1,)', (1,)),
        ('[(1, 2), [a], {b: 3}]', [(1, 2), ['a'], dict(b=3)]),
        ('[]', []),
        ('[true, None]', [True, None]),
        ("{'type': 'A', 'b': [1]}", dict(type='A', b=[1])),
        ('dict(type=A, b=dict(c=2.5))', dict(type='A', b=dict(c=2.5))),
        ('C:\\data', 'C:\\data'),
        ('https://host/a?b=1,c=2', 'https://host/a?b=1,c=2'),
    ],
)
def test_value_is_what_was_written(text, value):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction)
    options = parser.parse_args(['--cfg-options', f'a.b={text}', 'c=1']).cfg_options
    assert options == {'a.b': value, 'c': 1} and type(options['a.b']) is type(value)


@pytest.mark.parametrize('value', [0, -1.5, 1e300, True, None, 'text', 'a, b', '3', [1, 'x y'], (1, 2), dict(a=[dict(b='c, d')])])
def test_what_python_writes_comes_back(value):
    assert parse_value(repr(value)) == value


@pytest.mark.parametrize('text', ['[1, 2', '[1, (2]', "['a]", '{a}'])
def test_brackets_that_are_not_closed_are_named(text):
    with pytest.raises(ConfigError):
        parse_value(text)


def test_text_for_a_list_is_refused_with_the_list_to_write():
    with pytest.raises(ConfigError, match=r"""write val_cfg.subnets="\['largest', 'smallest'\]"."""):
        load_config(INSTANT, {'val_cfg.subnets': 'largest,smallest'})


def test_no_tool_rewrites_values():
    """mmengine's action is used nowhere."""
    for path in (*ROOT.glob('openmsra/**/*.py'), *ROOT.glob('tools/**/*.py'), *ROOT.glob('benchmarks/*.py')):
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert 'DictAction' not in names, path
