"""Files of one kind in folders, patterns and lists of these: the one way in which all papers look for images and videos."""

import glob
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mmengine.logging import print_log

from openmsra.errors import MissingFileError

Place = str | Path


def list_files(places: Place | Iterable[Place], suffixes: Iterable[str], kind: str, recursive: bool = True) -> list[Path]:
    """The files that are meant, those of each place in the order of their names.

    A folder stands for its files with one of the suffixes. Hidden ones (``._a.jpg`` of macOS, whatever lies in ``.git`` or
    ``.ipynb_checkpoints``) are left out, which a warning says; links to folders are followed, each folder is visited once.
    A file that is named itself is taken whatever its name.

    Args:
        places: a file, a folder, a pattern (``'scans/*/*.png'``), or several of these.
        suffixes: in lower case, with their dot.
        kind: what the files are, for messages: 'images', 'videos'.
        recursive: look into sub-folders.

    Raises:
        MissingFileError: a place does not exist, or holds no such file.
    """
    suffixes = tuple(suffixes)
    files = []
    for place in [places] if isinstance(places, str | Path) else places:
        matches = [Path(place)] if Path(place).exists() else sorted(map(Path, glob.glob(str(place), recursive=True)), key=_parts)
        if not matches:
            raise MissingFileError(f'{place}: there is no such file or folder of {kind}.')
        inside = [file for match in matches for file in ([match] if match.is_file() else _inside(match, suffixes, recursive))]
        if not inside:
            raise MissingFileError(f'{place}: no {kind} in this folder ({", ".join(suffixes)}).')
        files += inside
    return files


def existing_files(root: Place, names: Iterable[str]) -> list[str]:
    """Paths of those ``names``, relative to ``root``, that are files, in their order.

    Each folder is listed once: asking for millions of files one by one takes minutes, on a shared disk hours.
    """
    known: dict[str, set[str]] = {}
    paths = []
    for name in names:
        folder, _, base = name.rpartition('/')
        if folder not in known:
            known[folder] = _file_names(os.path.join(root, folder))
        if base in known[folder]:
            paths.append(os.path.join(root, name))
    return paths


def _file_names(folder: str) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def visible_folders(folder: Place) -> list[Path]:
    """The folders directly in ``folder``, in the order of their names; hidden ones (``.ipynb_checkpoints``) are left out."""
    return sorted((path for path in Path(folder).iterdir() if path.is_dir() and not path.name.startswith('.')), key=_parts)


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """A key for sorting by which frame2 comes before frame10, and frame01 before frame1."""
    return [int(part) if number % 2 else part for number, part in enumerate(re.split('([0-9]+)', path.name))], path.name


def _inside(folder: Path, suffixes: tuple[str, ...], recursive: bool) -> list[Path]:
    files, hidden, others, visited = [], [], Counter(), set()
    for base, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(base)
        if not recursive or (status.st_dev, status.st_ino) in visited:  # a link may lead to a folder above itself
            folders.clear()
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        hidden += [Path(base, name) for name in folders if name.startswith('.')]
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        for path in (Path(base, name) for name in names):
            if path.suffix.lower() not in suffixes:
                others[path.suffix.lower()] += 1
            else:
                (hidden if path.name.startswith('.') else files).append(path)
    if hidden or others:
        left_out = [f'{len(hidden)} hidden (such as {hidden[0].relative_to(folder)})'] if hidden else []
        left_out += [f'{count} {suffix or "without suffix"}' for suffix, count in others.most_common(5)]
        print_log(f'{folder}: left out: {", ".join(left_out)}.', 'current', logging.WARNING if hidden else logging.INFO)
    return sorted(files, key=_parts)


def _parts(path: Path) -> tuple[str, ...]:
    return path.parts
