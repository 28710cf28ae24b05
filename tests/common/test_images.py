"""One reader and one listing: what real and odd files hold is known to the pixel."""

import io
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from openmsra.common.files import visible_folders
from openmsra.common.images import SUFFIXES, channels_first, colour_pixels, list_images, read_bgr, read_rgb, upright_size
from openmsra.common.video import list_videos
from openmsra.errors import ImageError, MissingFileError

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (40, 60, 3), np.uint8)
SMOOTH = cv2.resize(NOISE[:5, :6], (60, 40), interpolation=cv2.INTER_CUBIC)


def encoded(image: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'BMP', 'TIFF', 'WEBP'])
def test_ordinary_files_are_what_opencv_reads(tmp_path, kind):
    content = encoded(SMOOTH, kind)
    expected = cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    (tmp_path / 'file').write_bytes(content)
    for pixels in (read_rgb(content), read_rgb(tmp_path / 'file'), read_rgb(str(tmp_path / 'file'))):
        np.testing.assert_array_equal(pixels, expected)
        assert pixels.dtype == np.uint8 and pixels.flags.writeable


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
def test_pictures_are_upright(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {
        1: SMOOTH, 2: SMOOTH[:, ::-1], 3: SMOOTH[::-1, ::-1], 4: SMOOTH[::-1], 5: SMOOTH.transpose(1, 0, 2),
        6: np.rot90(SMOOTH, -1), 7: SMOOTH[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(SMOOTH),
    }[orientation]  # fmt: skip
    pixels = read_rgb(encoded(SMOOTH, kind, exif=exif, **(dict(quality=95, subsampling=0) if kind == 'JPEG' else {})))
    assert pixels.shape == turned.shape
    assert np.abs(pixels.astype(int) - turned).mean() < 4


@pytest.mark.parametrize('suffix', ['.png', '.tiff'])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_sixteen_bits_are_scaled(suffix, channels):
    shape = (40, 60) if channels == 1 else (40, 60, channels)
    deep = RNG.integers(0, 65536, shape).astype(np.uint16)
    if channels == 4:
        deep[..., 3] = 65535
    content = cv2.imencode(suffix, deep)[1].tobytes()
    upper = (deep >> 8).astype(np.uint8)
    expected = np.repeat(upper[..., None], 3, 2) if channels == 1 else upper[..., 2::-1]
    np.testing.assert_array_equal(read_rgb(content), expected)


def test_sixteen_bits_of_a_pgm_are_scaled():
    deep = RNG.integers(0, 65536, (4, 5)).astype('>u2')
    pixels = read_rgb(b'P5 5 4 65535\n' + deep.tobytes())
    np.testing.assert_array_equal(pixels, np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, 2))


def test_modes_are_converted_and_transparency_shows_the_background():
    grey = NOISE[..., 0]
    np.testing.assert_array_equal(read_rgb(encoded(grey, 'PNG')), np.repeat(grey[..., None], 3, 2))
    palette = Image.fromarray(SMOOTH).quantize(16)
    np.testing.assert_array_equal(read_rgb(encoded(palette, 'PNG')), np.asarray(palette.convert('RGB')))
    np.testing.assert_array_equal(read_rgb(encoded(palette, 'GIF')), np.asarray(palette.convert('RGB')))
    bits = Image.fromarray(grey > 128)
    np.testing.assert_array_equal(read_rgb(encoded(bits, 'PNG'))[..., 1], 255 * (grey > 128))
    cmyk = read_rgb(encoded(Image.fromarray(SMOOTH).convert('CMYK'), 'JPEG', quality=98)).astype(int)
    assert np.abs(cmyk - SMOOTH).mean() < 6
    rgba = np.dstack([NOISE, np.full((40, 60), 255, np.uint8)])
    np.testing.assert_array_equal(read_rgb(encoded(rgba, 'PNG'), background=None), NOISE)
    rgba[:, :30, 3] = 0
    rgba[0, 59, 3] = 128
    pixels = read_rgb(encoded(rgba, 'PNG'), background=(0, 100, 200))
    assert (pixels[:, :30] == (0, 100, 200)).all() and (pixels[1:, 30:] == NOISE[1:, 30:]).all()
    np.testing.assert_allclose(pixels[0, 59], (NOISE[0, 59].astype(float) * 128 + np.array([0, 100, 200]) * 127) / 255, atol=1)
    assert (read_rgb(encoded(rgba, 'PNG'))[:, :30] == 255).all()
    with pytest.raises(ImageError, match='transparent'):
        read_rgb(encoded(rgba, 'PNG'), background=None)


def test_an_animation_gives_its_first_picture():
    pictures = [Image.new('P', (8, 8), colour) for colour in (3, 200)]
    for picture in pictures:
        picture.putpalette([value for value in range(256) for _ in range(3)])
    content = encoded(pictures[0], 'GIF', save_all=True, append_images=pictures[1:])
    assert (read_rgb(content) == 3).all()


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'BMP', 'TIFF', 'WEBP', 'GIF'])
@pytest.mark.parametrize('progressive', [False, True])
def test_half_a_file_is_refused(kind, progressive):
    content = encoded(NOISE, kind, **(dict(progressive=progressive) if kind == 'JPEG' else {}))
    for share in (0.3, 0.5, 0.9):
        with pytest.raises(ImageError, match='truncated|not an image'):
            read_rgb(content[: int(share * len(content))])


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / 'text.jpg').write_text('no image')
    (tmp_path / 'empty.jpg').touch()
    for name in ('text', 'empty', 'none'):
        with pytest.raises(ImageError, match=f'{name}.jpg'):
            read_rgb(tmp_path / f'{name}.jpg')
    with pytest.raises(ImageError, match='such'):
        read_rgb(tmp_path)
    with pytest.raises(ImageError, match='60x40 pixels; at least 41'):
        read_rgb(encoded(NOISE, 'PNG'), smallest=41)
    with pytest.raises(ImageError, match='60x40 pixels; at most 2399'):
        read_rgb(encoded(NOISE, 'PNG'), largest=2399)
    with pytest.raises(ImageError, match='deeper than 16'):
        read_rgb(encoded(NOISE[..., 0].astype(np.float32), 'TIFF'))


