"""Every instant config on an accelerator made of CPU memory, through the real tools; see ``device.py``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
# host synchronisations in one training step, at most: lower a number when the code has become better, never raise it;
# README.md says where they come from
SYNCHRONISATIONS = {'autoformer': 2.0, 'ckdn': 1.0, 'ftcn': 1.0, 'maskco': 1.0, 'mcn': 1.2, 'soft_teacher': 106.4}
CONFIG = {paper: next(ROOT.glob(f'configs/{paper}/*_instant.py')).relative_to(ROOT) for paper in SYNCHRONISATIONS}
OPTIONS = {
    'soft_teacher': (
        '--cfg-options',
        'default_hooks.checkpoint.interval=4',
        'default_hooks.checkpoint.max_keep_ckpts=2',
        'default_hooks.logger.interval=4',
    )
}
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


def python(*arguments: str | Path) -> str:
    """What a script in a process of its own prints."""
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f'{command}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}'
    return done.stdout


def drive(*arguments: str | Path) -> dict:
    """A tool on the stand-in; what it says of its synchronisations."""
    return json.loads(python('tests/standin/drive.py', *arguments).rpartition('STANDIN')[2])


@pytest.mark.parametrize(('file', 'passed'), [('planted.py', 8), pytest.param('fixed.py', 5, marks=pytest.mark.full)])
def test_planted_faults_are_seen(file, passed):
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', f'tests/standin/{file}']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and f'{passed} passed' in done.stdout, done.stdout


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Train the instant config of a paper once; its folder and what was counted."""
    done = {}

    def train(paper: str) -> tuple[Path, dict]:
        if paper not in done:
            folder = tmp_path_factory.mktemp(paper)
            done[paper] = folder, drive('tools/train.py', CONFIG[paper], '--work-dir', folder, *OPTIONS.get(paper, ()))
        return done[paper]

    return train


def checkpoints(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(folder.glob('*_[0-9]*.pth'), key=lambda file: int(file.stem.rpartition('_')[2]))


def losses(folder: Path) -> list[float]:
    """As logged."""
    (log,) = folder.glob('*/vis_data/scalars.json')
    return [row['loss'] for row in map(json.loads, log.read_text().splitlines()) if 'loss' in row]


@pytest.mark.timeout(900)
@papers
def test_the_host_waits_no_more_often(paper, trained):
    counted = trained(paper)[1]
    steps, inside = counted['steps']['steps'], counted['steps']['inside']
    places = {place: count / steps for place, count in counted['steps']['places'].items()}
    print(f'{paper}: {steps} steps, {inside / steps:.1f} synchronisations each: {places}')
    assert inside / steps <= SYNCHRONISATIONS[paper], places
    assert [place for place, _ in counted['synchronisations'] if 'message_hub' in place] == []


@pytest.mark.reliability
@pytest.mark.timeout(900)
@papers
def test_resumes_in_a_new_process_to_the_last_bit(paper, trained, tmp_path):
    *_, earlier, last = checkpoints(trained(paper)[0])
    drive('tools/train.py', CONFIG[paper], '--work-dir', tmp_path, '--resume', earlier, *OPTIONS.get(paper, ()))
    files = (last, tmp_path / last.name)
    straight, resumed = (torch.load(file, map_location='cpu', weights_only=False)['state_dict'] for file in files)
    assert set(straight) == set(resumed)
    assert [key for key, value in straight.items() if not torch.equal(value, resumed[key])] == []


@pytest.mark.reliability
@pytest.mark.timeout(900)
@papers
def test_tests(paper, trained, tmp_path):
    last = checkpoints(trained(paper)[0])[-1]
    drive('tools/test.py', CONFIG[paper], last, '--work-dir', tmp_path)
    (file,) = tmp_path.glob('*/*.json')
    assert json.loads(file.read_text())


@pytest.mark.reliability
@pytest.mark.timeout(900)
@papers
def test_the_inferencer_says_what_it_says_on_the_cpu(paper, trained, tmp_path):
    last = checkpoints(trained(paper)[0])[-1]
    python('tests/standin/infer.py', CONFIG[paper], last, tmp_path)


@pytest.mark.reliability
@pytest.mark.timeout(900)
@papers
def test_trains_in_bfloat16(paper, trained, tmp_path):
    precise = losses(trained(paper)[0])
    options = OPTIONS.get(paper, ())
    drive('tools/train.py', CONFIG[paper], '--work-dir', tmp_path, '--amp', '--amp-dtype', 'bfloat16', *options)
    rounded = losses(tmp_path)
    assert rounded == pytest.approx(precise, rel=0.05)
    assert rounded != precise
