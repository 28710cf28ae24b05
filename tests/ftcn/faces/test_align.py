"""Alignment and padding equal the official ones."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from openmsra.ftcn.data.clips import reflect
from openmsra.ftcn.faces import align

ORACLE = json.loads((Path(__file__).resolve().parents[2] / 'data/ftcn/alignment.json').read_text())
OFFICIAL = {key: np.array(value) for key, value in ORACLE['align'].items()}


def test_transform_boxes_and_template_are_the_official_ones():
    np.testing.assert_allclose(align.template(224), OFFICIAL['template_224'], atol=1e-9)
    matrix = align.fit_similarity(OFFICIAL['landmarks5'].reshape(-1, 2), np.tile(align.template(224), (32, 1)))
    np.testing.assert_allclose(matrix[:, :2], OFFICIAL['full_frame_affine'][:, :2], atol=1e-6)
    np.testing.assert_allclose(matrix, OFFICIAL['full_frame_affine'], atol=1e-4)
    boxes = [align.loose_box(box, tuple(OFFICIAL['frame_hw'])) for box in OFFICIAL['boxes']]
    np.testing.assert_array_equal(boxes, OFFICIAL['crop_boxes'])


@pytest.mark.parametrize('count', ['9', '10', '20', '31'])
def test_padding_is_the_official_one(count):
    expected, n = ORACLE['padding'][count], int(count)
    np.testing.assert_array_equal(reflect(np.arange(-31, 0), n), expected['pre'])
    np.testing.assert_array_equal(reflect(np.arange(n, n + 31), n), expected['post'])


@pytest.mark.parametrize('angle', [0, 35, 90, 180])
@pytest.mark.parametrize('scale', [0.3, 1, 3])
def test_a_known_similarity_is_inverted(angle, scale):
    turn = scale * np.array(
        [[np.cos(np.radians(angle)), -np.sin(np.radians(angle))], [np.sin(np.radians(angle)), np.cos(np.radians(angle))]]
    )
    points = align.template(224) @ turn.T + (40, -7)
    matrix = align.fit_similarity(points, align.template(224))
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], align.template(224), atol=1e-8)


def test_jittered_landmarks_leave_a_still_image_still():
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 255, (300, 300, 3)).astype(np.uint8), (0, 0), 3)
    landmarks = align.template(224) / 2 + 90 + rng.normal(0, 2, (6, 5, 2))
    crops, corners = zip(*((image[k : 290 - k, 2 * k : 280], (2 * k, k)) for k in range(6)), strict=True)
    out = align.align_clip(crops, np.array(corners), landmarks)
    assert out.shape == (6, 224, 224, 3) and out[0].std() > 1
    assert (out[:, 60:180, 60:180] == out[0, 60:180, 60:180]).all()
    matrix = align.fit_similarity(landmarks.reshape(-1, 2), np.tile(align.template(224), (6, 1)))
    inside = cv2.warpAffine(image, matrix, (224, 224))
    np.testing.assert_allclose(out[0, 60:180, 60:180].astype(int), inside[60:180, 60:180], atol=1)


def test_coinciding_landmarks_are_refused():
    with pytest.raises(ValueError, match='coincide'):
        align.fit_similarity(np.ones((5, 2)), align.template(224))
