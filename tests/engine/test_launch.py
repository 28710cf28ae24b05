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


GROUP = """
import atexit
import os
from pathlib import Path

import openmsra.engine.preemption  # as a runner does
import torch.distributed as dist
from openmsra.engine.launch import run_tool
from openmsra.errors import PreemptedError

class Runner:
    def __init__(self):
        self.group, self.hooks = dist.group.WORLD, [self]

    def train(self):
        dist.barrier()
        {end}

def main(argv):
    dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)
    Runner().train()

threads = lambda: [task.read_text().strip() for task in Path('/proc/self/task').glob('*/comm')]
atexit.register(lambda: print([name for name in threads() if 'gloo' in name]))
run_tool(main)
"""


@pytest.mark.skipif(not os.path.isdir('/proc/self/task'), reason='counts threads as Linux does')
@pytest.mark.parametrize(('end', 'code'), [('return', 0), ('raise PreemptedError("stopped")', 75)])
def test_no_thread_of_the_process_group_lives_when_python_ends(end, code):
    """One that does now and then aborts the process: ``terminate called without an active exception``."""
    done = subprocess.run([sys.executable, '-c', GROUP.format(end=end)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, '[]\n'), done.stderr


PENDING = """
import torch
import torch.distributed as dist
from openmsra.engine.launch import end_process_group
from torch.nn.parallel import DistributedDataParallel

for _ in range(60):
    dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)
    model = DistributedDataParallel(torch.nn.Linear(4, 4))
    model.itself = model
    for _ in range(20):
        dist.all_reduce(torch.ones(2000), async_op=True)  # Python has let go of the tensors: the threads free them
    del model
    end_process_group()
"""


def test_work_that_is_under_way_does_not_keep_the_end_of_the_process_group():
    """A thread that frees a tensor of Python needs the interpreter's lock; who joins the thread must not hold it."""
    subprocess.run([sys.executable, '-c', PENDING], check=True, timeout=60)


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
