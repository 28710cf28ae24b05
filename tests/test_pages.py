"""The pages: tables are those that their commands write, links lead somewhere, commands are ones that their tools take."""

import argparse
import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from benchmarks.memory_tables import RESULT, START, page_of, with_table
from openmsra.cli import forwarding
from openmsra.cli.main import main
from openmsra.resources import PAPERS, config_files

ROOT = Path(__file__).resolve().parents[1]
PATTERNS = ('*.md', 'configs/*/README.md', 'docs/*.md', 'docker/*.md', 'requirements/*.md')
PAGES = sorted(page for pattern in PATTERNS for page in ROOT.glob(pattern))
each_page = pytest.mark.parametrize('page', PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
SHELL_ARGUMENTS = {'dist_train.sh': 2, 'dist_test.sh': 3, 'slurm_train.sh': 4}  # before those of the Python tool


@pytest.mark.parametrize('paper', sorted(json.loads(RESULT.read_text(encoding='utf-8'))['memory']))
def test_page_shows_the_measured_memory(paper):
    page = page_of(paper).read_text(encoding='utf-8')
    assert START in page
    assert with_table(page, paper) == page, 'python benchmarks/memory_tables.py'


@each_page
def test_benchmarks_that_a_page_names_find_each_other(page):
    """A script finds the modules of its own folder alone."""
    for script in set(re.findall(r'python (benchmarks/\w+\.py)', page.read_text(encoding='utf-8'))):
        text = (ROOT / script).read_text(encoding='utf-8')
        own = re.search('^from benchmarks', text, re.MULTILINE)
        assert own is None or 'sys.path.insert' in text[: own.start()], script


# --- links


@cache
def anchors(page: Path) -> set[str]:
    """Those of the headings, as GitHub and MyST make them."""
    text = re.sub(r'```.*?```', '', page.read_text(encoding='utf-8'), flags=re.DOTALL)
    headings = [re.sub(r'[`*]|\[([^]]*)\]\([^)]*\)', r'\1', heading) for heading in re.findall(r'^#+ (.*)$', text, re.MULTILINE)]
    return {re.sub(r'[^\w\- ]', '', heading.strip().lower()).replace(' ', '-') for heading in headings}


@each_page
def test_links_lead_somewhere(page):
    text = re.sub(r'```(?!\{toctree).*?```', '', page.read_text(encoding='utf-8'), flags=re.DOTALL)
    dead = []
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if re.match('https?:|mailto:', target):
            continue
        name, _, anchor = target.partition('#')
        file = (page.parent / name).resolve() if name else page
        generated = file.is_relative_to(ROOT / 'docs/api')  # by docs/conf.py
        if not generated and (not file.is_file() or anchor and anchor not in anchors(file)):
            dead.append(target)
    assert not dead


def test_every_page_is_in_the_documentation():
    index = (ROOT / 'docs/index.md').read_text(encoding='utf-8')
    listed = {line for block in re.findall(r'```\{toctree\}(.*?)```', index, re.DOTALL) for line in block.split()}
    pages = {f'/{page.relative_to(ROOT).with_suffix("").as_posix()}'.replace('/docs/', '') for page in PAGES}
    assert pages - listed == {'index'}


@pytest.mark.parametrize('paper', PAPERS)
def test_page_of_a_paper_has_what_a_newcomer_looks_for(paper):
    text = (ROOT / f'configs/{paper}/README.md').read_text(encoding='utf-8')
    start = text.index('## Three commands')
    assert '](../../docs/' in text[:start], 'a picture before the commands'
    assert '## Your own data' in text and re.search('^## Questions that users', text, re.MULTILINE)
    block = text[start : text.index('\n## ', start + 5)]
    assert [line.split()[:2] for line in block.splitlines() if line.startswith('    ')] == [
        ['openmsra', command] for command in ('train', 'test', 'infer')
    ]


# --- commands


def blocks(text: str) -> Iterator[str]:
    """Lines of shell blocks and of indented blocks; what a backslash continues is one line."""
    text = text.replace('\\\n', ' ')
    for kind, body in re.findall(r'```(\w*)\n(.*?)```', text, re.DOTALL):
        if kind in ('', 'bash', 'sh'):
            yield from body.splitlines()
    outside = re.sub(r'```.*?```', '', text, flags=re.DOTALL)
    yield from (line[4:] for line in outside.splitlines() if line.startswith('    '))


def commands(page: Path) -> list[list[str]]:
    """The words of the commands on a page, without variables before and comments behind."""
    found = []
    for line in blocks(page.read_text(encoding='utf-8')):
        if re.match(r'(?:[A-Z_]+=\S+ )*(?:openmsra|python|make|tools/\S+\.sh|pip|docker)(?= )', line):
            words = shlex.split(line, comments=True)
            while re.match('[A-Z_]+=', words[0]):
                words.pop(0)
            found.append(words)
    return found


class Parsed(BaseException):
    """The arguments were understood; nothing has been done yet."""


@pytest.fixture
def parse_only(monkeypatch):
    """Parsers raise :class:`Parsed` where they would return, the outermost of a call."""
    inside = []

    def parsing(method):
        def parse(self, *args, **kwargs):
            inside.append(method)
            try:
                result = method(self, *args, **kwargs)
            finally:
                inside.pop()
            if inside:
                return result
            if method.__name__ == 'parse_known_args':  # `infer`: what is unknown goes to the paper's tool
                script = {'ftcn': 'ftcn_video.py', 'ckdn': 'ckdn_score.py'}.get(self.prog.split()[-1])
                valid = forwarding.options_of(script) if script else []
                assert [word for word in result[1] if word.startswith('--') and word not in valid] == []
            raise Parsed

        return parse

    for name in ('parse_args', 'parse_known_args', 'parse_intermixed_args'):
        monkeypatch.setattr(argparse.ArgumentParser, name, parsing(getattr(argparse.ArgumentParser, name)))


def check(words: list[str]) -> None:
    """See that a command is one that its tool takes.

    Raises:
        AssertionError, SystemExit: it is not.
    """
    words = ['1' if word == 'N' else word for word in words]
    for word in words:
        if word.startswith('configs/') and word.endswith('.py'):
            assert (ROOT / word).is_file(), word
    head, rest = words[0], words[1:]
    if head == 'make':
        assert re.search(rf'^{rest[0]}:', (ROOT / 'Makefile').read_text(encoding='utf-8'), re.MULTILINE), rest[0]
    elif head == 'pip':
        for extras in re.findall(r'(?:^\.|^openmsra)\[(.*?)\]', ' '.join(rest[1:])):
            assert set(extras.split(',')) <= extras_of_setup() | {'PAPER'}
    elif head == 'docker':
        inner = next((place for place, word in enumerate(rest) if word.startswith(('tools/', 'openmsra ', 'make'))), None)
        if inner is not None:
            check(rest[inner:])
    elif head.endswith('.sh'):
        script = Path(head).name
        assert (ROOT / head).is_file(), head
        if '...' in rest:
            return
        own = rest[: SHELL_ARGUMENTS[script]]
        config = own[2] if script == 'slurm_train.sh' else own[0]
        tool = 'test.py' if script == 'dist_test.sh' else 'train.py'
        checkpoint = own[1:2] if script == 'dist_test.sh' else []
        run_tool(tool, [config, *checkpoint, *rest[len(own) :]])
    elif head == 'openmsra':
        named_configs(rest)
        with pytest.raises(Parsed):
            main(rest)
    elif rest[0].startswith('tools/'):
        run_tool(rest[0].removeprefix('tools/'), rest[1:])
    elif rest[0].startswith('benchmarks/'):
        text = (ROOT / rest[0]).read_text(encoding='utf-8')
        assert [word for word in rest if word.startswith('--') and f"'{word}'" not in text] == []
    else:
        assert rest[0] in ('-c', '-m'), rest


def run_tool(script: str, arguments: list[str]) -> None:
    if any(word.startswith('[') for word in arguments):  # a synopsis: its options exist
        options = set(re.findall(r'--[\w-]+', ' '.join(arguments)))
        assert options <= set(forwarding.options_of(script))
        return
    with pytest.raises(Parsed):
        forwarding.load_tool(script).main(arguments)


def named_configs(rest: list[str]) -> None:
    """Names of configs exist; words in capitals and files of the reader stand for theirs."""
    if rest[0] in ('train', 'test') and not rest[1].endswith('.py') and not rest[1].isupper():
        assert rest[1] in config_files(), rest[1]


@cache
def extras_of_setup() -> set[str]:
    tree = ast.parse((ROOT / 'setup.py').read_text(encoding='utf-8'))
    [extras] = [node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'EXTRAS']
    return {ast.literal_eval(key) for key in extras.keys}


@each_page
def test_commands_are_ones_that_their_tools_take(page, parse_only, capsys):
    for words in commands(page):
        try:
            check(words)
        except SystemExit:
            pytest.fail(f'{shlex.join(words)}\n{capsys.readouterr().err}')
        except AssertionError as error:
            pytest.fail(f'{shlex.join(words)}\n{error}')


def test_commands_are_found_and_faults_in_them_too(tmp_path, parse_only, capsys):
    assert sum(len(commands(page)) for page in PAGES) > 100
    (tmp_path / 'a.md').write_text(
        'Say\n\n    A=1 openmsra train \\\n        CONFIG --seed 3   # so\n\n```bash\nmake demo\n```\n', encoding='utf-8'
    )
    assert commands(tmp_path / 'a.md') == [['make', 'demo'], ['openmsra', 'train', 'CONFIG', '--seed', '3']]
    for line in (
        'make dmeo', 'openmsra train maskco_none', 'openmsra train CONFIG --sede 3', 'openmsra infer ckdn a/ --weights w',
        'openmsra infer ckdn a/ --weights w --degraded b/ --mpas', 'openmsra new mcn --vidoes clips/',
        'python tools/test.py CONFIG',
        'python tools/ckdn_score.py w --restored a', 'tools/dist_train.sh configs/none.py 8', "pip install 'openmsra[ap]'",
        'python benchmarks/claims.py ckdn --sedes 3', 'python tools/train.py CONFIG [--rseume]',
    ):  # fmt: skip
        with pytest.raises((AssertionError, SystemExit, KeyError, pytest.fail.Exception)):
            check(shlex.split(line))
