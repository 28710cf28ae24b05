"""Real files, written with OpenCV, and broken ones."""

import wave

import cv2
import numpy as np
import pytest

from openmsra.core.video import VideoError, read_frames, read_video

BACKENDS = ('decord', 'opencv')


@pytest.fixture(scope='module')
def film(tmp_path_factory):
    """24 frames whose grey value is 10 times the frame number, red lower half."""
    path = tmp_path_factory.mktemp('film') / 'film.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 25, (64, 48))
    for number in range(24):
        frame = np.full((48, 64, 3), 10 * number, np.uint8)
        frame[24:] = (0, 0, 200)
        writer.write(frame)
    writer.release()
    return path


@pytest.mark.parametrize('backend', BACKENDS)
def test_frames_are_rgb_in_order_with_times(film, backend):
    frames, times = read_video(film, backend)
    assert frames.shape == (24, 48, 64, 3) and frames.dtype == np.uint8
    np.testing.assert_allclose(frames[:, 10, 10].mean(-1), 10 * np.arange(24), atol=4)
    assert frames[3, 40, 30, 0] > 180 and frames[3, 40, 30, 2] < 30
    np.testing.assert_allclose(times, np.arange(24) / 25, atol=1e-3)
    np.testing.assert_array_equal(read_frames(film, [5, 2, 5], backend), frames[[5, 2, 5]])
    assert len(read_video(film, backend, limit=7)[0]) == 7


def test_numbers_outside_the_video_are_refused(film):
    with pytest.raises(IndexError, match='24 frames'):
        read_frames(film, [24])
    with pytest.raises(IndexError, match='negative'):
        read_frames(film, [-1])


@pytest.mark.parametrize('backend', BACKENDS)
def test_broken_files_are_named(tmp_path, film, backend):
    with pytest.raises(FileNotFoundError, match='none.mp4'):
        read_video(tmp_path / 'none.mp4', backend)
    (tmp_path / 'empty.mp4').touch()
    (tmp_path / 'text.mp4').write_text('not a video ' * 50)
    with wave.open(str(tmp_path / 'audio.mp4'), 'wb') as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    for name in ('empty', 'text', 'audio'):
        with pytest.raises(VideoError, match=f'{name}.mp4'):
            read_video(tmp_path / f'{name}.mp4', backend)


def test_unknown_backend_is_refused(film):
    with pytest.raises(ValueError, match='opencv'):
        read_video(film, 'ffmpeg')
