"""Image files as RGB: one list of suffixes, one reader and one file listing for all papers."""

import io
import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from openmsra.common.files import Place, list_files, natural_order
from openmsra.errors import AnnotationError, ImageError

SUFFIXES = (
    '.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.apng', '.bmp', '.dib', '.webp', '.tif', '.tiff', '.gif', '.avif', '.ppm', '.pgm',
    '.pbm', '.pnm', '.jp2', '.tga',
)  # fmt: skip
LARGEST = 178_956_970  # pixels: where Pillow too suspects an attack; as RGB they take 0.5 GB
ORIENTATION = 0x0112  # tag of EXIF
# how a picture was taken -> how it must be turned to be seen upright
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
BACK = {  # the others undo themselves
    Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # values of the EXIF entry that swap width and height


def read_rgb(
    source: str | Path | bytes,
    background: tuple[int, int, int] | None = (255, 255, 255),
    smallest: int = 1,
    largest: int = LARGEST,
) -> np.ndarray:
    """Pixels (H, W, 3), uint8 RGB, upright: turned as the EXIF entry asks for.

    Grey, palette, CMYK and YCbCr are converted; of 16 bits a channel the upper 8 are taken, that is, the full range is scaled;
    an animation gives its first picture; colour profiles are ignored. Pixels of ordinary 8-bit files are those of OpenCV.

    Args:
        source: a file or its content.
        background: what shows through transparent pixels; ``None`` refuses them.
        smallest: least side in pixels.
        largest: most pixels; a header that claims more is refused before anything is decoded.

    Raises:
        ImageError: no such file; not an image, damaged or cut off (nothing is filled up with grey); too small or too large;
            floating-point or 32-bit values, whose range is not known; transparent where that is refused.
    """
    return _read(source, background, smallest, largest)


def read_bgr(source: str | Path | bytes) -> np.ndarray:
    """:func:`read_rgb` with the channels in OpenCV's order."""
    return _read(source, bgr=True)


def _read(
    source: str | Path | bytes,
    background: tuple[int, int, int] | None = (255, 255, 255),
    smallest: int = 1,
    largest: int = LARGEST,
    bgr: bool = False,
) -> np.ndarray:
    name = 'image' if isinstance(source, bytes) else source
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise ImageError(f'{source}: there is no such image file.')
    try:
        jpeg = _whole_jpeg(source)
        if jpeg and not jpeg.exif:
            _check_size(name, jpeg.size, smallest, largest)
            if (pixels := jpeg.decoded(bgr)) is not None:
                return pixels
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # the bound here is ``largest``
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_formats())
        with image:
            _check_size(name, image.size, smallest, largest)
            if jpeg and _orientation(image) not in TURNS and (pixels := jpeg.decoded(bgr)) is not None:
                return pixels
            deep_grey = image.mode == 'I' and image.format in ('PNG', 'PPM')  # Pillow's mode for 16 bits in these formats
            image.load()
            orientation = _orientation(image)  # only now: of a TIFF, loading turns the pixels and drops the tag
            if image.mode.startswith('I;16') or deep_grey:
                image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
            elif image.mode in ('F', 'I'):
                raise ImageError(f'{name}: pixel format {image.mode}, deeper than 16 bits; convert it to 8-bit RGB first.')
            if orientation in TURNS:
                image = image.transpose(TURNS[orientation])
            pixels = np.array(_flattened(name, image, background))
            return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if bgr else pixels
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f'{name}: more than {largest} pixels; scale it down first.') from None
    except UnidentifiedImageError:
        raise ImageError(f'{name}: not an image that Pillow can read.') from None
    except Exception as error:  # noqa: BLE001 - on damaged files Pillow raises OSError, SyntaxError, ValueError, struct.error, ...
        raise ImageError(f'{name}: truncated or damaged ({error}).') from None


