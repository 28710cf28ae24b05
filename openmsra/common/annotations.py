"""Files that describe data, from anywhere: malformed, absurd or escaping ones end in a sentence that names file and line."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType

from openmsra.errors import AnnotationError, MissingFileError

Fields = dict[str, type | UnionType]  # name of a field -> its type, or types
# relative, with single slashes and without '.' or '..' as a part; such a name cannot lead out of its folder
_PART = r'(?!\.\.?(?:/|\Z))[^/\0]{1,255}'
PLAIN_NAME = re.compile(rf'{_PART}(?:/{_PART}){{0,14}}').fullmatch
LARGEST = 4 * 2**30  # bytes; the annotations of Objects365 have 3 GB


def read_text(path: str | Path, largest: int = LARGEST) -> str:
    """Content of a UTF-8 file.

    Raises:
        FileNotFoundError: there is no such file.
        AnnotationError: it has more than ``largest`` bytes or is no text.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f'{path}: there is no such annotation file.')
    if path.stat().st_size > largest:
        raise AnnotationError(f'{path}: {path.stat().st_size} bytes are too many for an annotation file (at most {largest}).')
    try:
        return path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise AnnotationError(f'{path}: not a text file (byte {error.start} is no UTF-8).') from None


def read_json(path: str | Path, fields: Fields) -> dict:
    """The object of a JSON file, with at least the named fields of the given types.

    Raises:
        FileNotFoundError, AnnotationError: see :func:`read_text`; also no JSON, or other types.
    """
    return _parsed(read_text(path), fields, str(path))


def read_json_lines(path: str | Path, fields: Fields) -> Iterator[dict]:
    """The rows of a file with one JSON object a line, each with the named fields of the given types.

    Raises:
        FileNotFoundError, AnnotationError: see :func:`read_text`; also a line that is none of these.
    """
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            yield _parsed(line, fields, f'{path}, line {number}')


def _parsed(text: str, fields: Fields, place: str) -> dict:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f'{place}: no JSON ({str(error) or type(error).__name__}).') from None
    if not isinstance(value, dict):
        raise AnnotationError(f'{place}: holds a {type(value).__name__} where an object is expected.')
    for name, kind in fields.items():
        if name not in value or not isinstance(value[name], kind) or (kind is int and isinstance(value[name], bool)):
            actual = type(value[name]).__name__ if name in value else 'missing'
            raise AnnotationError(f"{place}: '{name}' must be {getattr(kind, '__name__', kind)}, it is {actual}.")
    return value


def inside(root: str | Path, name: str, source: str | Path) -> Path:
    """``root / name`` for a name that ``source`` contains.

    Raises:
        AnnotationError: the name leads out of ``root``, or no file can have it.
    """
    _check_inside(root, name, source)
    return Path(root) / name


def require_inside(root: str | Path, names: Iterable[str], source: str | Path) -> None:
    """See that all ``names``, which may be millions, stay below ``root``, as :func:`inside` does for one.

    Raises:
        AnnotationError: a name leads out of ``root``, or no file can have it.
    """
    for name in names:
        if not PLAIN_NAME(name):  # most are plain: a Path object for each would take a minute for three millions
            _check_inside(root, name, source)


def _check_inside(root: str | Path, name: str, source: str | Path) -> None:
    path = Path(root) / name
    if '\0' in name or len(name) > 4096:
        raise AnnotationError(f'{source}: {name[:80]!r} is no name of a file.')
    relative = path.relative_to(root) if path.is_relative_to(root) else None
    if relative is None or '..' in relative.parts:
        raise AnnotationError(f'{source}: {name!r} leads out of {root}; refused. Put the data below it or change data_root.')
