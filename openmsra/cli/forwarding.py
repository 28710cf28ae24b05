"""The scripts of ``tools/`` under a command's name: ``openmsra train ...`` is ``python tools/train.py ...``."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from openmsra.engine.launch import run_tool
from openmsra.resources import resource_root

COMMANDS = {'train': 'train.py', 'test': 'test.py', 'demo': 'demo.py'}
GROUPS = {
    'data': {
        'get': 'download_data.py',
        'check': 'analysis/verify_dataset.py',
        'split': 'dataset_converters/split_coco_semi.py',
        'faces': 'dataset_converters/ftcn_faces.py',
        'videos': 'dataset_converters/video_lists.py',
        'imagenet-search': 'dataset_converters/imagenet_search_split.py',
    },
}


def group(name: str) -> dict[str, str]:
    """Sub-command -> script of those that this installation has; ``analyze`` stands for all of ``tools/analysis``."""
    tools = resource_root() / 'tools'
    if name == 'analyze':
        return {path.stem.replace('_', '-'): f'analysis/{path.name}' for path in sorted((tools / 'analysis').glob('*.py'))}
    return {key: script for key, script in GROUPS[name].items() if (tools / script).is_file()}


def summary(script: str) -> str:
    """The first sentence of a script's docstring."""
    text = (resource_root() / 'tools' / script).read_text(encoding='utf-8')
    return ' '.join(re.search(r'"""(.+?)(?:"""|\n\n)', text, re.DOTALL)[1].split())


def options_of(script: str) -> list[str]:
    """``--option`` names that a script's own parser knows, read off its source."""
    text = (resource_root() / 'tools' / script).read_text(encoding='utf-8')
    if 'add_common_arguments' in text:
        text += (Path(__file__).parents[1] / 'engine' / 'launch.py').read_text(encoding='utf-8')
    return sorted({'--help', *re.findall(r"add_argument\(\s*'(--[\w-]+)'", text)})


def load_tool(script: str) -> ModuleType:
    """A script of ``tools/`` as a module; its ``main`` takes the arguments."""
    file = resource_root() / 'tools' / script
    spec = importlib.util.spec_from_file_location(f'openmsra_tool_{file.stem}', file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # worker processes look its functions up there
    spec.loader.exec_module(module)
    return module


def forward(command: str, script: str, arguments: list[str]) -> None:
    """Run a script in this process, as if it had been started under the name ``openmsra command``."""
    module = load_tool(script)
    sys.argv = [f'openmsra {command}', *arguments]
    run_tool(module.main)