class _Jpeg(NamedTuple):
    """A JPEG file of three channels that goes on to its end."""

    content: bytes
    size: tuple[int, int]
    exif: bool  # it may have been taken sideways

    def decoded(self, bgr: bool) -> np.ndarray | None:
        """The pixels as they are stored, equal to Pillow's in less time; ``None``: Pillow shall judge."""
        order = cv2.IMREAD_COLOR_BGR if bgr else cv2.IMREAD_COLOR_RGB
        pixels = cv2.imdecode(np.frombuffer(self.content, np.uint8), order | cv2.IMREAD_IGNORE_ORIENTATION)
        return pixels if pixels is not None and pixels.shape[1::-1] == self.size else None


def _whole_jpeg(source: str | Path | bytes) -> _Jpeg | None:
    """``None`` for other formats and colours, and where the end is missing, which OpenCV would make up in grey."""
    if isinstance(source, bytes):
        content = source
    else:
        with open(source, 'rb') as file:
            content = file.read(2)
            content += file.read() if content == b'\xff\xd8' else b''
    place, size, exif = 2, None, False
    while content[:2] == b'\xff\xd8' and place + 4 <= len(content) and content[place] == 0xFF:
        mark, segment = content[place + 1], content[place + 4 : place + 10]
        if mark == 0xDA:  # the scan begins; marks of the end before it are those of thumbnails
            return _Jpeg(content, size, exif) if size and content.rfind(b'\xff\xd9', place) >= 0 else None
        if 0xC0 <= mark <= 0xC3 and len(segment) == 6:  # bits, height, width, channels
            height, width = (int.from_bytes(part, 'big') for part in (segment[1:3], segment[3:5]))
            size = (width, height) if segment[::5] == b'\x08\x03' else None
        exif |= mark == 0xE1
        alone = mark == 0xFF or mark == 0x01 or 0xD0 <= mark <= 0xD8  # filling, or a mark without a segment
        place += (1 if mark == 0xFF else 2) if alone else 2 + int.from_bytes(content[place + 2 : place + 4], 'big')
    return None


def upright_size(path: str | Path) -> tuple[int, int]:
    """(width, height) of the pixels that :func:`read_rgb` gives; only the header is read.

    Raises:
        ImageError: no such file, or its header cannot be read.
    """
    if not Path(path).is_file():
        raise ImageError(f'{path}: there is no such image file.')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            with Image.open(path, formats=_formats()) as image:
                _check_size(path, image.size, 1, LARGEST)
                return image.size[::-1] if _orientation(image) in SIDEWAYS else image.size
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f'{path}: more than {LARGEST} pixels; scale it down first.') from None
    except Exception as error:  # noqa: BLE001 - see read_rgb
        raise ImageError(f'{path}: not an image that Pillow can read ({error}).') from None


def size_or_reason(path: Path) -> tuple[int, int] | str:
    """:func:`upright_size`, or why there is none, for many images on several processes."""
    try:
        return upright_size(path)
    except ImageError as error:
        return str(error)


def read_annotated(path: str | Path, size: tuple[int, int] | None) -> np.ndarray:
    """Pixels (H, W, 3), uint8 RGB, in the orientation in which an image was annotated.

    Args:
        size: (width, height) that the annotation file states; ``None`` or that of the upright image gives the upright image, that
            of the image as it is stored, before it was turned by its EXIF entry, the stored one.

    Raises:
        ImageError: see :func:`read_rgb`.
        AnnotationError: it has neither of these sizes, so that boxes do not fit.
    """
    pixels = read_rgb(path)
    height, width = pixels.shape[:2]
    if size is None or (width, height) == tuple(size):
        return pixels
    if (height, width) == tuple(size):
        with Image.open(path) as image:
            turn = TURNS.get(_orientation(image))
        if turn is not None:
            return np.array(Image.fromarray(pixels).transpose(BACK.get(turn, turn)))
    raise AnnotationError(
        f'{path}: the image has {width}x{height} pixels, its annotation file says {size[0]}x{size[1]}, so the boxes do '
        'not fit. Was it scaled after it was annotated?'
    )


