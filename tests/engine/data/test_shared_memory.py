"""Workers without shared memory end the run with a sentence instead of leaving it waiting."""

import subprocess
import sys
import textwrap

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from openmsra.engine.data import loader as keyed_loader
from openmsra.engine.data.loader import keyed
from openmsra.errors import BrokenDataError, DataError


class Large(Dataset):
    """Samples of a mebibyte."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=torch.zeros(2**18), name=str(index))


class Broken(Large):
    """No sample can be read."""

    def __getitem__(self, index: int) -> dict:
        raise OSError('cannot be read')


@pytest.mark.parametrize('free', [3, 5])
def test_batch_that_does_not_fit_is_named(free, monkeypatch):
    usage = type('Usage', (), dict(free=free * 2**20))
    monkeypatch.setattr(keyed_loader.shutil, 'disk_usage', lambda path: usage)
    loader = keyed(DataLoader(Large(), batch_size=4, num_workers=1), seed=0)
    if free > 4:
        assert len(list(loader)) == 2
        return
    with pytest.raises(DataError) as error:
        list(loader)
    assert '\n' not in str(error.value)
    assert '/dev/shm is too small for the data workers (a batch of 4 MB, 3 MB left)' in str(error.value)
    assert '--shm-size' in str(error.value) and 'num_workers=0' in str(error.value)
    assert len(list(keyed(DataLoader(Large(), batch_size=4), seed=0))) == 2, 'without workers nothing is shared'


def test_error_of_a_worker_is_one_sentence():
    with pytest.raises(BrokenDataError) as error:
        list(keyed(DataLoader(Broken(), batch_size=4, num_workers=1), seed=0))
    assert str(error.value).startswith('sample 0 of Broken and 19 samples') and '\n' not in str(error.value)


SMALL = """
    from torch.utils.data import DataLoader
    from mmengine.dataset import pseudo_collate
    from openmsra.engine.data.loader import keyed
    from openmsra.engine.launch import run_tool
    from tests.engine.data.test_shared_memory import Large
    run_tool(lambda _: list(keyed(DataLoader(Large(), batch_size=4, num_workers=2, collate_fn=pseudo_collate), seed=0)))
"""


@pytest.mark.reliability
def test_real_small_shared_memory(tmp_path):
    (tmp_path / 'small.py').write_text(textwrap.dedent(SMALL))
    command = f'mount -t tmpfs -o size=2m tmpfs /dev/shm && exec {sys.executable} {tmp_path}/small.py'
    if subprocess.run(['unshare', '-m', 'true'], capture_output=True).returncode:
        pytest.skip('another /dev/shm cannot be mounted here (root can)')
    done = subprocess.run(['unshare', '-m', 'bash', '-c', command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and '/dev/shm is too small for the data workers' in done.stderr, done.stderr
