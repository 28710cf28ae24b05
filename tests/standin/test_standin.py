"""Every instant config on an accelerator made of CPU memory, through the real tools; see ``device.py``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
# host synchronisations in one training step, at most: lower a number when the code has become better, never raise it
SYNCHRONISATIONS = {'autoformer': 2.0, 'ckdn': 3.0, 'ftcn': 3.0, 'maskco': 1.0, 'mcn': 6.5, 'soft_teacher': 67.0}
CONFIG = {paper: next(ROOT.glob(f'configs/{paper}/*_instant.py')) for paper in SYNCHRONISATIONS}
IN_CI = ('autoformer',)
papers = pytest.mark.parametrize(
    'paper',
    [
        pytest.param(
            paper,
            marks=[
                *([pytest.mark.full] if paper == 'soft_teacher' else []),
                *([] if paper in IN_CI else [pytest.mark.reliability]),
            ],
        )
        for paper in SYNCHRONISATIONS
    ],
)


def drive(*arguments: str | Path) -> dict:
    """A tool in a process of its own; what it says of its synchronisations."""
    command = [sys.executable, 'tests/standin/drive.py', *map(str, arguments)]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f'{command}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}'
    return json.loads(done.stdout.rpartition('STANDIN')[2])


def test_planted_faults_are_seen():
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'tests/standin/planted.py']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and '5 passed' in done.stdout, done.stdout


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Train the instant config of a paper once; its folder and what was counted."""
    done = {}

    def train(paper: str) -> tuple[Path, dict]:
        if paper not in done:
            folder = tmp_path_factory.mktemp(paper)
            done[paper] = folder, drive('tools/train.py', CONFIG[paper].relative_to(ROOT), '--work-dir', folder)
        return done[paper]

    return train


@pytest.mark.timeout(900)
@papers
def test_the_host_waits_no_more_often(paper, trained):
    counted = trained(paper)[1]
    steps, inside = counted['steps']['steps'], counted['steps']['inside']
    print(f'{paper}: {steps} steps, {inside / steps:.1f} synchronisations each; {counted["synchronisations"][:8]}')
    assert inside / steps <= SYNCHRONISATIONS[paper], counted['synchronisations']


@pytest.mark.reliability
@pytest.mark.timeout(1800)
@papers
def test_resumes_in_a_new_process_and_tests(paper, trained, tmp_path):
    folder, config = trained(paper)[0], CONFIG[paper].relative_to(ROOT)
    number = {file: int(file.stem.rpartition('_')[2]) for file in folder.glob('*_[0-9]*.pth')}
    *earlier, last = sorted(number, key=number.get)
    if earlier:
        drive('tools/train.py', config, '--work-dir', tmp_path / 'resumed', '--resume', earlier[-1])
        files = (last, tmp_path / 'resumed' / last.name)
        whole, resumed = (torch.load(file, map_location='cpu', weights_only=False)['state_dict'] for file in files)
        assert set(whole) == set(resumed)
        assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
    drive('tools/test.py', config, last, '--work-dir', tmp_path / 'test')
    assert list((tmp_path / 'test').glob('*/*.json'))
