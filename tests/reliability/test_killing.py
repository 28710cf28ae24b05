"""kill -9 at any moment: the last checkpoint that was written is there, and the next run goes on from it."""

import random
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from openmsra.engine.checkpoint.files import remove_stale_temporaries
from tests.reliability.killing import heavy_config, kill_once, newest_iteration

SECONDS = 0.4  # of training before the kill, at most


def _kill(work_dir, times: int, mebibytes: float, seed: int, **checkpoint) -> None:
    rng, before = random.Random(seed), 0
    for _ in range(times):
        written = kill_once(heavy_config(work_dir, mebibytes, **checkpoint), rng, SECONDS)
        now = newest_iteration(work_dir)
        assert now >= max(written, before), f'{written} was written, {before} was there before, {now} is left'
        before = now
        assert len(list(work_dir.glob('iter_*.pth'))) <= 2, 'the new and the old one'


def test_killed_while_saving(tmp_path):
    _kill(tmp_path, 5, mebibytes=8, seed=0)


@pytest.mark.reliability
def test_killed_a_hundred_times_while_saving(tmp_path):
    _kill(tmp_path, 100, mebibytes=32, seed=1)


@pytest.mark.reliability
def test_stock_hook_would_have_lost_everything(tmp_path):
    """The same kills under mmengine's own hook: a test of the test."""
    rng, lost = random.Random(1), 0
    for number in range(10):
        work_dir = tmp_path / str(number)
        kill_once(heavy_config(work_dir, 32, hook='CheckpointHook'), rng, SECONDS)
        lost += newest_iteration(work_dir) == 0
    assert lost


@contextmanager
def _small_disk(folder, mebibytes: int):
    folder.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={mebibytes}m', 'tmpfs', folder], capture_output=True)
    if mounted.returncode:
        pytest.skip('a small file system cannot be mounted here (root can)')
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', folder], check=True)


@pytest.mark.parametrize('times', [1, pytest.param(20, marks=pytest.mark.reliability)])
def test_killed_on_a_full_disk(tmp_path, times):
    with _small_disk(tmp_path / 'disk', 16) as disk:  # old, one that no pointer names yet, and half a new one
        work_dir, rng = disk / 'work', random.Random(2)
        while not (before := newest_iteration(work_dir)):
            kill_once(heavy_config(work_dir, 4), rng, SECONDS)
        remove_stale_temporaries(work_dir)  # the next start would, and so make room
        (disk / 'other_data').write_bytes(bytes(shutil.disk_usage(disk).free - 2 * 2**20))  # no second checkpoint fits
        for _ in range(times):
            assert kill_once(heavy_config(work_dir, 4), rng, SECONDS, inside=False) == 0, 'nothing can be written'
            assert newest_iteration(work_dir) == before >= 1
            assert len(list(work_dir.glob('.*.tmp'))) <= 1, 'what the next start removes'
        (disk / 'other_data').unlink()
        for _ in range(20):  # there is room again
            kill_once(heavy_config(work_dir, 4), rng, SECONDS)
            if newest_iteration(work_dir) > before:
                return
        pytest.fail('nothing was written after room had been made')


def test_start_on_a_disk_without_room_ends_in_one_sentence(tmp_path, run_tool):
    config = Path(__file__).resolve().parents[2] / 'configs' / 'autoformer' / 'autoformer_supernet_1xb32-2e_digits_instant.py'
    with _small_disk(tmp_path / 'disk', 1) as disk:
        (disk / 'other_data').write_bytes(bytes(shutil.disk_usage(disk).free))
        done = run_tool('tools/train.py', config, '--work-dir', disk / 'work', check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith('error: no space left on the disk')
