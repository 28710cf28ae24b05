"""How a tool ends."""

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import torch
from torch.utils.data import DataLoader
from openmsra.engine.data.loader import WorkerInit
from openmsra.engine.launch import run_tool
from openmsra.errors import PreemptedError

kept = []

def main(argv):
    loader = DataLoader(list(range(9)), num_workers=1, persistent_workers=True, worker_init_fn=WorkerInit(None))
    iterator = iter(loader)
    next(iterator)
    kept.append((loader, iterator))
    raise PreemptedError('stopped')

run_tool(main)
"""


def test_a_data_worker_that_leaves_signals_alone_does_not_keep_a_stopped_tool():
    """Python ends its daemons by SIGTERM, which data workers ignore, and would wait for them for ever."""
    done = subprocess.run([sys.executable, '-c', CODE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 75 and done.stderr == 'stopped\n'


FAULTS = """
import resource
import torch
from openmsra.engine.launch import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(16, 1024, 1024)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
keep_freed_memory()
for _ in range(4):  # the heap grows first
    faults()
print(before, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another C library than glibc')
@pytest.mark.parametrize('variables', [{}, {'MALLOC_ARENA_MAX': '2'}])
def test_memory_of_freed_tensors_is_kept_unless_the_environment_says_how_to_allocate(variables):
    environment = {key: value for key, value in os.environ.items() if not key.startswith('MALLOC_')}
    done = subprocess.run([sys.executable, '-c', FAULTS], env=environment | variables, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 100
    assert after < before / 10 if not variables else after > before / 2
