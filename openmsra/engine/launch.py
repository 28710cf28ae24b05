"""From a command line to a Runner: what ``tools/train.py`` and ``tools/test.py`` share.

Nothing heavy is imported before it is used: ``--help`` and a misspelt argument must not wait for torch.
"""

import argparse
import ctypes
import errno
import gc
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from openmsra.engine.config.options import OptionAction
from openmsra.errors import ConfigError, PreemptedError, UserError
from openmsra.needs import explained_imports

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

PREEMPTED = 75  # exit code of a training that was asked to stop and has saved: EX_TEMPFAIL, "try again"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt in malloc.h
# where each launcher leaves rank, world size and local rank
LAUNCHER_ENV = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that training and testing share."""
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/<config name>)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, metavar='KEY=VALUE', help='override settings, e.g. a.b=1 c="[1,2]"'
    )
    parser.add_argument('--launcher', choices=['none', *LAUNCHER_ENV], default='none', help='job launcher')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read an old checkpoint as pickle, which executes whatever code is in it; only for files that you wrote yourself',
    )
    parser.add_argument('--seed', type=int, help='random seed')
    parser.add_argument(
        '--deterministic',
        action='store_true',
        help='on a GPU: the same numbers in every run, slower; a model that cannot is refused at the start',
    )


def apply_arguments(cfg: 'Config', args: argparse.Namespace) -> None:
    """Write the common arguments into ``cfg``; the command line wins over the config, the config over defaults."""
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(args.config).stem)
    require_writable(cfg.work_dir, '--work-dir')
    if args.seed is not None:
        cfg.randomness.seed = args.seed
    if args.trust_checkpoint:
        cfg.trust_checkpoint = True
    if args.deterministic:
        cfg.randomness.deterministic = True


def require_writable(folder: str | Path, option: str) -> None:
    """See that a folder can be written before the work starts; a full disk is another matter, old leftovers may be removed."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise ConfigError(
                f'{folder}: this folder cannot be written ({error.strerror}); name another with {option}.'
            ) from None


def build_runner(cfg: 'Config') -> 'Runner':
    """Start the process group where mmengine cannot (no GPU) and build the Runner."""
    import torch

    from openmsra.engine.runner import OpenMSRARunner

    if cfg.launcher == 'slurm':
        _set_slurm_rendezvous()
    if not torch.cuda.is_available():
        keep_freed_memory()
    if cfg.launcher != 'none' and not torch.cuda.is_available():
        _init_gloo(cfg.launcher, cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout'))
    return OpenMSRARunner.from_cfg(cfg)


def keep_freed_memory() -> None:
    """Let the allocator of this process hold on to the memory of freed tensors, as that of a GPU does.

    By default glibc gives every large tensor back to the system at once, and each new one costs a page fault for 4 KiB: up to a
    fifth of the processor's time of a step. Does nothing with another C library, or where ``MALLOC_*`` variables of the
    environment say something else. Tensors above 256 MiB still come and go, as does what is free at the end of the heap
    above 512 MiB.
    """
    if platform.libc_ver()[0] != 'glibc' or any(name.startswith('MALLOC_') for name in os.environ):
        return
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in ((_M_MMAP_THRESHOLD, 256 << 20), (_M_TRIM_THRESHOLD, 512 << 20)):
        mallopt(parameter, value)


def _set_slurm_rendezvous() -> None:
    """A port that belongs to the job, so that two jobs on one machine do not meet, and the first machine's name."""
    job = os.environ.get('SLURM_JOB_ID', '0')
    os.environ.setdefault('MASTER_PORT', str(20_000 + int(job) % 20_000))
    if 'MASTER_ADDR' not in os.environ and int(os.environ.get('SLURM_NNODES', 1)) > 1:
        nodes = subprocess.run(
            ['scontrol', 'show', 'hostnames', os.environ['SLURM_JOB_NODELIST']], capture_output=True, text=True, check=True
        )
        os.environ['MASTER_ADDR'] = nodes.stdout.split()[0]
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')


def _init_gloo(launcher: str, timeout: float | None) -> None:
    """mmengine's own start-up sets a CUDA device for every launcher and cannot be used on a CPU-only torch."""
    import torch

    names = LAUNCHER_ENV[launcher]
    absent = [name for name in names if name not in os.environ]
    if absent:
        raise ConfigError(
            f'--launcher {launcher}: {", ".join(absent)} not set in the environment. '
            'Start through tools/dist_train.sh, tools/slurm_train.sh or mpirun.'
        )
    for ours, theirs in zip(LAUNCHER_ENV['pytorch'], names, strict=True):
        os.environ[ours] = os.environ[theirs]
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', '29500')
    torch.distributed.init_process_group('gloo', timeout=timeout and timedelta(seconds=timeout))


def run_tool(main, argv: list[str] | None = None) -> None:
    """Run a tool's ``main``; errors of the user and a full disk end in their message and exit code 2, not in a traceback."""
    stopped = os.environ.get('OPENMSRA_STOPPED_DIR')
    if stopped and any(Path(stopped).iterdir()):
        sys.exit(PREEMPTED)  # torchrun restarts processes that were asked to stop
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):  # a file name that is not UTF-8 must not cost the results
            stream.reconfigure(errors='backslashreplace')
    try:
        code = _exit_code(main, argv, stopped)
    finally:
        _end_data_workers()
        end_process_group()
    if code:
        sys.exit(code)


def _exit_code(main, argv: list[str] | None, stopped: str | None) -> int:
    """Run ``main``; what a user has to know of its end goes to stderr."""
    try:
        with explained_imports():
            main(argv)
    except PreemptedError as error:
        from openmsra.engine.preemption import SIGNALS

        for number in SIGNALS:  # srun ends the others when the first has left; they have saved too
            signal.signal(number, signal.SIG_IGN)
        print(error, file=sys.stderr)
        if stopped:
            (Path(stopped) / os.environ.get('RANK', '0')).touch()
        return PREEMPTED
    except (UserError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        where = f' for {error.filename}' if error.filename else ''
        print(
            f'error: no space left on the disk{where}. Make room or name another folder, then run the command again.',
            file=sys.stderr,
        )
        return 2
    return 0


def end_process_group() -> None:
    """Leave the process group and wait for its threads.

    A thread of gloo that still holds a tensor when Python ends aborts the process. The group joins its threads when its last
    reference goes, and what holds it (runner, model, wrapper) refers to itself: only the collector finds it. The last reference
    has to be Python's, which lets go of the interpreter's lock: a wrapper of DDP joins the threads with the lock held, and one
    that needs the lock to free its tensor would wait for ever.
    """
    distributed = sys.modules.get('torch.distributed')  # absent where nothing has imported torch
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        group = distributed.group.WORLD
        distributed.destroy_process_group()
        gc.collect()
        del group


def _end_data_workers() -> None:
    """End what is left of the data workers: they ignore SIGTERM, by which Python would end them at its own end and then wait.

    torch takes a worker that dies for a fault of the training, so its handler is taken off first.
    """
    if workers := multiprocessing.active_children():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for worker in workers:
            worker.kill()
