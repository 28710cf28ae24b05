"""Real files, written with OpenCV, and broken ones."""

import io
import os
import re
import shutil
import struct
import wave
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from openmsra.common import video
from openmsra.common.video import ImageFolder, VideoFile, read_frames, read_video, record_camera
from openmsra.errors import VideoError

BACKENDS = ('decord', 'pyav', 'opencv')


@pytest.fixture(params=BACKENDS)
def backend(request):
    pytest.importorskip(video.MODULES[request.param])
    return request.param


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


def test_frames_are_rgb_in_order_with_times(film, backend):
    frames, times = read_video(film, backend)
    assert frames.shape == (24, 48, 64, 3) and frames.dtype == np.uint8
    np.testing.assert_allclose(frames[:, 10, 10].mean(-1), 10 * np.arange(24), atol=4)
    assert frames[3, 40, 30, 0] > 180 and frames[3, 40, 30, 2] < 30
    np.testing.assert_allclose(times, np.arange(24) / 25, atol=1e-3)
    np.testing.assert_array_equal(read_frames(film, [5, 2, 5], backend), frames[[5, 2, 5]])
    np.testing.assert_array_equal(read_frames(film, lambda count: [count - 1, 0], backend), frames[[-1, 0]])
    assert len(read_video(film, backend, limit=7)[0]) == 7


def test_frames_are_shrunk_as_they_come(film, backend):
    numbers = [5, 2, 9, 7, 5, 11, 23]
    small, large = read_frames(film, numbers, backend, short_side=24), read_frames(film, numbers, backend)
    expected = np.stack([cv2.resize(frame, (32, 24), interpolation=cv2.INTER_AREA) for frame in large])
    np.testing.assert_array_equal(small, expected)
    np.testing.assert_array_equal(read_frames(film, numbers, backend, short_side=48), large)
    np.testing.assert_array_equal(read_frames(film, lambda count: numbers, backend, short_side=24), expected)


def test_numbers_outside_the_video_are_refused(film):
    with pytest.raises(IndexError, match='24 frames'):
        read_frames(film, [24])
    with pytest.raises(IndexError, match='negative'):
        read_frames(film, [-1])


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


def test_truncated_file_is_refused_where_it_ends(tmp_path, film, backend):
    whole = film.read_bytes()
    cut = tmp_path / 'cut.avi'
    cut.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(VideoError, match='cut.avi'):
        read_video(cut, backend)


def test_a_video_is_walked_through_twice(film, backend):
    file = VideoFile(film, backend)
    walks = [np.stack([frame for frame, _ in file]) for _ in range(2)]
    np.testing.assert_array_equal(*walks)


def test_unknown_and_missing_backends_are_refused(film, monkeypatch):
    with pytest.raises(ValueError, match='opencv'):
        read_video(film, 'ffmpeg')
    monkeypatch.setattr(video.importlib.util, 'find_spec', lambda name: None if name != 'cv2' else name)
    with pytest.raises(ImportError, match='pip install decord'):
        read_video(film, 'decord')
    assert len(read_video(film)[0]) == 24  # auto falls back


def test_folder_of_images(tmp_path):
    for number in (2, 0, 1, 10):
        cv2.imwrite(str(tmp_path / f'frame{number}.png'), np.full((8, 9, 3), (0, 0, 20 * number), np.uint8))
    (tmp_path / '._frame0.png').write_bytes(b'what macOS leaves beside a file')
    frames, times = zip(*ImageFolder(tmp_path, fps=10), strict=True)
    assert [frame[0, 0].tolist() for frame in frames] == [[0, 0, 0], [20, 0, 0], [40, 0, 0], [200, 0, 0]]
    np.testing.assert_allclose(times, (0, 0.1, 0.2, 0.3))
    (tmp_path / '3.png').write_text('no image')
    with pytest.raises(VideoError, match='3.png'):
        list(ImageFolder(tmp_path))
    with pytest.raises(FileNotFoundError, match='none'):
        ImageFolder(tmp_path / 'none')


def test_camera(film):
    assert [time for _, time in record_camera(str(film), 0.2)] == [k / 25 for k in range(5)]
    with pytest.raises(VideoError, match='99'):
        record_camera(99, 1)


