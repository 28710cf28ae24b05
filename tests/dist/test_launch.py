"""tools/dist_train.sh as a cluster uses it: signals, restarts, ports, machines whose name does not resolve."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTANT = 'configs/maskco/maskco_r18-tiny_1xb32-2e_digits_instant.py'
# many short iterations, a checkpoint after each fifth
OPTIONS = [
    'train_cfg.max_epochs=1000',
    'train_cfg.val_interval=1000',
    'default_hooks.checkpoint.by_epoch=False',
    'default_hooks.checkpoint.interval=5',
    'default_hooks.logger.interval=1',
]


def _start(work_dir: Path, processes: int = 2, before: tuple[str, ...] = (), **env: str) -> subprocess.Popen:
    """dist_train.sh in a session of its own, as a terminal or a scheduler starts it; output goes to a file."""
    command = [*before, 'bash', 'tools/dist_train.sh', INSTANT, str(processes), '--work-dir', str(work_dir)]
    environment = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), **env}
    work_dir.mkdir(exist_ok=True)
    with (work_dir / 'output.txt').open('a') as output:
        return subprocess.Popen(
            [*command, '--cfg-options', *OPTIONS], cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )


def _wait_for(work_dir: Path, pattern: str, seconds: float = 200) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        output = (work_dir / 'output.txt').read_text()
        if re.search(pattern, output):
            return output
        time.sleep(0.2)
    raise AssertionError(f'{pattern!r} not seen in {seconds} s:\n{output[-3000:]}')


def _descendants(pid: int) -> list[int]:
    """Living processes below another, by parent; torchrun gives each rank a session of its own."""
    try:
        children = [int(child) for child in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]
    except OSError:
        return []
    return [*children, *(other for child in children for other in _descendants(child))]


def _ranks(agent: int) -> list[int]:
    """The training processes: torchrun's children, without their data workers."""
    children = Path(f'/proc/{agent}/task/{agent}/children').read_text().split()
    return sorted(pid for pid in map(int, children) if b'tools/train.py' in Path(f'/proc/{pid}/cmdline').read_bytes())


def _kill(process: subprocess.Popen) -> None:
    for pid in [process.pid, *_descendants(process.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _iteration(work_dir: Path) -> int:
    from openmsra.engine.checkpoint.io import load_file

    return load_file((work_dir / 'last_checkpoint').read_text())['meta']['iter']


@pytest.mark.reliability
@pytest.mark.parametrize('how', ['Ctrl-C', 'SIGTERM', 'SIGUSR1', 'SIGTERM to one process'])
def test_stop_leaves_a_checkpoint_and_no_process(tmp_path, how):
    process = _start(tmp_path)
    try:
        _wait_for(tmp_path, r'\[\s*7/')
        descendants = _descendants(process.pid)
        assert len(descendants) >= 2
        if how == 'Ctrl-C':
            os.killpg(process.pid, signal.SIGINT)
        elif how.endswith('process'):
            os.kill(_ranks(process.pid)[-1], signal.SIGTERM)
        else:
            os.kill(process.pid, getattr(signal, how))
        assert process.wait(60) == 75, (tmp_path / 'output.txt').read_text()[-3000:]
        time.sleep(1)
        assert [pid for pid in descendants if Path(f'/proc/{pid}').exists()] == []
    finally:
        _kill(process)
    assert _iteration(tmp_path) >= 7
    assert (tmp_path / 'preempted.pth').is_file()


@pytest.mark.reliability
def test_killed_process_restarts_the_group_from_the_newest_checkpoint(tmp_path):
    process = _start(tmp_path, MAX_RESTARTS='1')
    try:
        _wait_for(tmp_path, r'\[\s*7/')
        os.kill(_ranks(process.pid)[-1], signal.SIGKILL)
        output = _wait_for(tmp_path, r'resumed epoch: \d+, iter: \d+')
        resumed = int(re.search(r'resumed epoch: \d+, iter: (\d+)', output)[1])
        assert resumed >= 5 and resumed % 5 == 0
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 75
    finally:
        _kill(process)


@pytest.mark.reliability
def test_the_other_machine_goes_on_alone_when_one_is_lost(tmp_path):
    """Two agents, as on two machines, of which one vanishes with its process."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = str(server.getsockname()[1])
    elastic = dict(NNODES='1:2', PORT=port, MAX_RESTARTS='3')
    first = _start(tmp_path, processes=1, **elastic)
    second = None
    try:
        time.sleep(1)  # the first agent keeps the rendezvous
        second = _start(tmp_path, processes=1, NODE_RANK='1', **elastic)
        _wait_for(tmp_path, r'\[\s*7/8\]')  # two processes share the 16 batches of an epoch
        _kill(second)
        output = _wait_for(tmp_path, r'resumed epoch: \d+, iter: \d+')
        resumed = int(re.search(r'resumed epoch: \d+, iter: (\d+)', output)[1])
        assert resumed >= 5 and resumed % 5 == 0
        assert 'it was saved on 2 processes and goes on with 1' in output
        assert 'made a step every 64 samples and makes one every 32 now (1 process(es)' in output
        _wait_for(tmp_path, r'Epoch\(train\).*/16\]')
        os.kill(first.pid, signal.SIGTERM)
        assert first.wait(90) == 75, (tmp_path / 'output.txt').read_text()[-3000:]
    finally:
        for process in filter(None, (first, second)):
            _kill(process)
    assert _iteration(tmp_path) > resumed


@pytest.mark.reliability
def test_dead_process_without_restarts_is_named(tmp_path):
    process = _start(tmp_path)
    try:
        _wait_for(tmp_path, r'\[\s*3/')
        os.kill(_ranks(process.pid)[-1], signal.SIGKILL)
        assert process.wait(90) == 1
    finally:
        _kill(process)
    assert re.search(r'error: process \d on \S+ failed first, with exit code -9', (tmp_path / 'output.txt').read_text())


def test_taken_port_is_one_sentence(tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as server:
        process = _start(tmp_path, PORT=str(server.getsockname()[1]))
        assert process.wait(30) == 2
    (line,) = (tmp_path / 'output.txt').read_text().splitlines()
    assert re.fullmatch(r'error: port \d+ is taken, by another training perhaps; set PORT= to a free one or leave it out\.', line)


@pytest.mark.reliability
def test_machine_whose_name_does_not_resolve_starts_all_the_same(tmp_path):
    nameless = ('unshare', '-u', 'bash', '-c', 'hostname nowhere.invalid && exec "$@"', '-')
    if subprocess.run(['unshare', '-u', 'hostname', 'nowhere.invalid'], capture_output=True).returncode:
        pytest.skip('the name of the machine cannot be changed here (root can)')
    process = _start(tmp_path, before=nameless)
    try:
        _wait_for(tmp_path, r'\[\s*3/', seconds=180)
    finally:
        _kill(process)
