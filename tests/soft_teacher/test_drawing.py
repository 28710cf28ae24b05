"""Names of boxes can be read on white and on black, and stay inside the picture."""

import numpy as np
import pytest

from openmsra.soft_teacher.drawing import draw_box

COLOUR = (240, 190, 180)


@pytest.mark.parametrize('ground', [255, 0])
@pytest.mark.parametrize('box', [(20, 40, 50, 70), (20, 1, 50, 30), (150, 40, 159, 60)], ids=['room', 'top', 'right'])
def test_text_is_dark_on_the_colour_of_the_box(ground, box):
    image = np.full((80, 160, 3), ground, np.uint8)
    draw_box(image, box, COLOUR, 'board 0.87')
    coloured = (image == COLOUR).all(-1)
    rows, columns = coloured.any(1).nonzero()[0], coloured.any(0).nonzero()[0]
    label = image[rows[0] : rows[0] + 9, columns[0] : columns[0] + 70]
    assert (label == COLOUR).all(-1).mean() > 0.4, 'a ground behind the text'
    assert (label.max(-1) < 64).mean() > 0.05, 'dark letters'


def test_without_text_there_is_a_box_alone():
    image = np.zeros((80, 160, 3), np.uint8)
    draw_box(image, (20, 40, 50, 70), COLOUR, '', thickness=1)
    assert not image[:40].any() and (image[40, 20:51] == COLOUR).all()
