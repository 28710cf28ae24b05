"""How a tool ends."""

import subprocess
import sys

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
