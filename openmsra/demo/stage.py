"""What a paper's demonstration runs on, and what comes of it."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from openmsra.engine.runs import Run, read_run

TAIL = 12  # lines of a failed command that are shown


class StepError(Exception):
    """A command of the demonstration has failed; the message is what it said last."""


@dataclass
class Picture:
    """A picture for the page.

    Attributes:
        data: the encoded file.
        kind: its media type.
        alt: what is to be seen, for whoever cannot see it.
        caption: what it means.
    """

    data: bytes
    kind: str
    alt: str
    caption: str


@dataclass
class Findings:
    """What a demonstration has shown.

    Attributes:
        figure: the number with its unit, as it is printed.
        meaning: what the number says, half a sentence.
        compared: what it is to be compared with.
        chart: an SVG element.
        chart_caption: what the curve shows.
        pictures: for a layman.
        remark: what may and what may not be concluded.
    """

    figure: str
    meaning: str
    compared: str
    chart: str
    chart_caption: str
    pictures: list[Picture]
    remark: str


@dataclass
class Stage:
    """Runs ``openmsra ...`` for a paper, one command after the other.

    Attributes:
        paper: its package.
        folder: for all that the commands write.
        say: prints a line for the user.
        commands: the command lines so far, as a user would type them.
    """

    paper: str
    folder: Path
    say: Callable[[str], None]
    commands: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / 'log.txt'
        self.log.write_text('', encoding='utf-8')

    def run(self, what: str, *arguments: str | Path) -> None:
        """Run a command of ``openmsra``; its output goes to ``log.txt``.

        Args:
            what: is done, for the user.
            arguments: behind ``openmsra``; paths are shown relative to the current folder.

        Raises:
            StepError: the command has failed.
        """
        words = [short(item) for item in arguments]
        self.commands.append(' '.join(['openmsra', *map(_quoted, words)]))
        self.say(what)
        environment = dict(os.environ, PYTHONWARNINGS='ignore', OMP_NUM_THREADS=os.environ.get('OMP_NUM_THREADS', '1'))
        with self.log.open('a', encoding='utf-8') as log:
            log.write(f'\n$ {self.commands[-1]}\n')
            log.flush()
            done = subprocess.run(
                [sys.executable, '-m', 'openmsra', *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        if done.returncode:
            text = self.log.read_text(encoding='utf-8', errors='replace').rpartition('\n$ ')[2]
            lines = [line for line in text.splitlines()[1:] if line.strip()]
            raise StepError(
                f'`{self.commands[-1]}` ended with exit code {done.returncode}. It said last:\n' + '\n'.join(lines[-TAIL:])
            )

    def train(self, config: str, what: str) -> tuple[Run, Path]:
        """Train afresh; returns what the run has logged and its last checkpoint."""
        work_dir = self.folder / 'train'
        _remove_runs(work_dir)
        self.run(what, 'train', config, '--work-dir', work_dir)
        return read_run(work_dir), Path((work_dir / 'last_checkpoint').read_text(encoding='utf-8').strip())

    def test(self, config: str, checkpoint: Path, *arguments: str | Path, what: str) -> dict[str, float]:
        """Test a checkpoint; returns the figures."""
        work_dir = self.folder / 'test'
        _remove_runs(work_dir)
        self.run(what, 'test', config, checkpoint, '--work-dir', work_dir, *arguments)
        return read_test(work_dir)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


def read_test(work_dir: Path) -> dict[str, float]:
    """What the newest run of ``openmsra test`` below ``work_dir`` has measured."""
    newest = max(path for path in work_dir.glob('*/*.json') if path.name != 'results.json')
    return json.loads(newest.read_text(encoding='utf-8').splitlines()[-1])


def short(item: str | Path) -> str:
    """A path relative to the current folder, where it lies in it; other words as they are."""
    if not isinstance(item, Path):
        return item
    path = item.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _quoted(word: str) -> str:
    """For a shell; in double quotes where that is easier to read."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def _remove_runs(folder: Path) -> None:
    """What an earlier demonstration has left: its curves would be mixed with the new ones."""
    shutil.rmtree(folder, ignore_errors=True)