def write_rgb(path: str | Path, pixels: np.ndarray) -> None:
    """Write pixels (H, W, 3), uint8 RGB; the suffix is the format.

    Raises:
        OSError: the file cannot be written (OpenCV would only return ``False``).
    """
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)


def channels_first(pixels: np.ndarray) -> np.ndarray:
    """(..., H, W, 3) uint8 as a copy (3, ..., H, W), by OpenCV in less than half the time of a transposed copy."""
    rows = np.ascontiguousarray(pixels).reshape(-1, *pixels.shape[-2:])
    channels = np.empty((rows.shape[-1], *rows.shape[:2]), np.uint8)
    cv2.mixChannels([rows], list(channels), [0, 0, 1, 1, 2, 2])
    return channels.reshape(-1, *pixels.shape[:-1])


def list_images(places: Place | Iterable[Place], recursive: bool = True) -> list[Path]:
    """The image files that are meant; see :func:`openmsra.common.files.list_files`."""
    return list_files(places, SUFFIXES, 'images', recursive)


def named_images(images: Place | np.ndarray | Sequence) -> list[tuple[str | int, Path | np.ndarray]]:
    """(name, image) of every image that is meant: files by their path, arrays by their place.

    Args:
        images: a file, folder or pattern, an array, or several of these.
    """
    named: list[tuple[str | int, Path | np.ndarray]] = []
    for image in images if isinstance(images, list | tuple) else [images]:
        if isinstance(image, np.ndarray):
            named.append((len(named), image))
        else:
            named += [(str(file), file) for file in list_images(image)]
    return named


def require_pixels(array: np.ndarray) -> None:
    """See that an array is an image: (H, W), (H, W, 1) or (H, W, 3), uint8.

    Raises:
        ImageError: it is not; nobody says in which range values of another type lie, or what a fourth channel is.
    """
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not array.size or array.shape[2:] not in ((), (1,), (3,)):
        raise ImageError(f'an array {array.shape} of {array.dtype}; images are (H, W), (H, W, 1) or (H, W, 3), uint8, not empty.')


def colour_pixels(array: np.ndarray) -> np.ndarray:
    """Pixels (H, W, 3) of an array that is an image; grey is repeated.

    Raises:
        ImageError: see :func:`require_pixels`.
    """
    require_pixels(array)
    return np.ascontiguousarray(np.broadcast_to(array.reshape(*array.shape[:2], -1), (*array.shape[:2], 3)))


def images_of(folder: str | Path) -> list[Path]:
    """The image files directly in a folder, frame2 before frame10; hidden ones do not count; none if it is no folder."""
    files = (path for path in Path(folder).glob('[!.]*') if path.suffix.lower() in SUFFIXES and not path.is_dir())
    return sorted(files, key=natural_order)


@cache
def _formats() -> list[str]:
    """Pillow's names of the formats of ``SUFFIXES``: a PostScript file that is called .jpg must not start an interpreter."""
    known = Image.registered_extensions()
    return sorted({known[suffix] for suffix in SUFFIXES if suffix in known})


def _check_size(name: str | Path, size: tuple[int, int], smallest: int, largest: int) -> None:
    said = f'{name}: {size[0]}x{size[1]} pixels'
    if min(size) < smallest:
        raise ImageError(f'{said}; at least {smallest} per side are needed.')
    if size[0] * size[1] > largest:
        raise ImageError(f'{said}; at most {largest} are read, scale it down first.')


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - a damaged EXIF entry says nothing; the pixels may be whole
        return 1


def _flattened(name: str | Path, image: Image.Image, background: tuple[int, int, int] | None) -> Image.Image:
    """The image as RGB, on a background where it is transparent."""
    if not (image.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or 'transparency' in image.info):
        return image.convert('RGB')
    image = image.convert('RGBA')
    if image.getextrema()[3][0] == 255:
        return image.convert('RGB')
    if background is None:
        raise ImageError(f'{name}: has transparent pixels; flatten it onto a background first.')
    return Image.alpha_composite(Image.new('RGBA', image.size, (*background, 255)), image).convert('RGB')