def encoded(path, stamps=range(60), target=None, codec='libx264', group=1, **options):
    """A square that moves right over a dark ground, bright in its upper left quarter; one frame for each time stamp in 1/25 s."""
    av = pytest.importorskip('av')
    with av.open(target or str(path), 'w', format=options.pop('format', None), options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = 96, 64, 'yuv420p', 1
        stream.codec_context.gop_size = group
        for k, stamp in enumerate(stamps):
            image = np.full((64, 96, 3), 20, np.uint8)
            image[:32, :48] = 90
            image[40:56, k % 60 : k % 60 + 16] = 230
            frame = av.VideoFrame.from_ndarray(image, format='rgb24')
            frame.pts, frame.time_base = stamp, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


class Pipe(io.RawIOBase):
    """A browser's recorder streams: it cannot go back to write how long the film has become."""

    def __init__(self, path):
        self.file = open(path, 'wb')  # noqa: SIM115

    def writable(self):
        return True

    def write(self, part):
        return self.file.write(part)

    def close(self):
        self.file.close()


def turned(path, source):
    """The film with the display matrix of a phone that was held upright: turn the pixels clockwise."""
    identity = struct.pack('>9i', 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    content, clockwise = source.read_bytes(), struct.pack('>9i', 0, 0x10000, 0, -0x10000, 0, 0, 64 << 16, 0, 0x40000000)
    start = content.index(identity, content.index(b'tkhd'))
    path.write_bytes(content[:start] + clockwise + content[start + len(identity) :])
    return path


def test_a_phone_held_upright_is_seen_upright(tmp_path, backend):
    plain = encoded(tmp_path / 'plain.mp4')
    frames, upright = (read_video(path, backend)[0] for path in (plain, turned(tmp_path / 'phone.mp4', plain)))
    assert upright.shape == (60, 96, 64, 3)
    np.testing.assert_allclose(upright.astype(int), np.rot90(frames, -1, axes=(1, 2)), atol=4)


def test_a_damaged_end_costs_the_end_only(tmp_path, backend):
    path = encoded(tmp_path / 'end.mp4', range(100), movflags='faststart')
    content, whole = bytearray(path.read_bytes()), read_video(path)[0]
    for share, frames in ((0.04, range(90, 100)), (0.3, ())):
        content[int(len(content) * (1 - share)) :] = bytes(len(content) - int(len(content) * (1 - share)))
        path.write_bytes(content)
        if not frames:
            with pytest.raises(VideoError, match=r'end\.mp4: only \d+ of 100 frames'):
                read_video(path, backend)
            continue
        seen = read_video(path, backend)[0]
        assert len(seen) in frames
        np.testing.assert_allclose(seen.astype(int), whole[: len(seen)], atol=4)
        np.testing.assert_array_equal(read_frames(path, lambda count: [0, count - 1], backend), seen[[0, -1]])


def test_containers_without_duration_without_times_and_with_uneven_times(tmp_path, backend):
    stamps = [3 * k + k % 3 for k in range(60)]
    pipe = Pipe(tmp_path / 'stream.mkv')
    encoded(None, target=pipe, format='matroska')
    pipe.close()
    even = np.arange(60) / 25
    for path, times in (
        (tmp_path / 'stream.mkv', even),
        (encoded(tmp_path / 'raw.h264', format='h264'), even),
        (encoded(tmp_path / 'late.ts', range(250, 310)), even),
        (encoded(tmp_path / 'late.mkv', range(250, 310)), even),  # its header's duration counts from 0
        (encoded(tmp_path / 'groups.ts', codec='mpeg2video', group=12), even),  # decord alone begins with the 12th frame
        (encoded(tmp_path / 'uneven.mkv', stamps), np.array(stamps) / 25),
    ):
        frames, seen = read_video(path, backend)
        assert frames.shape == (60, 64, 96, 3), path
        columns = (frames[:, 48].mean(-1) > 150).argmax(1)
        np.testing.assert_allclose(columns, np.arange(60), atol=1, err_msg=str(path))
        np.testing.assert_allclose(seen, times, atol=0.045, err_msg=str(path))
        assert (np.diff(seen) > 0).all()
        (last,) = read_frames(path, lambda count: [count - 1], backend)
        np.testing.assert_allclose(last.astype(int), frames[-1], atol=4)


def test_a_name_that_is_no_utf8(tmp_path, film, backend):
    path = os.fsdecode(bytes(tmp_path) + b'/f\xe9.avi')
    shutil.copy(film, path)
    np.testing.assert_array_equal(read_video(path, backend)[0], read_video(film, backend)[0])
    np.testing.assert_array_equal(read_frames(path, [3], backend), read_frames(film, [3], backend))


@pytest.mark.parametrize('width', [16, 32, 48, 50, 64, 100])
def test_narrow_videos_have_three_channels(tmp_path, backend, width):
    """Of 16 and 48 pixels a line decord gives 6 and 4 channels: the padding of the lines."""
    av = pytest.importorskip('av')
    picture = np.full((64, width, 3), (200, 100, 50), np.uint8)
    with av.open(str(tmp_path / 'narrow.mp4'), 'w') as container:
        stream = container.add_stream('mpeg4', rate=25)
        stream.width, stream.height, stream.pix_fmt = width, 64, 'yuv420p'
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
        container.mux(stream.encode())
    frames, _ = read_video(tmp_path / 'narrow.mp4', backend)
    chosen = read_frames(tmp_path / 'narrow.mp4', [3, 0], backend)
    for pixels in (frames, chosen):
        assert pixels.shape[1:] == (64, width, 3) and np.abs(pixels.astype(int) - picture).max() < 12
    assert len(frames) == 4


@pytest.mark.reliability
def test_a_busy_reader_does_not_fill_the_memory(tmp_path):
    """Frames of 2.8 MB are asked for more slowly than they are decoded, while the processor works: a few are kept."""
    av = pytest.importorskip('av')
    with av.open(str(tmp_path / 'film.mp4'), 'w') as container:
        stream = container.add_stream('libx264', rate=25, options={'preset': 'ultrafast'})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, 'yuv420p'
        for number in range(120):
            picture = np.full((720, 1280, 3), number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
        container.mux(stream.encode())
    sizes = []
    for _ in VideoFile(tmp_path / 'film.mp4'):
        busy = np.random.rand(700, 700)
        busy @ busy @ busy
        sizes.append(int(re.search(r'VmRSS:\s+(\d+)', Path('/proc/self/status').read_text())[1]) // 1024)
    assert len(sizes) == 120 and sizes[-1] - sizes[20] < 60, sizes[::10]
