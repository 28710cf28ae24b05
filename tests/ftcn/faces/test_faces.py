"""Detectors on a photograph of a person, tracks on made-up boxes."""

import json

import numpy as np
import pytest
from skimage import data

from openmsra.common.boxes import iou
from openmsra.ftcn.faces.align import landmarks_of_box
from openmsra.ftcn.faces.detectors import Face, HaarDetector, YuNetDetector, boxes_from_json
from openmsra.ftcn.faces.mtcnn import MTCNNDetector, weights_folder
from openmsra.ftcn.faces.tracking import FaceStream, Following, Sighting, loose_crop
from tests.references.face_tracks import track_faces


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


def stream(frames, detector, min_frames=1):
    """Start, boxes and landmarks of the tracks of a stream, and its warnings."""
    tracks = {}
    walk = FaceStream(frames, detector, 40, min_frames, loose_crop)
    for event in walk:
        if isinstance(event, Sighting):
            image, corner = loose_crop(frames[event.frame][0], event.box)
            np.testing.assert_array_equal(event.image, image)
            assert event.corner == corner
            tracks.setdefault(event.track, []).append(event)
    return [(t[0].frame, np.stack([e.box for e in t]), np.stack([e.landmarks for e in t])) for t in tracks.values()], walk


@pytest.mark.parametrize('seed', range(5))
def test_a_stream_gives_the_tracks_of_the_whole_video(seed):
    rng = np.random.default_rng(seed)
    images = [(rng.integers(0, 255, (120, 700, 3), np.uint8), k / 25) for k in range(60)]
    paths = [(face(rng.uniform(0, 500)), rng.uniform(-8, 8), *sorted(rng.integers(0, 60, 2))) for _ in range(5)]
    faces = [
        [
            face(f.box[0] + step * (k - a), side=100 + rng.normal(0, 3), score=rng.uniform(0.7, 1))
            for f, step, a, b in paths
            if a <= k < b and rng.random() < 0.7
        ]
        for k in range(60)
    ]
    for min_frames in (1, 8):
        expected = [track for track in track_faces(faces) if len(track.boxes) >= min_frames]
        expected.sort(key=lambda track: (track.start, track.boxes[0, 0]))
        tracks, walk = stream(images, faces, min_frames)
        tracks.sort(key=lambda track: (track[0], track[1][0, 0]))
        assert len(tracks) == len(expected) > 0
        assert len(walk._tracks) == 0 and len(walk._recent) <= 3
        for (start, boxes, landmarks), track in zip(tracks, expected, strict=True):
            assert start == track.start
            np.testing.assert_array_equal(boxes, track.boxes)
            np.testing.assert_array_equal(landmarks, track.landmarks)


class Counting:
    """Finds a square that moves; says how often it looked through a frame."""

    every = 5

    def __init__(self):
        self.looks = []

    def __call__(self, frame):
        self.looks.append(int(frame[0, 0, 0]))
        return self._at(frame)

    def follow(self, frame, faces):
        return [other for other in self._at(frame) if any(iou(other.box, face.box) > 0.2 for face in faces)]

    def _at(self, frame):
        return [] if frame[0, 0, 1] == 255 else [face(float(frame[0, 0, 1]))]


def test_followed_faces_are_looked_for_now_and_then_and_when_they_are_lost():
    positions = [255] * 6 + list(range(12)) + [150] * 4
    frames = [np.full((1, 1, 3), (k, x, 0), np.uint8) for k, x in enumerate(positions)]
    detector = Counting()
    faces = list(map(Following(detector), frames))
    # every fourth frame while there is none, every fifth behind the first, and at the jump
    assert detector.looks == [0, 4, 8, 13, 18]
    assert [len(f) for f in faces] == [0] * 8 + [1] * 14
    assert faces[18][0].box[0] == 150


@pytest.mark.skipif(weights_folder() is None, reason='facenet-pytorch, whose wheel holds the weights, is not installed')
def test_mtcnn_finds_and_follows_the_astronaut():
    detector, photo = MTCNNDetector(60), data.astronaut()
    (detection,) = detector(photo)
    eyes_nose_mouth = [(204, 101), (247, 103), (225, 128), (202, 139), (245, 142)]
    np.testing.assert_allclose(detection.landmarks, eyes_nose_mouth, atol=4)
    assert iou(detection.box, np.array([181, 58, 269, 175])) > 0.85 and detection.score > 0.99
    for shift in range(0, 40, 8):
        (followed,) = detector.follow(np.roll(photo, -shift, axis=1), [detection])
        np.testing.assert_allclose(followed.landmarks, np.array(eyes_nose_mouth) - (shift, 0), atol=5)
        detection = followed
    assert detector.follow(photo[::-1].copy(), [detection]) == [] and detector(np.zeros((200, 200, 3), np.uint8)) == []


def test_mtcnn_without_its_weights_says_where_they_are(monkeypatch):
    monkeypatch.setattr('openmsra.ftcn.faces.mtcnn.weights_folder', lambda: None)
    with pytest.raises(FileNotFoundError, match='pip install --no-deps facenet-pytorch'):
        MTCNNDetector()
