"""Boxes with names that can be read on any picture."""

import cv2
import numpy as np

_FONT, _SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.4


def draw_box(
    image: np.ndarray, box: tuple[int, int, int, int], colour: tuple[int, int, int], text: str, thickness: int = 2
) -> None:
    """Draw a box and its text, in place.

    The text is on a ground of the box's colour, above the box or, where there is no room, in its upper corner, and inside
    the picture as far as it fits.

    Args:
        image: (H, W, 3) uint8, BGR.
        box: x1, y1, x2, y2 in pixels.
        colour: BGR.
        text: nothing is written where it is empty.
        thickness: of the box, in pixels.
    """
    x1, y1, x2, y2 = box
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, thickness)
    if not text:
        return
    (width, height), below = cv2.getTextSize(text, _FONT, _SIZE, 1)
    left = max(0, min(x1, image.shape[1] - width - 4))
    bottom = y1 if y1 >= height + below + 2 else y1 + height + below + 2
    cv2.rectangle(image, (left, bottom - height - below - 2), (left + width + 4, bottom), colour, cv2.FILLED)
    blue, green, red = colour
    ink = (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 128 else (255, 255, 255)
    cv2.putText(image, text, (left + 2, bottom - below), _FONT, _SIZE, ink, 1, cv2.LINE_AA)
