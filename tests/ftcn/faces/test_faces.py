"""Detectors on a photograph of a person, tracks on made-up boxes."""

import json

import numpy as np
import pytest
from skimage import data

from openmsra.common.boxes import iou
from openmsra.ftcn.faces.align import landmarks_of_box
from openmsra.ftcn.faces.detectors import Face, HaarDetector, YuNetDetector, boxes_from_json
from openmsra.ftcn.faces.tracking import track_faces


def face(x, y=0, side=100, score=1.0):
    box = np.array([x, y, x + side, y + side], float)
    return Face(box, landmarks_of_box(box), score)


def test_haar_finds_the_astronaut_with_plausible_eyes():
    (detection,) = HaarDetector(60)(data.astronaut())
    np.testing.assert_allclose((detection.box[:2] + detection.box[2:]) / 2, (223, 120), atol=15)
    assert detection.landmarks[0, 0] < detection.landmarks[2, 0] < detection.landmarks[1, 0]
    assert detection.box[1] < detection.landmarks[0, 1] < detection.landmarks[3, 1] < detection.box[3]
    assert HaarDetector(60)(np.zeros((200, 200, 3), np.uint8)) == []
    assert HaarDetector(300)(data.astronaut()) == []


def test_yunet_without_its_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='model zoo'):
        YuNetDetector(tmp_path / 'yunet.onnx')


def test_overlap():
    assert iou(face(0).box, face(0).box) == 1
    assert iou(face(0).box, face(50).box) == pytest.approx(1 / 3)
    assert iou(face(0).box, face(200).box) == 0


def test_two_faces_keep_their_tracks_in_any_order():
    frames = [[face(k), face(400 - k)][:: 1 if k % 2 else -1] for k in range(20)]
    tracks = track_faces(frames)
    assert [(track.start, len(track.boxes)) for track in tracks] == [(0, 20), (0, 20)]
    lefts = sorted(tracks, key=lambda track: track.boxes[0, 0])
    np.testing.assert_array_equal(lefts[0].boxes[:, 0], np.arange(20))
    np.testing.assert_array_equal(lefts[1].boxes[:, 0], 400 - np.arange(20))


def test_short_gaps_are_interpolated_long_ones_cut():
    frames = [[face(10 * k)] for k in range(5)] + [[], []] + [[face(10 * k)] for k in range(7, 10)]
    (track,) = track_faces(frames)
    np.testing.assert_allclose(track.boxes[:, 0], 10 * np.arange(10))
    assert [(t.start, len(t.boxes)) for t in track_faces([[face(0)]] * 3 + [[]] * 3 + [[face(0)]] * 4)] == [(0, 3), (6, 4)]


def test_jumps_cut_and_doubtful_faces_start_nothing():
    assert len(track_faces([[face(0)]] * 4 + [[face(300)]] * 4)) == 2
    assert track_faces([[face(0, score=0.6)]] * 4) == []
    assert len(track_faces([[face(0)]] + [[face(0, score=0.6)]] * 4)[0].boxes) == 5
    assert track_faces([[], []]) == []


def test_given_boxes(tmp_path):
    file = tmp_path / 'boxes.json'
    file.write_text(json.dumps([[{'box': [1, 2, 31, 42]}], []]))
    first, second = boxes_from_json(file)
    np.testing.assert_array_equal(first[0].box, [1, 2, 31, 42])
    assert first[0].landmarks.shape == (5, 2) and second == []
    file.write_text(json.dumps([[{'bax': 1}]]))
    with pytest.raises(ValueError, match='boxes.json'):
        boxes_from_json(file)
