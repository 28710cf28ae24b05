"""tools/slurm_train.sh on a real Slurm, where one is at hand: two tasks on CPUs, a stop, the way back through the queue."""

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
pytestmark = pytest.mark.reliability


def _slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope='module')
def partition() -> str:
    if shutil.which('sinfo') is None or subprocess.run(['sinfo', '-h'], capture_output=True).returncode:
        pytest.skip('no Slurm answers here')
    return _slurm('sinfo', '-h', '-o', '%R').splitlines()[0]


def _submit(partition: str, work_dir: Path, **env: str) -> str:
    environment = {**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'GPUS': '0', 'TASKS': '2'}
    environment |= {'CPUS_PER_TASK': '1', 'REQUEUE': '1', 'SRUN_ARGS': '--time=00:20:00', **env}
    command = ['bash', 'tools/slurm_train.sh', partition, 'test', INSTANT, str(work_dir), *OPTIONS]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return re.search(r'Submitted batch job (\d+)', done.stdout)[1]


def _wait(work_dir: Path, job: str, pattern: str, seconds: float = 900) -> None:
    output, end = work_dir / f'slurm-{job}.out', time.monotonic() + seconds
    while not (output.is_file() and re.search(pattern, output.read_text())):
        assert time.monotonic() < end, f'{pattern!r} not seen'
        time.sleep(1)


@pytest.mark.timeout(2400)
def test_job_that_was_stopped_goes_back_into_the_queue_and_ends_like_the_whole_one(partition, tmp_path):
    whole = _submit(partition, tmp_path / 'whole')
    _wait(tmp_path / 'whole', whole, r'Saving checkpoint at 8 epochs')
    stopped = _submit(partition, tmp_path / 'stopped')
    _wait(tmp_path / 'stopped', stopped, r'Epoch\(train\) +\[2\]\[3/')
    _slurm('scancel', '--signal=USR1', '--batch', stopped)
    _wait(tmp_path / 'stopped', stopped, r'stopped by SIGUSR1 after iteration')
    assert load_file(tmp_path / 'stopped/preempted.pth')['meta']['iter'] < 64
    _wait(tmp_path / 'stopped', stopped, r'Saving checkpoint at 8 epochs')
    assert not differences(final_state(tmp_path / 'whole'), final_state(tmp_path / 'stopped'))
