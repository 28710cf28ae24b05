"""Launches that are interrupted at random times, start-up included: nothing is lost, nothing is left behind.

The numbers in docs/reliability.md come from here; OPENMSRA_STOPS changes how many stops there are.
"""

import ctypes
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.dist.test_launch import _kill, _ranks
from tests.reliability.runs import differences, final_state

ROOT = Path(__file__).resolve().parents[2]
INSTANT = 'configs/maskco/maskco_r18-tiny_1xb32-2e_digits_instant.py'
# 320 short iterations on one process with augmentation and a queue; a checkpoint comes from a stop or from the end alone
OPTIONS = [
    'train_cfg.max_epochs=20',
    'train_cfg.val_interval=1000',
    'default_hooks.checkpoint.interval=1000',
    'default_hooks.checkpoint.save_last=True',
    'default_hooks.logger.interval=1',
]
LAST = re.compile(r'Epoch\(train\) +\[(\d+)\]\[ *(\d+)/(\d+)\]')
pytestmark = [pytest.mark.reliability, pytest.mark.timeout(3600)]


@pytest.fixture
def adopts():
    """What a launch leaves behind becomes a child of this process, however it had been started, and not of init."""
    subreaper, libc = 36, ctypes.CDLL(None)  # PR_SET_CHILD_SUBREAPER
    assert libc.prctl(subreaper, 1, 0, 0, 0) == 0
    yield
    libc.prctl(subreaper, 0, 0, 0, 0)


def _orphans(seconds: float = 5) -> list[str]:
    """Living processes that this one has adopted, after some time to end."""
    end = time.monotonic() + seconds
    while True:
        children = Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text().split()
        adopted = []
        for pid in map(int, children):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                adopted.append(Path(f'/proc/{pid}/cmdline').read_text().replace('\0', ' '))
        if not adopted or time.monotonic() > end:
            return adopted
        time.sleep(0.1)


def _launch(work_dir: Path, processes: int) -> subprocess.Popen:
    tool = ['bash', 'tools/dist_train.sh', INSTANT, '2'] if processes == 2 else [sys.executable, 'tools/train.py', INSTANT]
    environment = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    work_dir.mkdir(exist_ok=True)
    with (work_dir / 'output.txt').open('a') as output:
        command = [*tool, '--work-dir', str(work_dir), '--resume', '--cfg-options', *OPTIONS]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True)


def _iterations(work_dir: Path) -> list[int]:
    """The iterations that the launches have logged, in the order in which they were trained."""
    lines = LAST.findall((work_dir / 'output.txt').read_text())
    return [(int(epoch) - 1) * int(length) + int(number) for epoch, number, length in lines]


def _interrupt(work_dir: Path, processes: int, stops: int, send: Callable[[subprocess.Popen, random.Random], None]) -> dict:
    """Launch, stop at a random time and launch again, ``stops`` times, then to the end.

    Returns:
        how often a stop met the start-up and the training, and the processes that were left behind.
    """
    draw, seen = random.Random(processes), dict(starting=0, training=0, orphans=[])
    for _ in range(stops):
        before = len(_iterations(work_dir)) if (work_dir / 'output.txt').exists() else 0
        process = _launch(work_dir, processes)
        try:
            if draw.random() < 0.2:
                time.sleep(draw.uniform(0.2, 6))
            else:
                end = time.monotonic() + 200
                while len(_iterations(work_dir)) == before and process.poll() is None and time.monotonic() < end:
                    time.sleep(0.05)
                time.sleep(draw.uniform(0, 0.6))
            assert process.poll() is None, (work_dir / 'output.txt').read_text()[-2000:]
            send(process, draw)
            code = process.wait(120)
            # 75: stopped with a checkpoint; otherwise the signal came before the training had begun
            assert code in (75, 1, 128 + signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGUSR1) or code < 0, code
            trained = len(_iterations(work_dir)) > before
            assert code == 75 or not trained, (code, (work_dir / 'output.txt').read_text()[-2000:])
            seen['training' if trained else 'starting'] += 1
            seen['orphans'] += _orphans()
        finally:
            _kill(process)
    assert _launch(work_dir, processes).wait(600) == 0
    return seen


def _whole(work_dir: Path, processes: int) -> list[int]:
    assert _launch(work_dir, processes).wait(600) == 0
    return _iterations(work_dir)


def _signal(process: subprocess.Popen, draw: random.Random) -> None:
    os.kill(process.pid, draw.choice([signal.SIGTERM, signal.SIGUSR1]))


def _signal_or_ctrl_c(process: subprocess.Popen, draw: random.Random) -> None:
    """To the agent, to the whole group as a terminal does, or to one process of the training."""
    how = draw.randrange(3)
    if how == 0:
        os.killpg(process.pid, signal.SIGINT)
    elif how == 1 and (ranks := _ranks(process.pid)):
        os.kill(draw.choice(ranks), signal.SIGTERM)
    else:
        os.kill(process.pid, signal.SIGTERM)


@pytest.mark.parametrize(('processes', 'stops', 'send'), [(1, 50, _signal), (2, 20, _signal_or_ctrl_c)], ids=['one', 'two'])
def test_stops_at_random_times_lose_no_iteration_and_leave_no_process(tmp_path, adopts, processes, stops, send):
    stops = int(os.environ.get('OPENMSRA_STOPS', stops))
    expected = _whole(tmp_path / 'whole', processes)
    seen = _interrupt(tmp_path / 'stopped', processes, stops, send)
    print(f'{processes} process(es), {stops} stops: {seen}')
    assert seen['orphans'] == []
    assert _iterations(tmp_path / 'stopped') == expected == list(range(1, len(expected) + 1)), 'each iteration once'
    assert not differences(final_state(tmp_path / 'whole'), final_state(tmp_path / 'stopped'))
