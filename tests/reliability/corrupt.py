"""Files that are broken, or whole and unusual: images, videos, annotations."""

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def _encoded(array: np.ndarray, kind: str, mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(stream, kind)
    return stream.getvalue()


def damaged(content: bytes, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Truncations, bit flips, runs of zeros."""
    for share in (0, 0.01, 0.1, 0.4, 0.8, 0.95):
        yield f'cut{share}', content[: int(share * len(content))]
    for flips in (1, 3, 10, 100):
        flipped = bytearray(content)
        for _ in range(flips):
            flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        yield f'flip{flips}', bytes(flipped)
    for start in (0, 0.3, 0.7):
        first = int(start * len(content))
        length = max(len(content) // 5, 1)
        yield f'zeros{start}', content[:first] + bytes(length) + content[first + length :]


def images(folder: Path, seed: int = 0, rounds: int = 1) -> list[Path]:
    """Image files of about every fault that is met, and some that are unusual but whole."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    array = noise.integers(0, 255, (60, 80, 3), np.uint8)
    contents = {}
    for number in range(rounds):
        for suffix, kind in (('.jpg', 'JPEG'), ('.png', 'PNG'), ('.bmp', 'BMP'), ('.webp', 'WEBP'), ('.tif', 'TIFF')):
            for name, content in damaged(_encoded(array, kind), rng):
                contents[f'{name}_{number}{suffix}'] = content
    contents |= {
        'wrong_suffix.png': _encoded(array, 'JPEG'),
        'wrong_suffix.jpg': _encoded(array, 'PNG'),
        'text.jpg': b'hello',
        'html.png': b'<html>404</html>',
        'empty.png': b'',
        'zeros.jpg': bytes(1000),
        'cmyk.jpg': _encoded(array, 'JPEG', 'CMYK'),
        'grey.jpg': _encoded(array, 'JPEG', 'L'),
        'palette.png': _encoded(array, 'PNG', 'P'),
        'alpha.png': _encoded(array, 'PNG', 'RGBA'),
        'bits.png': _encoded(array, 'PNG', '1'),
        'pixel.png': _encoded(array[:1, :1], 'PNG'),
        'sixteen.png': _encoded(noise.integers(0, 65535, (60, 80), np.uint16), 'PNG'),
        'line.png': _encoded(array[:1], 'PNG'),
        'bomb.png': _png_header(60_000, 60_000),
        'flat.png': _png_header(0, 10),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / 'folder.png').mkdir()
    return [folder / name for name in contents] + [folder / 'folder.png']


def _png_header(width: int, height: int) -> bytes:
    """A PNG whose header claims any size."""
    import struct
    import zlib

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    chunk = b'IHDR' + header
    data = b'IDAT' + zlib.compress(b'\0')
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(part) - 4) + part + struct.pack('>I', zlib.crc32(part)) for part in (chunk, data, b'IEND')
    )


def write_video(path: Path, frames: int = 12) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
    for value in range(frames):
        writer.write(np.full((48, 64, 3), 10 * value, np.uint8))
    writer.release()


def videos(folder: Path, seed: int = 0, rounds: int = 1) -> list[Path]:
    """Damaged videos, videos without frames, and other files with a video's suffix."""
    rng = random.Random(seed)
    write_video(folder / 'whole.avi')
    content = (folder / 'whole.avi').read_bytes()
    (folder / 'whole.avi').unlink()
    found = []
    for number in range(rounds):
        for name, bad in damaged(content, rng):
            found.append(folder / f'{name}_{number}.avi')
            found[-1].write_bytes(bad)
    write_video(folder / 'no_frames.avi', 0)
    write_video(folder / 'one_frame.avi', 1)
    (folder / 'text.mp4').write_bytes(b'no video')
    (folder / 'image.mkv').write_bytes(_encoded(np.zeros((9, 9, 3), np.uint8), 'PNG'))
    return [*found, *(folder / name for name in ('no_frames.avi', 'one_frame.avi', 'text.mp4', 'image.mkv'))]


def json_values() -> list:
    """Odd things in the place of a JSON value."""
    return [
        None,
        True,
        -1,
        10**400,
        1.5,
        float('nan'),
        '',
        '../../etc',
        '/etc/passwd',
        'a\0b',
        'x' * 5000,
        [],
        [[]],
        {},
        {'a': {}},
    ]


def texts(row: dict) -> Iterator[str]:
    """Texts that are no row of JSON, or one with an odd value in one of its places."""
    whole = json.dumps(row)
    yield from ('', '{', whole[:-1], whole + whole, '[' * 100_000, 'null', '[]', '3', '"text"', '\ufeff' + whole[1:])
    for name in row:
        yield json.dumps({key: value for key, value in row.items() if key != name})
        for value in json_values():
            yield json.dumps({**row, name: value})
