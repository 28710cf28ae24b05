"""The one way in which benchmarks train: tools/train.py as a user starts it, one thread a run, finished runs are not repeated."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from openmsra.engine.config.check import runner_keys
from openmsra.engine.model import init_model
from openmsra.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
_building = Lock()
WITHOUT_EFFECT = ('PROCESSES', 'THRESHOLDS', 'LONGER')  # settings of an experiment that no kept figure depends on


class Training(NamedTuple):
    """A run of tools/train.py.

    ``config`` is a config file (relative to the checkout) or a config, which is written into the work dir; ``options`` are
    ``--cfg-options`` by dotted key.
    """

    config: str | Path | Config
    work_dir: Path
    seed: int
    options: dict[str, object] = {}

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint; mmengine writes down where it was, but a run may have been moved."""
        written = Path((self.work_dir / 'last_checkpoint').read_text().strip())
        return written if written.exists() else self.work_dir / written.name


def tool_environment() -> dict[str, str]:
    """The variables of this process for a tool of this checkout on one thread."""
    places = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join(places)}


def train(training: Training) -> Path:
    """Train, or go on where an interrupted run was; returns the last checkpoint.

    Raises:
        RuntimeError: the run failed; the message ends with what it said.
    """
    done = training.work_dir / 'done'
    if not done.exists():
        training.work_dir.mkdir(parents=True, exist_ok=True)
        config = training.config
        if isinstance(config, Config):
            file = training.work_dir / 'config.py'  # without the variables of the files it came from: nothing reads them any more
            Config({key: value for key, value in config.items() if key in runner_keys()}).dump(file)
            config = file
        command = [sys.executable, 'tools/train.py', str(config), '--work-dir', str(training.work_dir)]
        command += ['--seed', str(training.seed)]
        if (training.work_dir / 'last_checkpoint').exists():
            command.append('--resume')
        if training.options:
            command += ['--cfg-options', *(f'{key}={_written(value)}' for key, value in training.options.items())]
        run = subprocess.run(command, cwd=ROOT, env=tool_environment(), capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f'{" ".join(command)} ended with {run.returncode}:\n{run.stderr[-3000:]}')
        done.touch()
    return training.checkpoint


def train_all(trainings: Iterable[Training], processes: int) -> None:
    """All of them, ``processes`` at a time; says how far it is."""
    trainings = list(trainings)
    with ThreadPoolExecutor(processes) as pool:
        for number, _ in enumerate(pool.map(train, trainings), start=1):
            print(f'{number}/{len(trainings)} runs', flush=True)


def side_by_side(function: Callable, *arguments: Iterable, processes: int) -> list:
    """``map`` with several calls at a time, each on a thread of its own; for work in torch, which leaves the interpreter free."""
    with ThreadPoolExecutor(processes) as pool:
        return list(pool.map(function, *arguments))


def by_arm_and_rate(judge: Callable[[str, float], Any], arms: Iterable[str], rates: Iterable[float], processes: int) -> dict:
    """What ``judge(arm, rate)`` says of every arm (keys) at every rate (keys of each), ``processes`` at a time."""
    jobs, found = list(product(arms, rates)), {}
    for (arm, rate), value in zip(jobs, side_by_side(judge, *zip(*jobs, strict=True), processes=processes), strict=True):
        found.setdefault(arm, {})[f'{rate:g}'] = value
    return found


def require_same_settings(experiment: ModuleType, folder: Path) -> None:
    """Compare the settings of an experiment with those that ``folder`` was begun with, or write them there.

    They are its upper-case names with plain values: arms, rates, numbers of steps. Configs and data are not compared.

    Raises:
        ConfigError: a setting has another value, so that old figures would stand beside new ones.
    """
    now = _settings(experiment)
    then = kept(folder / 'settings.json', lambda: now)
    changed = [name for name in sorted(now.keys() | then.keys()) if now.get(name) != then.get(name)]
    if changed:
        raise ConfigError(
            f'{folder} was begun with other settings: {", ".join(changed)}. '
            'Remove it (or what depends on them, and its settings.json), or set them back.'
        )


def _settings(experiment: ModuleType) -> dict[str, Any]:
    """The plain upper-case names of a module as they come back from JSON."""
    settings = {}
    for name, value in vars(experiment).items():
        if name.isupper() and name not in WITHOUT_EFFECT:
            with suppress(TypeError):
                settings[name] = json.loads(json.dumps(value))
    return settings


def seeded_model(config: str | Path | Config, seed: int, checkpoint: str | Path | None = None) -> nn.Module:
    """A network with random weights of ``seed``, or those of a checkpoint.

    One is built at a time: all threads draw from the one generator of torch.
    """
    with _building:
        torch.manual_seed(seed)
        return init_model(config, checkpoint)


@contextmanager
def adding_time(file: Path) -> Iterator[None]:
    """Adds the seconds of its block to those in ``file`` (JSON), also where the block is broken off."""
    earlier, started = kept(file, lambda: 0.0), time.monotonic()
    try:
        yield
    finally:
        _write_whole(file, lambda part: part.write_text(json.dumps(earlier + time.monotonic() - started), encoding='utf-8'))


def kept(file: Path, measure: Callable[[], object]) -> Any:
    """What ``measure()`` gives, or what ``file`` (JSON) holds of an earlier call; the file appears whole or not at all."""
    if not file.exists():
        text = json.dumps(measure(), indent=1)
        _write_whole(file, lambda part: part.write_text(text, encoding='utf-8'))
    return json.loads(file.read_text(encoding='utf-8'))


def kept_array(file: Path, measure: Callable[[], np.ndarray]) -> np.ndarray:
    """As :func:`kept`, for an array in a ``.npy`` file."""
    if not file.exists():
        array = measure()
        _write_whole(file, lambda part: np.save(part, array))
    return np.load(file)


def _write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """``write`` to a file beside it, which then takes its place."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f'{file.stem}.part{file.suffix}')
    write(part)
    part.replace(file)


def _written(value: object) -> str:
    """A value as ``--cfg-options`` reads it back."""
    return value if isinstance(value, str) else repr(value).replace(' ', '')
