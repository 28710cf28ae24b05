"""``openmsra doctor``: what is installed, what each paper can do with it, and the command that would change that.

With names of papers it imports these, and exits with 1 where one cannot run or torch cannot use the GPU that is there.
"""

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from openmsra import __version__
from openmsra.needs import MTCNN, NEEDS, NO_OPERATORS, OPERATORS, import_fault, operators_fault
from openmsra.resources import PAPERS, resource_root

DISTRIBUTIONS = (
    'torch', 'torchvision', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmpretrain', 'mmaction2', 'numpy',
    'opencv-python-headless', 'scikit-learn', 'tensorboard', 'wandb', 'mlflow', 'onnxruntime',
)  # fmt: skip


def main(argv: list[str]) -> None:
    description, named = __doc__.split('\n\n')
    command = argparse.ArgumentParser(prog='openmsra doctor', description=description, epilog=named)
    command.add_argument('papers', nargs='*', metavar='PAPER', help=f'has to run here: {", ".join(PAPERS)}')
    chosen = command.parse_args(argv).papers
    if unknown := [paper for paper in chosen if paper not in PAPERS]:
        command.error(f'{unknown[0]} is none of the papers: {", ".join(PAPERS)}')
    fault = operators_fault()
    operators = fault is None
    lines = [*machine(), '', 'installed', *versions(fault), '', 'papers', *papers(operators)]
    print('\n'.join(lines))
    if chosen and (wrong := faults(chosen, operators)):
        sys.exit('\n'.join(f'error: {reason}' for reason in wrong))


def faults(chosen: list[str], operators: bool) -> list[str]:
    """Why the chosen papers do not run here, or not on the GPU that is there; nothing where they do."""
    import torch

    found = []
    if shutil.which('nvidia-smi') is not None and not torch.cuda.is_available():
        found.append(f'torch cannot use the GPU: {_why_no_gpu(torch.version.cuda)}')
    obstacles = {paper: _obstacle(paper, operators, importlib.util.find_spec) for paper in chosen}
    found += [f'{paper} {obstacle}' for paper, obstacle in obstacles.items() if obstacle]
    modules = {paper: f'openmsra.{paper}' for paper, obstacle in obstacles.items() if not obstacle}
    if modules and import_fault(', '.join(modules.values())):  # one process for all, where nothing is wrong
        reasons = {paper: import_fault(module) for paper, module in modules.items()}
        found += [f'{paper} does not import: {reason}' for paper, reason in reasons.items() if reason]
    return found


def machine() -> list[str]:
    """The interpreter, the processor, memory, GPUs and room for results."""
    import torch

    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    lines = [
        f'openmsra {__version__} in {Path(__file__).resolve().parents[1]}, configs in {resource_root() / "configs"}',
        f'Python {platform.python_version()} ({sys.executable}), {platform.system()} {platform.machine()}',
        f'{cores} CPU cores, {memory:.0f} GB memory, {shutil.disk_usage(".").free / 2**30:.0f} GB free in {Path.cwd()}',
        f'shared memory (/dev/shm, for data workers): {_shared_memory()}',
    ]
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(number)
            lines.append(f'GPU {number}: {facts.name}, {facts.total_memory / 2**30:.0f} GB, CUDA {torch.version.cuda}')
    else:
        lines.append(f'no GPU for torch: {_why_no_gpu(torch.version.cuda)}')
    return lines


def _shared_memory() -> str:
    if not Path('/dev/shm').is_dir():
        return 'none; set num_workers=0'
    free = shutil.disk_usage('/dev/shm').free / 2**30
    return f'{free:.1f} GB' + ('; little: docker run --shm-size 8g, or num_workers=0' if free < 0.5 else '')


def _why_no_gpu(cuda: str | None) -> str:
    if shutil.which('nvidia-smi') is None:
        return 'no NVIDIA driver on this machine; everything runs on the CPU'
    if cuda is None:
        return 'there is a driver, but this torch is a CPU build; install the CUDA build (make install does, in a fresh VENV)'
    return f'there is a driver, and torch was built for CUDA {cuda}, which it may be too old for: see nvidia-smi'


def versions(fault: str | None) -> list[str]:
    """Distribution and version of what is installed."""
    lines = []
    for name in DISTRIBUTIONS:
        try:
            lines.append(f'  {name:<24}{importlib.metadata.version(name)}')
        except importlib.metadata.PackageNotFoundError:
            lines.append(f'  {name:<24}-')
    state = 'compiled' if fault is None else f'missing ({fault}); {NO_OPERATORS}'
    return [*lines, f'  {"mmcv operators":<24}{state}']


def papers(operators: bool, find: Callable[[str], object | None] = importlib.util.find_spec) -> list[str]:
    """What each paper can do here."""
    able = {paper: 'trains and infers' + (_faces(find) if paper == 'ftcn' else '') for paper in PAPERS}
    return [f'  {paper:<14}{_obstacle(paper, operators, find) or able[paper]}' for paper in PAPERS]


def _obstacle(paper: str, operators: bool, find: Callable[[str], object | None]) -> str | None:
    """What keeps a paper from running, and the command that would change that; ``None`` where nothing does."""
    if missing := [name for name in NEEDS[paper] if name != OPERATORS and find(name) is None]:
        return f"cannot run: {', '.join(missing)} missing; pip install 'openmsra[{paper}]'"
    if OPERATORS in NEEDS[paper] and not operators:
        return f"cannot train or infer: mmcv's operators are missing; {NO_OPERATORS}"
    return None


def _faces(find: Callable[[str], object | None]) -> str:
    """How FTCN finds faces here."""
    if find('facenet_pytorch') is not None:
        return '; finds faces by MTCNN'
    return f'; finds faces by Haar cascades, without landmarks; pip install --no-deps {MTCNN} brings MTCNN'
