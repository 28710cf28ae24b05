"""Where results go: checked before the work, and texts that any file and terminal can take."""

import os
import tempfile
from pathlib import Path

from openmsra.errors import DataError, ToolError


def require_writable(folder: str | Path) -> Path:
    """See that results can be written into a folder, or into one above it that is there; nothing is made.

    Raises:
        ToolError: they cannot; the message says why.
    """
    folder = Path(folder)
    try:
        with tempfile.TemporaryFile(dir=next(path for path in (folder, *folder.absolute().parents) if path.exists())):
            pass
    except OSError as error:
        raise _no_folder(folder, error) from None
    return folder


def writable_folder(folder: str | Path) -> Path:
    """Make a folder for results, if it is not there, and see that a file can be written into it: before the work, not after.

    Raises:
        ToolError: it cannot be made or written; the message says why.
    """
    try:
        require_writable(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(folder, error) from None
    return require_writable(folder)


def _no_folder(folder: str | Path, error: OSError) -> ToolError:
    return ToolError(f'{folder}: no folder for results ({error.strerror or error}); name another one.')


def left_out(faults: dict[str, str], total: int, kind: str, out: str | Path) -> DataError:
    """What a tool raises at its end where some inputs could not be read: the others are done, and the exit code tells.

    Args:
        faults: input -> reason.
        total: number of inputs.
        kind: what they are: 'images', 'videos'.
        out: where the results of the others are.
    """
    lines = [reason if name in reason else f'{name}: {reason}' for name, reason in list(faults.items())[:20]]
    reasons = '\n'.join(map(printable, lines))
    return DataError(f'{len(faults)} of {total} {kind} were left out, the others are in {printable(out)}:\n{reasons}')


def why_unlistable(name: str) -> str | None:
    """Why a name cannot stand in a line of a list that is read again; ``None`` if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return 'its name is not UTF-8, so it cannot stand in a list; rename it'
    if '\t' in name or name.splitlines() != [name.strip()]:
        return 'its name has a tab, a line break or a blank at its end, so it cannot stand in a list; rename it'
    return None


def printable(name: object) -> str:
    """A text in which names of files that are not UTF-8 show their bytes as escapes: such a name must not cost the results."""
    return os.fsencode(str(name)).decode('utf-8', 'backslashreplace')