def test_a_file_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    (tmp_path / 'a.jpg').write_bytes(encoded(SMOOTH, 'JPEG'))

    def refuse(*_):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('builtins.open', refuse)
    with pytest.raises(ImageError, match=r'a\.jpg: .*Permission denied'):
        read_rgb(tmp_path / 'a.jpg')


@pytest.mark.parametrize('side', [15_000, 60_000])
def test_a_header_that_claims_a_huge_image_is_refused_before_it_is_decoded(side):
    from tests.reliability.corrupt import _png_header

    with pytest.raises(ImageError, match='at most|more than'):
        read_rgb(_png_header(side, side))


def _touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_listing(tmp_path):
    root = tmp_path / 'root'
    kept = ['B.JPG', *(f'a{suffix}' for suffix in SUFFIXES), 'sub/deep/c.png', 'sub/d.png']
    _touch(root, *kept, '._B.JPG', '.hidden.png', '.ipynb_checkpoints/B.JPG', 'sub/.git/e.png', 'notes.txt', 'sub/raw.cr2')
    names = [path.relative_to(root).as_posix() for path in list_images(root)]
    assert names == sorted(kept)
    assert [path.name for path in list_images(root, recursive=False)] == sorted(name for name in kept if '/' not in name)
    assert list_images([root / 'sub', str(root / 'B.JPG')]) == [root / 'sub/d.png', root / 'sub/deep/c.png', root / 'B.JPG']
    assert list_images(root / 'sub' / '*' / '*.png') == [root / 'sub/deep/c.png']
    assert list_images(root / '._B.JPG') == [root / '._B.JPG'], 'what is named is meant'
    with pytest.raises(MissingFileError, match='none: there is no such'):
        list_images(root / 'none')
    (root / 'empty').mkdir()
    with pytest.raises(MissingFileError, match='empty: no images in this folder .*jfif'):
        list_images(root / 'empty')
    assert [path.name for path in visible_folders(root)] == ['empty', 'sub']


