"""What must be the same on all processes of a run: the checkpoint that they load, and whether it could be read."""

import hashlib
import platform
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import all_gather_object, broadcast_object_list, get_rank, get_world_size

from openmsra.engine.checkpoint.files import write_durably
from openmsra.errors import CheckpointError, DamagedCheckpointError

CHUNK = 64 * 2**20  # bytes that are sent at once


def together(action: Callable[[], Any]) -> Any:
    """Run ``action`` on all processes; if it fails with a ``CheckpointError`` on one of them, all raise that error.

    Returns:
        what ``action`` returned on this process.
    """
    result, error = None, None
    try:
        result = action()
    except CheckpointError as raised:
        error = raised
    told = all_gather_object((type(error), str(error), platform.node()) if error else None)
    failures = [(rank, *failure) for rank, failure in enumerate(told) if failure]
    if failures:
        rank, kind, sentence, node = failures[0]
        where = f' (process {rank} on {node})' if get_world_size() > 1 and len(failures) < get_world_size() else ''
        raise kind(sentence + where) from error
    return result


def shared_file(path: str | Path) -> Path:
    """See that every machine has the file that the main process has under this name, to be called on all processes.

    Where a machine has none, or another one, the main process sends its own, and the machine's first process writes it.

    Raises:
        CheckpointError: on all processes; the main process has no such file, or a machine cannot write its copy.
    """
    path = Path(path)
    if get_world_size() == 1:
        return path
    identity = [_identity(path)]
    broadcast_object_list(identity)
    if identity[0] is None:
        raise DamagedCheckpointError(f'{path}: there is no such checkpoint file on {_main_node()}, where the main process runs.')
    lacks = _identity(path) != identity[0]
    writes = first_on_machine(lacks)
    if any(all_gather_object(lacks)):
        together(lambda: _receive(path, write=writes))
        nodes = all_gather_object(platform.node() if _identity(path) != identity[0] else '')
        if any(nodes):
            raise CheckpointError(f'{path}: {", ".join(sorted(set(nodes) - {""}))} could not take it over from the main process.')
    return path


def first_on_machine(candidate: bool = True) -> bool:
    """Whether this is the first process of its machine for which ``candidate`` holds, to be called on all processes."""
    candidates = all_gather_object((platform.node(), candidate))
    return candidate and candidates.index((platform.node(), True)) == get_rank()


def _main_node() -> str:
    name = [platform.node()]
    broadcast_object_list(name)
    return name[0]


def _identity(path: Path) -> str | None:
    """Tells contents apart without reading them: sizes and checksums of the archive's entries."""
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [(entry.filename, entry.file_size, entry.CRC) for entry in archive.infolist()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        entries = [hashlib.sha256(path.read_bytes()).hexdigest()]  # the format of torch before 1.6, or damaged
    return repr((path.stat().st_size, hashlib.sha256(repr(entries).encode()).hexdigest()))


def _receive(path: Path, write: bool) -> None:
    """Send the main process's file to all others, of which some ``write`` it."""
    chunks = _chunks(path)
    if not write:
        for _ in chunks:
            pass
        return
    error = None

    def write_chunks(stream) -> None:
        for chunk in chunks:
            stream.write(chunk)

    try:
        write_durably(path, write_chunks)
    except OSError as raised:
        error = raised
        for _ in chunks:  # the others wait for every part
            pass
    if error:
        raise CheckpointError(f'{path}: the copy of the main process cannot be written here ({error.strerror}).')


def _chunks(path: Path):
    """The main process's file in parts, on all processes."""
    device = 'cpu' if dist.get_backend() == 'gloo' else torch.device('cuda', torch.cuda.current_device())
    stream = path.open('rb') if get_rank() == 0 else None
    try:
        size = torch.tensor([path.stat().st_size if stream else 0], device=device)
        dist.broadcast(size, 0)
        left = int(size)
        while left:
            count = min(CHUNK, left)
            if stream:
                part = torch.frombuffer(bytearray(stream.read(count)), dtype=torch.uint8).to(device)
            else:
                part = torch.empty(count, dtype=torch.uint8, device=device)
            dist.broadcast(part, 0)
            left -= count
            yield part.cpu().numpy().tobytes()
    finally:
        if stream:
            stream.close()
