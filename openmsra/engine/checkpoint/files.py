"""Files that are never half written: temporary file in the same folder, fsync, atomic replace, fsync of the folder."""

import fcntl
import os
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mmengine.dist import broadcast_object_list, get_rank
from mmengine.fileio import LocalBackend, register_backend

from openmsra.errors import ConfigError

TEMPORARY = re.compile(r'\..+\.(\d+)\.tmp')  # .name.pid.tmp
LOCK = '.lock'


def write_durably(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a file; ``path`` holds the old or the complete new content at any time, also after a power cut.

    Raises:
        OSError: the disk is full, say; the old content is then still there and no temporary file is left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with temporary.open('wb') as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale_temporaries(folder: str | Path) -> list[Path]:
    """Delete what killed processes have left half written in ``folder``; files of living processes stay."""
    temporaries = [(path, TEMPORARY.fullmatch(path.name)) for path in Path(folder).glob('.*.tmp')]
    stale = [path for path, match in temporaries if match and not _alive(int(match[1]))]
    for path in stale:
        path.unlink(missing_ok=True)
    return stale


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, as somebody else's
    return True


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Hold a training's lock on its folder; only the main process of a run takes it, and the system lets go of it at its death.

    Raises:
        ConfigError: another run holds it; on all processes alike.
    """
    refused, stream = [None], None
    if get_rank() == 0:
        Path(folder).mkdir(parents=True, exist_ok=True)
        stream = (Path(folder) / LOCK).open('a+', encoding='utf-8')
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, not handed on to data workers
        except (BlockingIOError, PermissionError):
            stream.seek(0)
            refused = [stream.read().strip() or 'unknown']
        except OSError:
            pass  # a file system without locks
        else:
            stream.truncate(0)
            stream.write(f'process {os.getpid()} on {platform.node()}')
            stream.flush()
    broadcast_object_list(refused)
    try:
        if refused[0]:
            raise ConfigError(
                f'{folder}: another run is training here ({refused[0]}), and each would overwrite the checkpoints of the other. '
                'Wait for it, end it, or choose another --work-dir.'
            )
        yield
    finally:
        if stream is not None:
            stream.close()


class DurableBackend(LocalBackend):
    """mmengine's file backend ``backend='durable'``: local files, written durably, deleted only when that is safe.

    ``remove`` only notes a file that lies directly in ``folder`` and has a checkpoint's name; :meth:`remove_noted` deletes what
    was noted, after the file that replaces it has been written. Names come from checkpoints, which are not trusted.

    Args:
        folder: where the checkpoints are.
    """

    def __init__(self, folder: str | Path = '.') -> None:
        self.folder, self.noted = Path(folder), []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_durably(filepath, lambda stream: stream.write(obj))

    def remove(self, filepath: str | Path) -> None:
        path = Path(filepath)
        if path.suffix == '.pth' and path.parent.resolve() == self.folder.resolve():
            self.noted.append(path)

    def remove_noted(self, keep: set[Path]) -> None:
        """Delete the noted files except those in ``keep``."""
        for path in self.noted:
            if path not in keep:
                path.unlink(missing_ok=True)
        self.noted.clear()


register_backend('durable', DurableBackend)
