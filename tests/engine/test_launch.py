"""How a tool ends."""

import subprocess
import sys

CODE = """
import multiprocessing, signal, time
from openmsra.engine.launch import run_tool
from openmsra.errors import PreemptedError

def deaf(ready):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    time.sleep(100)

def main(argv):
    ready = multiprocessing.Event()
    multiprocessing.Process(target=deaf, args=(ready,), daemon=True).start()
    ready.wait()
    raise PreemptedError('stopped')

run_tool(main)
"""


def test_a_data_worker_that_leaves_signals_alone_does_not_keep_a_stopped_tool():
    """Python ends its daemons by SIGTERM, which data workers ignore, and would wait for them for ever."""
    done = subprocess.run([sys.executable, '-c', CODE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 75 and done.stderr == 'stopped\n'