def test_what_the_listing_leaves_out_is_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('openmsra.common.files.print_log', lambda message, *args: said.append(message))
    _touch(tmp_path, 'a.png', '._a.png', '.ipynb_checkpoints/a.png', 'b.heic')
    list_images(tmp_path)
    assert said == [f'{tmp_path}: left out: 2 hidden (such as .ipynb_checkpoints), 1 .heic.']


def test_linked_folders_are_followed_once(tmp_path):
    _touch(tmp_path, 'elsewhere/a.png', 'root/b.png')
    os.symlink(tmp_path / 'elsewhere', tmp_path / 'root/link')
    os.symlink(tmp_path / 'root', tmp_path / 'root/loop')
    assert list_images(tmp_path / 'root') == [tmp_path / 'root/b.png', tmp_path / 'root/link/a.png']


def test_videos_are_listed_alike(tmp_path):
    _touch(tmp_path, 'a.MP4', 'b.flv', '._a.MP4', 'c.png')
    assert [path.name for path in list_videos(tmp_path)] == ['a.MP4', 'b.flv']


def test_arrays_are_images_of_eight_bits_or_refused():
    grey = NOISE[..., 0]
    for array in (grey, grey[..., None], np.stack([grey] * 3, axis=-1)):
        np.testing.assert_array_equal(colour_pixels(array), np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(colour_pixels(NOISE[:, ::-1]), NOISE[:, ::-1])
    for array in (NOISE / 255, NOISE.astype(np.uint16) * 256, np.zeros((4, 5, 4), np.uint8), NOISE[:0], NOISE[0, 0], NOISE[None]):
        with pytest.raises(ImageError, match=r'an array \(.*uint8, not empty'):
            colour_pixels(array)


def test_only_formats_of_the_list_are_opened(tmp_path):
    """Pillow would hand a PostScript file to Ghostscript, whatever its name."""
    (tmp_path / 'photo.jpg').write_text('%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n', encoding='utf-8')
    for read in (read_rgb, upright_size):
        with pytest.raises(ImageError, match='photo.jpg: not an image that Pillow can read'):
            read(tmp_path / 'photo.jpg')


@pytest.mark.parametrize('shape', [(5, 7, 3), (2, 5, 7, 3)])
def test_channels_come_first(shape):
    pixels = RNG.integers(0, 256, (*shape[:-1], 6), np.uint8)[..., ::2]  # not contiguous
    np.testing.assert_array_equal(channels_first(pixels), np.moveaxis(pixels, -1, 0))


def test_opencv_reads_what_pillow_reads_and_no_more(monkeypatch):
    """JPEG files, whole or not, in every way in which they are written; a thumbnail's end is not that of the file."""
    inner = encoded(SMOOTH[:8, :8], 'JPEG')
    upright = Image.Exif()
    upright[0x0112] = 1
    options = [dict(), dict(progressive=True), dict(subsampling=0, quality=100), dict(restart_marker_blocks=2)]
    files = [encoded(SMOOTH, 'JPEG', **row) for row in [*options, dict(exif=upright)]]
    files.append(files[0][:2] + b'\xff\xe2' + (len(inner) + 2).to_bytes(2, 'big') + inner + files[0][2:])
    for content in files:
        with monkeypatch.context() as patch:
            patch.setattr('openmsra.common.images._whole_jpeg', lambda *_: None)
            expected = read_rgb(content)
        with monkeypatch.context() as patch:
            patch.setattr('openmsra.common.images._flattened', None)  # Pillow does not decode
            np.testing.assert_array_equal(read_rgb(content), expected)
            np.testing.assert_array_equal(read_bgr(content), expected[..., ::-1])
        for share in (0.6, 0.9):
            with pytest.raises(ImageError, match='truncated or damaged'):
                read_rgb(content[: int(share * len(content))])
