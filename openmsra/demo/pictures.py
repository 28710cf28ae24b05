"""Small pictures put together for the page."""

import io

import numpy as np

from openmsra.demo.stage import Picture

GAP = 6  # pixels
BOX_COLOURS = dict(red=(255, 92, 92), green=(80, 220, 120), blue=(110, 165, 255))  # RGB
FRAMES = dict(good=(38, 139, 90), bad=(208, 69, 57), plain=(120, 128, 140))  # RGB


def enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    """(H, W, 3) with pixels repeated: small pictures stay as coarse as the network sees them."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def framed(image: np.ndarray, kind: str, width: int = 4) -> np.ndarray:
    """A frame of one of :data:`FRAMES` around an image (H, W, 3)."""
    framed = np.empty((image.shape[0] + 2 * width, image.shape[1] + 2 * width, 3), np.uint8)
    framed[:] = FRAMES[kind]
    framed[width:-width, width:-width] = image
    return framed


def sheet(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Rows of images of one size on a transparent ground, RGBA."""
    height, width = rows[0][0].shape[:2]
    columns = max(map(len, rows))
    canvas = np.zeros((len(rows) * (height + GAP) - GAP, columns * (width + GAP) - GAP, 4), np.uint8)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = i * (height + GAP), j * (width + GAP)
            canvas[top : top + height, left : left + width, :3] = image
            canvas[top : top + height, left : left + width, 3] = 255
    return canvas


def encoded(pixels: np.ndarray, alt: str, caption: str, lossy: bool = False) -> Picture:
    """RGB or RGBA pixels as a picture; photographs may be lossy."""
    from PIL import Image

    stream = io.BytesIO()
    if lossy:
        Image.fromarray(pixels).save(stream, 'WEBP', quality=82, method=4)
    else:
        Image.fromarray(pixels).save(stream, 'PNG', optimize=True)
    return Picture(stream.getvalue(), 'image/webp' if lossy else 'image/png', alt, caption)
