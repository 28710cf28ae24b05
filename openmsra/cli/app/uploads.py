"""Files of visitors: how many, how large, and what they are by their content, whatever their names say."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from openmsra.common.images import read_rgb
from openmsra.errors import DataError, ImageError, ToolError, VideoError

MB = 2**20
# how video files begin: (offset, bytes). Play lists and other texts are none: they would make a decoder open further files
VIDEO_STARTS = (
    (4, b'ftyp'), (4, b'moov'), (4, b'mdat'), (4, b'free'), (4, b'skip'), (4, b'wide'), (4, b'pnot'),  # MP4, QuickTime
    (0, b'\x1a\x45\xdf\xa3'),  # Matroska, WebM
    (8, b'AVI '),
    (0, b'\x30\x26\xb2\x75\x8e\x66\xcf\x11'),  # WMV, ASF
    (0, b'FLV'), (0, b'OggS'),
    (0, b'\x00\x00\x01'), (0, b'\x00\x00\x00\x01'),  # MPEG streams, raw H.264 and H.265
    (0, b'\x47'), (4, b'\x47'),  # transport streams, the second of camcorders
    (0, b'\x06\x0e\x2b\x34'),  # MXF
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What a visitor may ask for.

    Attributes:
        file_mb: size of a file, in MB.
        files: files at once.
        total_mb: sum of their sizes, and of one upload.
        seconds: of work, and of an upload.
        frames: of a video that are looked at.
        pixels: of an image.
    """

    file_mb: int = 200
    files: int = 200
    total_mb: int = 1000
    seconds: int = 600
    frames: int = 1500
    pixels: int = 50_000_000


def take(files: Sequence[str | Path] | str | Path | None, limits: Limits, kind: str) -> list[Path]:
    """The files of an upload.

    Args:
        kind: what they are, for messages: 'images', 'videos'.

    Raises:
        ToolError: none, too many, or too large.
    """
    files = [files] if isinstance(files, str | Path) else files or []
    paths = [Path(file) for file in files]
    if not paths:
        raise ToolError(f'No {kind} yet: drop some into the box first.')
    if len(paths) > limits.files:
        raise ToolError(f'{len(paths)} {kind} at once; this server takes {limits.files} (--max-files).')
    if gone := [path.name for path in paths if not path.is_file()]:
        raise ToolError(f'{gone[0]} is no longer here, uploads are removed after a while: send it again.')
    sizes = [path.stat().st_size / MB for path in paths]
    if max(sizes) > limits.file_mb:
        raise ToolError(f'{paths[sizes.index(max(sizes))].name}: {max(sizes):.0f} MB; at most {limits.file_mb} MB a file.')
    if sum(sizes) > limits.total_mb:
        raise ToolError(f'{sum(sizes):.0f} MB in all; this server takes {limits.total_mb} MB at once.')
    return paths


def readable_images(paths: Iterable[Path], limits: Limits) -> tuple[list[Path], dict[str, str]]:
    """Those files that are images, and for each of the others, by its name, why not.

    Raises:
        DataError: none is.
    """
    good, faults = [], {}
    for path in paths:
        try:
            read_rgb(path, largest=limits.pixels)
        except ImageError as error:
            faults[path.name] = without_folder(error, path)
        else:
            good.append(path)
    if not good:
        raise DataError(f'None of these files is an image: {next(iter(faults.values()))}')
    return good, faults


def require_video(path: Path) -> None:
    """See that a file begins like a video.

    Raises:
        VideoError: it does not.
    """
    with path.open('rb') as stream:
        start = stream.read(16)
    if not any(start[offset:].startswith(mark) for offset, mark in VIDEO_STARTS):
        raise VideoError(f'{path.name}: the file is empty.' if not start else f'{path.name}: by its content this is no video.')


def without_folder(error: Exception, *paths: Path) -> str:
    """The message of an error without the folders of this machine."""
    text = str(error)
    for path in paths:
        text = text.replace(f'{path.parent}/', '')
    return text
