"""Rules for whatever users bring: each walks all inferencers, readers and tools."""

import ast
import importlib.util
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
    'cv2.imdecode': {'openmsra/ftcn/data/clips.py', 'openmsra/ftcn/data/perturb.py'},  # JPEG in memory
    'mmcv.imread': set(),
    'cv2.VideoCapture': {'openmsra/common/video.py', 'openmsra/ftcn/report.py', 'openmsra/miniatures/forgeries.py'},
    'av.open': {'openmsra/common/video.py', 'openmsra/ftcn/data/perturb.py'},  # the latter: H.264 in memory
    'decord.VideoReader': {'openmsra/common/video.py'},
    'cv2.imwrite': {'openmsra/ftcn/faces/prepare.py', 'openmsra/miniatures/shape_scenes.py'},  # checked; a miniature
    'cv2.VideoWriter': {'openmsra/ftcn/report.py'},  # counts what it has written
}
WRITTEN_BY_US = {  # readers of files that openmsra itself has written, or of its own source
    'openmsra/engine/config/check.py', 'openmsra/suggest.py', 'openmsra/ftcn/faces/prepare.py',
    'openmsra/autoformer/search/journal.py',
    'openmsra/engine/checkpoint/hook.py', 'openmsra/engine/checkpoint/files.py',
    'tools/demo.py', 'tools/analysis/autoformer_ranking.py',
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
        and 'Image' not in called
    }
    readers = {file for file in readers if not file.startswith('openmsra/miniatures')}
    allowed = {'openmsra/common/annotations.py', *WRITTEN_BY_US, *ONLY_IN['av.open'], 'openmsra/common/images.py'}
    assert readers <= allowed | {'openmsra/ckdn/data/degrade.py'}, (
        'texts of users may begin with a byte-order mark: take common.annotations.read_text'
    )


def _mode(node: ast.Call) -> str | None:
    """Of an ``open``; ``None`` where it is no text of a user."""
    arguments = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == 'mode')]
    words = [value.value for value in arguments if isinstance(value, ast.Constant) and isinstance(value.value, str)]
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


TOOLS_WITH_OUT = {  # tool -> arguments that name inputs which do not exist and an output that cannot be
    'analysis.autoformer_ranking': ['none.csv', '--out', 'OUT/ranking'],
    'analysis.browse_ssod': ['none.py', '--out', 'OUT'],
    'analysis.ckdn_loss_example': ['none.pth', '--out', 'OUT'],
    'analysis.ftcn_calibrate': ['none.json', 'none.txt', '--out', 'OUT/calibration.json'],
    'analysis.ftcn_example': ['none.py', 'none.pth', 'OUT'],
    'analysis.maskco_predictions': ['none.py', 'none.pth', 'OUT/a.png'],
    'analysis.maskco_views': ['none.py', 'OUT/a.png'],
    'analysis.mcn_activation': ['none.py', 'none.pth', 'none.mp4', '--out', 'OUT/a.png'],
    'analysis.mcn_retrieval': ['none.npz', '--out', 'OUT'],
    'analysis.verify_dataset': ['none.py', '--out', 'OUT/list.txt'],
    'ckdn_score': ['none.pth', '--restored', 'a', '--degraded', 'b', '--out', 'OUT'],
    'dataset_converters.image_sizes': ['none', '--out', 'OUT/list.txt'],
    'dataset_converters.split_coco_semi': ['none.json', '--out', 'OUT'],
    'ftcn_video': ['none.pth', 'none.mp4', '--out', 'OUT'],
    'maskco_embed': ['none.py', 'none.pth', 'none', 'OUT/a.npz'],
    'mcn_embed': ['none.py', 'none.pth', 'none.mp4', '--out', 'OUT/a.npz'],
    'model_converters.autoformer_export': ['none.py', 'none.pth', 'none.json', 'OUT/a.pth'],
    'model_converters.autoformer_from_cream': ['none.pth', 'OUT/a.pth', '--space', 'tiny'],
    'model_converters.ckdn_export': ['none.pth', 'OUT/a.onnx'],
    'model_converters.ckdn_from_official': ['none.pth', 'OUT/a.pth'],
    'model_converters.ftcn_from_official': ['none.pth', 'OUT/a.pth'],
    'model_converters.maskco_export': ['none.pth', 'OUT/a.pth'],
    'model_converters.maskco_from_mmpretrain': ['none.pth', 'OUT/a.pth'],
    'model_converters.mcn_export': ['none.py', 'none.pth', 'OUT/a.pth'],
    'model_converters.soft_teacher_from_official': ['none.pth', 'OUT/a.pth'],
}  # fmt: skip
WITHOUT = {  # no output, inputs that must be there to know it, or a training
    'demo', 'train', 'test', 'mcn_splits', 'analysis.ftcn_robustness', 'dataset_converters.ftcn_faces',
    'dataset_converters.imagenet_search_split', 'dataset_converters.video_lists',
}  # fmt: skip


def load_tool(name: str):
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location('walked', ROOT / 'tools' / f'{name.replace(".", "/")}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_tool_is_walked():
    every = {'.'.join(file.relative_to(ROOT / 'tools').with_suffix('').parts) for file in (ROOT / 'tools').rglob('*.py')}
    assert every == TOOLS_WITH_OUT.keys() | WITHOUT


@pytest.mark.parametrize('tool', TOOLS_WITH_OUT)
def test_outputs_are_checked_before_the_inputs_are_even_looked_at(tool, tmp_path, monkeypatch):
    """The inputs do not exist, and yet it is the output that is complained of: it was looked at first."""
    (tmp_path / 'file').touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match='file/deeper.*no folder for results'):
        load_tool(tool).main([argument.replace('OUT', str(tmp_path / 'file' / 'deeper')) for argument in TOOLS_WITH_OUT[tool]])
