"""Run the demonstrations, several at a time, and write the page; what fails is told by its section."""

import importlib
import os
import platform
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from openmsra.demo.page import Section, render
from openmsra.demo.stage import Stage, StepError
from openmsra.needs import operators_fault
from openmsra.resources import PAPERS

# the longest first, so that those that run side by side end together
ORDER = ('soft_teacher', 'maskco', 'mcn', 'autoformer', 'ftcn', 'ckdn')
NO_OPERATORS = (
    "Not run: it needs mmcv's compiled operators, which this environment does not have. `make install-full` compiles them, once, "
    'in about 7 minutes on two cores.'
)


def demonstrate(papers: Sequence[str], folder: Path, jobs: int, report: Path) -> list[Section]:
    """Run the demonstrations of some papers below ``folder`` and write the page ``report``.

    Args:
        jobs: papers at a time.
    """
    started = time.monotonic()
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        tasks = [pool.submit(section_of, paper, folder, started) for paper in sorted(set(papers), key=ORDER.index)]
        sections = sorted((task.result() for task in tasks), key=lambda section: PAPERS.index(section.paper))
    report.write_text(render(sections, time.monotonic() - started, machine()), encoding='utf-8')
    return sections


def section_of(paper: str, folder: Path, started: float) -> Section:
    """Run the demonstration of a paper."""

    def say(what: str) -> None:
        sys.stdout.write(f'[{time.monotonic() - started:4.0f} s] {paper:<13}{what}\n')  # at once: others speak too
        sys.stdout.flush()

    module = importlib.import_module(f'openmsra.demo.papers.{paper}')
    section = Section(paper, module.EXHIBIT)
    if module.EXHIBIT.needs_operators and operators_fault():
        section.problem, section.skipped = NO_OPERATORS, True
        say("skipped: it needs mmcv's compiled operators")
        return section
    stage = Stage(paper, folder / paper, say)
    try:
        section.findings = module.show(stage)
        say(f'done: {section.findings.figure} {section.findings.meaning}')
    except StepError as error:
        section.problem = str(error)
    except Exception as error:  # noqa: BLE001 - a fault of one paper must not cost the page of the others
        section.problem = f'{type(error).__name__}: {error}'
    if section.failed:
        say(f'FAILED: {section.problem.splitlines()[0]} All it said: {stage.log}')
    section.commands, section.seconds = tuple(stage.commands), stage.seconds
    return section


def machine() -> str:
    """Python, torch and what they run on, in a few words."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f'{os.cpu_count()} CPU cores'
    return f'Python {platform.python_version()}, torch {torch.__version__}, {device}'


def summary(sections: list[Section]) -> str:
    """A line for each paper."""
    lines = []
    for section in sections:
        if section.findings:
            text = f'{section.findings.figure:>8}  {section.findings.meaning}'
        else:
            text = f'{"skipped" if section.skipped else "FAILED":>8}  {section.problem.splitlines()[0]}'
        lines.append(f'  {section.exhibit.name:<13}{text}')
    return '\n'.join(lines)
