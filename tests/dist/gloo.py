"""Run a function on several gloo processes of one machine, on the CPU."""

import faulthandler
import importlib
import multiprocessing
import os
import pickle
import queue
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

from openmsra.engine.launch import end_process_group

READ_BY_RUNNERS = ('matplotlib.pyplot', 'yapf.yapflib.yapf_api')  # when they are built, by each process else


def run_on_processes(function: Callable, world_size: int, *arguments, timeout: float = 120) -> list:
    """Call ``function(rank, world_size, *arguments)`` on each of ``world_size`` processes.

    Returns:
        what each rank returned, in the order of the ranks.

    Raises:
        RuntimeError: a rank failed (with its traceback) or did not answer within ``timeout`` seconds;
            stderr shows where each was then.
    """
    # forked from this process, which has read the libraries; one that has used a GPU cannot be forked
    context = multiprocessing.get_context('spawn' if torch.cuda.is_available() else 'fork')
    for library in READ_BY_RUNNERS:
        importlib.import_module(library)
    results = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / 'port'
        # no daemons: these may not start data workers
        processes = [
            context.Process(target=_rank, args=(function, rank, world_size, meeting, results, timeout, arguments))
            for rank in range(world_size)
        ]
        for process in processes:
            process.start()
        try:
            answers = dict(_checked(pickle.loads(results.get(timeout=timeout))) for _ in processes)
        except queue.Empty:
            raise RuntimeError(f'a rank did not answer within {timeout:g} s') from None
        finally:
            for process in processes:
                process.join(5)
                process.kill()
    return [answers[rank] for rank in range(world_size)]


def _checked(answer: tuple) -> tuple:
    rank, value, error = answer
    if error:
        raise RuntimeError(f'rank {rank} failed:\n{error}')
    return rank, value


def _store(rank: int, meeting: Path, timeout: float) -> dist.TCPStore:
    """The kind of store that launchers make, at a port that is free: the first rank is given one and writes it down."""
    if rank == 0:
        store = dist.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
        written = meeting.with_suffix('.new')
        written.write_text(str(store.port), encoding='utf-8')
        written.replace(meeting)
        return store
    end = time.monotonic() + timeout
    while not meeting.exists():
        if time.monotonic() > end:
            raise TimeoutError('the first rank has no store')
        time.sleep(0.01)
    return dist.TCPStore('127.0.0.1', int(meeting.read_text(encoding='utf-8')), is_master=False)


def _rank(function: Callable, rank: int, world_size: int, meeting: Path, results, timeout: float, arguments: tuple) -> None:
    faulthandler.dump_traceback_later(0.9 * timeout, file=2)
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    try:
        dist.init_process_group('gloo', store=_store(rank, meeting, timeout), rank=rank, world_size=world_size)
        answer = (rank, function(rank, world_size, *arguments), None)
    except Exception:  # noqa: BLE001 - the parent process raises it
        answer = (rank, None, traceback.format_exc())
    finally:
        end_process_group()
    # as bytes: the queue would send tensors as handles, which end with this process, perhaps before they are read
    results.put(pickle.dumps(answer))
