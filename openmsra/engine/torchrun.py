"""torchrun with the exit codes of ``tools/train.py``: ``python -m openmsra.engine.torchrun [torchrun's arguments] TOOL ...``.

torchrun ends in 1 and a traceback whatever its processes say. This ends in 75 when they were asked to stop and have saved, in 2
when one of them had a sentence for the user, and names the process that failed first.
"""

import os
import socket
import sys
import tempfile
import time
from pathlib import Path

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

PREEMPTED, USER_ERROR = 75, 2


def main(argv: list[str]) -> int:
    """Run the processes; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix='openmsra-') as stopped:
        os.environ['OPENMSRA_STOPPED_DIR'] = stopped  # where a process that has saved and leaves says so
        # else processes that start again meet the addresses of the dead ones in the store of the rendezvous
        os.environ.setdefault('TORCH_DISABLE_SHARE_RDZV_TCP_STORE', '1')
        os.environ['OPENMSRA_STARTED'] = str(time.time())  # a restart goes on from checkpoints since then
        try:
            run.main(argv)
        except ChildFailedError as error:
            first = error.get_first_failure()[1]
            if any(Path(stopped).iterdir()):
                return PREEMPTED
            print(
                f'error: process {error.get_first_failure()[0]} on {socket.gethostname()} failed first, with exit code '
                f'{first.exitcode}; what it had to say is above.',
                file=sys.stderr,
            )
            return first.exitcode if first.exitcode == USER_ERROR else 1
        except SignalException as error:
            if any(Path(stopped).iterdir()):
                return PREEMPTED
            print(f'error: ended by {error.sigval.name} before a checkpoint could be written.', file=sys.stderr)
            return 128 + error.sigval
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
