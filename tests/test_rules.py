"""Rules for whatever users bring: each walks all inferencers, readers and tools."""

import argparse
import ast
import importlib.util
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from openmsra.common import images, video
from openmsra.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(ROOT / 'openmsra').rglob('*.py'), *(ROOT / 'tools').rglob('*.py')])
# what is called -> the files that may
ONLY_IN = {
    'Image.open': {'openmsra/common/images.py', 'openmsra/ckdn/data/degrade.py'},  # the latter: JPEG in memory
    'cv2.imread': set(),
    # the reader, for whole JPEG files; JPEG in memory
    'cv2.imdecode': {'openmsra/common/images.py', 'openmsra/ftcn/data/clips.py', 'openmsra/ftcn/data/perturb.py'},
    'mmcv.imread': set(),
    'cv2.VideoCapture': {'openmsra/common/video.py', 'openmsra/miniatures/forgeries.py'},
    'av.open': {'openmsra/common/video.py', 'openmsra/ftcn/data/perturb.py'},  # the latter: H.264 in memory
    'decord.VideoReader': {'openmsra/common/video.py'},
    'cv2.imwrite': {'openmsra/ftcn/faces/prepare.py', 'openmsra/miniatures/shape_scenes.py'},  # checked; a miniature
    'cv2.VideoWriter': {'openmsra/common/video.py'},  # counts what it has written
}
WRITTEN_BY_US = {  # readers of files that openmsra itself has written, or of its own source
    'openmsra/engine/config/check.py', 'openmsra/suggest.py', 'openmsra/ftcn/faces/prepare.py',
    'openmsra/autoformer/search/journal.py',
    'openmsra/engine/checkpoint/hook.py', 'openmsra/engine/checkpoint/files.py',
    'openmsra/demo/stage.py', 'openmsra/demo/page.py', 'openmsra/demo/papers/autoformer.py', 'openmsra/demo/papers/ckdn.py',
    'openmsra/demo/papers/ftcn.py', 'openmsra/demo/papers/soft_teacher.py', 'tools/demo.py',
    'tools/analysis/autoformer_ranking.py',
    'openmsra/engine/runs.py', 'openmsra/engine/summary.py',
    'openmsra/cli/forwarding.py', 'openmsra/cli/inference.py', 'openmsra/cli/listing.py',
}  # fmt: skip


def _calls() -> Iterator[tuple[str, str, ast.Call]]:
    """(file, called name, call) of everything in the package and the tools."""
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call):
                yield file.relative_to(ROOT).as_posix(), ast.unparse(node.func), node


CALLS = list(_calls())


@pytest.mark.parametrize('name', ONLY_IN)
def test_one_reader_and_checked_writers(name):
    elsewhere = {file for file, called, _ in CALLS if called == name or called.endswith(f'.{name}')} - ONLY_IN[name]
    assert not elsewhere, f'{name}: take the reader or writer of openmsra.common.images or .video'


def test_one_reader_of_texts():
    readers = {
        file
        for file, called, node in CALLS
        if called.endswith('.read_text')
        or (called == 'open' or called.endswith('.open'))
        and _mode(node) == 'r'
        and called not in ('Image.open', 'tarfile.open')
    }
    readers = {file for file in readers if not file.startswith('openmsra/miniatures')}
    allowed = {'openmsra/common/annotations.py', *WRITTEN_BY_US, *ONLY_IN['av.open'], 'openmsra/common/images.py'}
    assert readers <= allowed | {'openmsra/ckdn/data/degrade.py'}, (
        'texts of users may begin with a byte-order mark: take common.annotations.read_text'
    )


def _mode(node: ast.Call) -> str | None:
    """Of an ``open``; ``None`` where it is no text of a user."""
    arguments = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == 'mode')]
    values = [value for argument in arguments for value in ast.walk(argument)]
    words = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    modes = [word for word in words if word and set(word) <= set('rwabx+t')]
    mode = (modes or ['r'])[-1]
    return mode if 'b' not in mode else None


def test_no_text_depends_on_the_locale():
    careless = [
        f'{file}:{node.lineno}'
        for file, called, node in CALLS
        if called.rpartition('.')[2] in ('read_text', 'write_text', 'open')
        and called.split('.')[0] not in ('av', 'Image', 'os', 'webbrowser', 'tarfile', 'zipfile')
        and called not in ('read_text',)
        and (called != 'open' and not called.endswith('.open') or _mode(node) is not None)
        and not any(keyword.arg == 'encoding' for keyword in node.keywords)
    ]
    careless = [place for place in careless if not place.startswith('openmsra/miniatures')]
    assert not careless, 'give encoding="utf-8"'


def test_one_list_of_suffixes():
    """Whatever counts as an image or a video counts as one everywhere: no second list, in any spelling."""
    own = {'openmsra/common/images.py', 'openmsra/common/video.py'}
    lists = []
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                words = {
                    item.value.lower().lstrip('*')
                    for item in node.elts
                    if isinstance(item, ast.Constant) and isinstance(item.value, str)
                }
                if len(words & {*images.SUFFIXES, *video.SUFFIXES}) > 1:
                    lists.append(file.relative_to(ROOT).as_posix())
    assert set(lists) <= own


def test_suffix_lists_are_lower_case_and_apart():
    for suffixes in (images.SUFFIXES, video.SUFFIXES):
        assert all(suffix == suffix.lower() and suffix.startswith('.') for suffix in suffixes)
        assert len(set(suffixes)) == len(suffixes)
    assert not set(images.SUFFIXES) & set(video.SUFFIXES)


