"""tools/slurm_train.sh on a real Slurm, where one is at hand: two tasks on CPUs, stops, time limits, the queue."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openmsra.engine.checkpoint.io import load_file
from tests.reliability.runs import differences, final_state

ROOT = Path(__file__).resolve().parents[2]
INSTANT = 'configs/maskco/maskco_r18-tiny_1xb32-2e_digits_instant.py'
OPTIONS = ['--cfg-options', 'train_cfg.max_epochs=8', 'train_cfg.val_interval=1000', 'default_hooks.logger.interval=1']
LAST = 64  # iterations of these epochs
pytestmark = [pytest.mark.reliability, pytest.mark.timeout(2400)]


def _slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope='module')
def partition() -> str:
    if shutil.which('sinfo') is None or subprocess.run(['sinfo', '-h'], capture_output=True).returncode:
        pytest.skip('no Slurm answers here')
    return _slurm('sinfo', '-h', '-o', '%R').splitlines()[0]


@pytest.fixture(scope='module')
def whole(partition, tmp_path_factory) -> dict:
    """The final state of a job that nobody stops."""
    folder = tmp_path_factory.mktemp('whole')
    assert _start(partition, folder).wait(900) == 0, (folder / 'output.txt').read_text()[-3000:]
    return final_state(folder)


def _environment(**env: str) -> dict[str, str]:
    usual = {'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'GPUS': '0', 'TASKS': '2'}
    return {**os.environ, **usual, 'CPUS_PER_TASK': '1', 'SRUN_ARGS': '--time=00:20:00', **env}


def _command(partition: str, work_dir: Path, pause: float) -> list[str]:
    """A job whose iterations take ``pause`` seconds more than they need."""
    config = work_dir / 'config.py'
    config.write_text(
        f"_base_ = ['{ROOT / INSTANT}']\n"
        "custom_imports = dict(imports=['openmsra.maskco', 'openmsra.miniatures.digit_scenes', 'tests.dist.pauses'])\n"
        f"custom_hooks = [dict(type='PretextWatch'), dict(type='Pause', seconds={pause})]\n"
    )
    return ['bash', 'tools/slurm_train.sh', partition, 'test', str(config), str(work_dir), *OPTIONS]


def _start(partition: str, work_dir: Path, *arguments: str, pause: float = 0) -> subprocess.Popen:
    """A job in the foreground."""
    with (work_dir / 'output.txt').open('a') as output:
        command = [*_command(partition, work_dir, pause), *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=output, stderr=output)


def _submit(partition: str, work_dir: Path, pause: float, **env: str) -> str:
    """A batch job that goes back into the queue; returns its number."""
    command = _command(partition, work_dir, pause)
    done = subprocess.run(command, cwd=ROOT, env=_environment(REQUEUE='1', **env), capture_output=True, text=True, check=True)
    return re.search(r'Submitted batch job (\d+)', done.stdout)[1]


def _wait(output: Path, pattern: str, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not (output.is_file() and re.search(pattern, output.read_text())):
        assert time.monotonic() < end, f'{pattern!r} not seen:\n{output.read_text()[-3000:] if output.is_file() else "no output"}'
        time.sleep(1)


def _state(job: str) -> str:
    return re.search(r'JobState=(\w+)', _slurm('scontrol', 'show', 'job', job))[1]


def _wait_for_the_end(job: str, output: Path) -> None:
    while (state := _state(job)) != 'COMPLETED':
        assert state in ('PENDING', 'RUNNING', 'COMPLETING'), output.read_text()[-3000:]
        time.sleep(1)


def _do_not_wait_in_the_queue(job: str) -> None:
    """Slurm starts a job that went back two minutes later; at once it may find the old one not cleared away."""
    end = time.monotonic() + 120
    while _state(job) != 'PENDING':
        assert time.monotonic() < end, _slurm('scontrol', 'show', 'job', job)
        time.sleep(1)
    time.sleep(10)
    _slurm('scontrol', 'update', f'JobId={job}', 'StartTime=now')


@pytest.mark.parametrize(('signal', 'code'), [('USR1', 75), ('TERM', 75)])
def test_job_in_the_foreground_that_is_told_to_stop_saves_and_goes_on(partition, whole, tmp_path, signal, code):
    """``scancel --signal`` reaches the tasks. Of SIGTERM Slurm makes an end of the step: srun's exit code is its own then."""
    process = _start(partition, tmp_path, pause=0.5)
    _wait(tmp_path / 'output.txt', r'Epoch\(train\) +\[2\]\[3/')
    (job,) = _slurm('squeue', '-h', '-n', 'test', '-o', '%A').splitlines()
    _slurm('scancel', f'--signal={signal}', job)
    assert process.wait(120) == code, (tmp_path / 'output.txt').read_text()[-3000:]
    assert 11 <= load_file(tmp_path / 'preempted.pth')['meta']['iter'] < LAST
    assert _start(partition, tmp_path, '--resume').wait(600) == 0
    assert not differences(whole, final_state(tmp_path))


@pytest.mark.parametrize('signal', ['USR1 to the script', 'TERM to the tasks'])
def test_job_that_was_stopped_goes_back_into_the_queue_and_ends_like_the_whole_one(partition, whole, tmp_path, signal):
    job = _submit(partition, tmp_path, pause=0.5)
    output = tmp_path / f'slurm-{job}.out'
    _wait(output, r'Epoch\(train\) +\[2\]\[3/')
    _slurm('scancel', *(['--signal=USR1', '--batch'] if signal.startswith('USR1') else ['--signal=TERM']), job)
    _wait(output, rf'stopped by SIG{signal[:4].strip()} after iteration')
    assert load_file(tmp_path / 'preempted.pth')['meta']['iter'] < LAST
    _do_not_wait_in_the_queue(job)
    _wait_for_the_end(job, output)
    assert not differences(whole, final_state(tmp_path))


def test_job_saves_before_its_time_limit_and_goes_on_after_it(partition, whole, tmp_path):
    job = _submit(partition, tmp_path, pause=2.0, SRUN_ARGS='--time=00:02:00', GRACE='30')
    output = tmp_path / f'slurm-{job}.out'
    _wait(output, r'stopped by SIGUSR1 after iteration')
    _do_not_wait_in_the_queue(job)
    _slurm('scontrol', 'update', f'JobId={job}', 'TimeLimit=00:20:00')  # so that it ends now
    _wait_for_the_end(job, output)
    text = output.read_text()
    assert 'resumed epoch' in text and 'TIME LIMIT' not in text
    assert not differences(whole, final_state(tmp_path))


def test_job_that_was_cancelled_does_not_come_back(partition, tmp_path):
    job = _submit(partition, tmp_path, pause=0.5)
    _wait(tmp_path / f'slurm-{job}.out', r'Epoch\(train\) +\[1\]\[3/')
    _slurm('scancel', job)
    end = time.monotonic() + 60
    while _state(job) in ('RUNNING', 'COMPLETING') and time.monotonic() < end:
        time.sleep(1)
    time.sleep(5)
    assert _state(job) == 'CANCELLED'
    assert (tmp_path / 'preempted.pth').is_file(), 'what was trained is saved all the same'
