"""Pages of the API from docstrings, read off the source: nothing is imported, so that neither torch nor OpenMMLab is needed."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring

ROOMS = {
    'apis': 'The front door',
    'autoformer': 'AutoFormer', 'soft_teacher': 'Soft Teacher', 'ftcn': 'FTCN', 'ckdn': 'CKDN', 'mcn': 'MCN', 'maskco': 'MaskCo',
    'engine': 'How a run lives', 'common': 'Bricks of two papers or more', 'errors': 'Errors', 'registry': 'Registries',
}  # fmt: skip
NAPOLEON = Config(napoleon_use_param=False, napoleon_use_rtype=False, napoleon_use_ivar=False)
MARKED = re.compile(r'(``.*?``|:\w+:`.*?`|`.*?`|(?<![\w*])\*\w[^*]*\w\*(?![\w*]))')
Definition = ast.ClassDef | ast.FunctionDef


def write_pages(package: Path, target: Path) -> None:
    """A page for each room in ``target``, and an index."""
    target.mkdir(exist_ok=True)
    for room, title in ROOMS.items():
        files = sorted((package / room).rglob('*.py')) if (package / room).is_dir() else [package / f'{room}.py']
        body = ''.join(_module(package, file) for file in files)
        _write(target / f'{room}.rst', f'{title}\n{"=" * len(title)}\n\n{body}')
    names = ''.join(f'   {room}\n' for room in ROOMS)
    _write(target / 'index.rst', f'API\n===\n\nFrom the docstrings.\n\n.. toctree::\n   :maxdepth: 1\n\n{names}')


def _write(file: Path, text: str) -> None:
    """Only what has changed, so that Sphinx does not read it again."""
    if not file.is_file() or file.read_text(encoding='utf-8') != text:
        file.write_text(text, encoding='utf-8')


def _module(package: Path, file: Path) -> str:
    parts = file.relative_to(package.parent).with_suffix('').parts
    name = '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)
    tree = ast.parse(file.read_text(encoding='utf-8'))
    public = [node for node in tree.body if isinstance(node, Definition) and _is_documented(node)]
    if not public:
        return ''
    head = f'{name}\n{"-" * len(name)}\n\n.. py:module:: {name}\n\n{_prose(tree, "")}\n'
    return head + ''.join(_definition(node, '') for node in public)


def _is_documented(node: Definition) -> bool:
    return not node.name.startswith('_') and ast.get_docstring(node) is not None


def _definition(node: Definition, indent: str) -> str:
    if isinstance(node, ast.ClassDef):
        init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == '__init__'), None)
        kind, signature = 'class', _signature(init, method=True) if init else ''
        methods = ''.join(_definition(n, indent + '   ') for n in _methods(node))
    else:
        marks = {ast.unparse(mark) for mark in node.decorator_list}
        kind = 'property' if 'property' in marks else 'method' if indent else 'function'
        signature = '' if kind == 'property' else _signature(node, method=bool(indent) and 'staticmethod' not in marks)
        methods = ''
    return f'{indent}.. py:{kind}:: {node.name}{signature}\n\n{_prose(node, indent + "   ")}\n{methods}'


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    return (n for n in node.body if isinstance(n, ast.FunctionDef) and _is_documented(n))


def _signature(node: ast.FunctionDef, method: bool) -> str:
    arguments = ast.parse(f'def f({ast.unparse(node.args)}): pass').body[0].args
    if method:
        (arguments.posonlyargs or arguments.args or [None]).pop(0)
    returns = f' -> {ast.unparse(node.returns)}' if node.returns and node.name != '__init__' else ''
    return f'({ast.unparse(arguments)}){returns}'


def _prose(node: ast.AST, indent: str) -> str:
    text = str(GoogleDocstring(_escaped(ast.get_docstring(node) or ''), NAPOLEON))
    return ''.join(f'{indent}{line}\n' if line.strip() else '\n' for line in text.splitlines())


def _escaped(text: str) -> str:
    """Formulas as they are meant: a star, a bar and an underscore behind a name are no mark-up, ``*this*`` and code are."""
    lines, literal = [], False
    for line in text.splitlines():
        if literal and line.strip() and not line.startswith('  '):
            literal = False
        kept = literal or line.lstrip().startswith(('* ', '>>>'))
        lines.append(line if kept else ''.join(map(_escaped_part, MARKED.split(line))))
        literal = literal or line.rstrip().endswith('::')
    return '\n'.join(lines)


def _escaped_part(part: str) -> str:
    return part if MARKED.fullmatch(part) else re.sub(r'([*|])|_(?=\W|$)', lambda hit: f'\\{hit[0]}', part)