TOOLS = ['.'.join(file.relative_to(ROOT / 'tools').with_suffix('').parts) for file in sorted((ROOT / 'tools').rglob('*.py'))]
CONFIG_FIRST = {'train', 'test'}  # the config may name the folder; tests/test_tools.py holds them to the rule
IN_STEPS = {'demo'}  # calls those
PRINT = {'analysis.get_flops', 'analysis.print_config'}  # write nothing
RESULTS = {'out', 'target', 'work_dir'}  # what an argument for results is called in every tool
ENDINGS = ('', '.npz', '.pth', '.png', '.json', '.pt', '.pkl')  # a tool may ask for one


def load_tool(name: str):
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location('walked', ROOT / 'tools' / f'{name.replace(".", "/")}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def impossible_arguments(parser: argparse.ArgumentParser, results: str) -> list[str]:
    """A command line of inputs that do not exist and of results where there can be none.

    Args:
        results: what each argument that names results gets.
    """
    arguments = []
    for action in parser._actions:
        if action.dest == 'help' or not (action.required or not action.option_strings or action.dest in RESULTS):
            continue
        stand_in = action.choices[0] if isinstance(action.choices, list | tuple) else '1' if action.type is int else 'none'
        arguments += [*action.option_strings[-1:], results if action.dest in RESULTS else stand_in]
    return arguments


@pytest.mark.parametrize('tool', sorted(set(TOOLS) - CONFIG_FIRST - IN_STEPS - PRINT))
def test_outputs_are_checked_before_the_inputs_are_even_looked_at(tool, tmp_path, monkeypatch):
    """The inputs do not exist, and yet it is the output that is complained of: it was looked at first.

    The arguments follow from the tool's parser, so that a new tool is walked too. One that names its results otherwise ends in
    another sentence, and fails here.
    """
    (tmp_path / 'file').touch()
    monkeypatch.chdir(tmp_path)
    parse, messages = argparse.ArgumentParser.parse_known_args, []

    def filled(parser, args=None, namespace=None):
        return parse(parser, impossible_arguments(parser, f'{tmp_path}/file/deeper/results{ending}'), namespace)

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_known_args', filled)
    monkeypatch.setattr(argparse.ArgumentParser, 'parse_intermixed_args', lambda parser, args=None: filled(parser)[0])
    for ending in ENDINGS:  # noqa: B007 - read by filled
        with pytest.raises(UserError) as error:
            load_tool(tool).main([])
        messages.append(str(error.value))
        if 'must end in' not in messages[-1]:
            break
    assert re.search('file/deeper.*no folder for results', messages[-1]), messages


TELLS = {'left_out', 'ToolError', 'VideoError', 'DataError'}  # ways to exit code 2 behind the results of the others
ONE_INPUT = {'tools/analysis/ftcn_example.py'}


def test_tools_of_many_inputs_tell_by_their_exit_code():
    """Whatever runs an inferencer over a folder ends with exit code 2 where an input was left out."""
    runs = {file for file, called, _ in CALLS if file.startswith('tools/') and called.endswith('Inferencer')} - ONE_INPUT
    tell = {file for file, called, _ in CALLS if called in TELLS}
    assert runs and runs <= tell


@pytest.mark.full
def test_every_inferencer_has_the_shared_loop():
    """Of whatever inferencer an instant config names: one bad input is a row, results are written as they come."""
    from openmsra.apis import list_models
    from openmsra.ckdn.inferencer import CKDNInferencer  # pairs, a row for each; tests/ckdn/test_score_tool.py
    from openmsra.engine.config.files import as_config
    from openmsra.engine.inferencer import Inferencer
    from openmsra.ftcn.inferencer import FTCNInferencer  # one video; the rows are the tool's: tests/ftcn/test_inferencer.py
    from openmsra.registry import INFERENCERS

    names = list_models('*_instant')
    kinds = {name: INFERENCERS.get(as_config(name).inferencer.type) for name in names}
    assert len(kinds) >= 6
    for name, kind in kinds.items():
        assert kind in (CKDNInferencer, FTCNInferencer) or issubclass(kind, Inferencer), name
        assert kind._run is Inferencer._run if issubclass(kind, Inferencer) else True, name


def test_scripts_find_their_folder_through_a_link(tmp_path):
    """``~/bin/dist_train.sh -> .../tools/dist_train.sh``, called from anywhere; with echo in the place of Python."""
    for script in (ROOT / 'tools').glob('*.sh'):
        (tmp_path / script.name).symlink_to(script)
    (tmp_path / 'torchrun.sh').unlink()
    for kind, arguments in dict(train=('config.py', '2'), test=('config.py', 'weights.pth', '2')).items():
        command = ['bash', tmp_path / f'dist_{kind}.sh', *arguments]
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, 'PYTHON': 'echo'}, capture_output=True, text=True)
        assert f' {ROOT}/tools/{kind}.py config.py' in done.stdout, done.stderr
    for script in (*ROOT.glob('*/*.sh'), ROOT / '.ci/run'):
        assert 'dirname "$0"' not in script.read_text(encoding='utf-8'), script
    unresolved = [
        f'{file.relative_to(ROOT)}: {line.strip()}'
        for file in SOURCES
        for line in file.read_text(encoding='utf-8').splitlines()
        if 'Path(__file__)' in line and 'Path(__file__).resolve()' not in line
    ]
    assert not [line for line in unresolved if line.startswith('tools')], 'parents of a link lead elsewhere'
