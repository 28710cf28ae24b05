"""Sixty videos through the three backends of :mod:`openmsra.common.video`: frames, sizes, order, scores, and where they differ.

    python benchmarks/video_backends.py

makes the videos with PyAV (containers, codecs, rates, rotations, sound, time stamps, truncation; every frame shows its number
as eight dark or light blocks), reads each with every backend in the way of the tools and with the backend's library alone,
scores it with FTCN's instant config (trained on the spot), and writes `benchmarks/results/video_backends.json`.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import numpy as np

from openmsra.common.video import DECODERS, DecodingError, VideoFile, read_frames
from openmsra.errors import UserError

RESULTS = Path(__file__).parent / 'results/video_backends.json'
CONFIG = RESULTS.parents[2] / 'configs/ftcn/ftcn-tt_tiny_1xb16-4e_flicker_instant.py'
FRAMES, WIDTH, HEIGHT = 40, 128, 96
BITS = 8  # blocks that show the number of a frame, in two rows of four
GREY = 6  # grey levels by which pixels of two backends may differ on the mean: conversions from YUV are rounded otherwise


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A frame (height, width, 3): eight blocks, bits of the number, dark or light, with a gradient that tells up from down."""
    bits = number >> np.arange(BITS) & 1
    blocks = np.kron(bits.reshape(2, 4), np.ones((height // 2, width // 4)))
    pixels = np.zeros((height, width, 3))
    pixels[: blocks.shape[0], : blocks.shape[1]] = blocks[..., None] * 150
    pixels += np.linspace(0, 90, height)[:, None, None] * [1.0, 0.6, 0.3]
    return pixels.astype(np.uint8)


def number_of(frame: np.ndarray) -> int:
    """What :func:`picture` shows, of an upright frame."""
    height, width = frame.shape[0] // 2, frame.shape[1] // 4
    centres = frame[height // 2 :: height, width // 2 :: width].mean(-1)[:2, :4]
    centres = centres - np.linspace(0, 57, frame.shape[0])[height // 2 :: height][:2, None]
    return int((centres.ravel() > 75) @ (1 << np.arange(BITS)))


def film(
    file: Path,
    codec: str,
    rate: str = '25',
    frames: int = FRAMES,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pixels: str = 'yuv420p',
    rotation: int = 0,
    matrix: tuple[int, ...] | None = None,
    sound: str | None = None,
    sound_first: bool = False,
    times: Callable[[int], int] | None = None,
    container: str | None = None,
    muxing: dict[str, str] | None = None,
    **options: str,
) -> None:
    """Write a video.

    Args:
        size: width and height as stored; with a rotation of 90 or 270 degrees the upright picture has them exchanged.
        rotation: degrees counter-clockwise by which a player turns the stored picture.
        matrix: the whole display matrix instead.
        sound: codec of a second stream, before the pictures with ``sound_first``.
        times: time of each frame in thousandths of a second; a constant rate otherwise.
        container, muxing: its name where the suffix does not say it, and its options.
        options: of the codec.
    """
    with av.open(str(file), 'w', format=container, options=muxing or {}) as output:
        audio = output.add_stream(sound, rate=48000) if sound and sound_first else None
        stream = output.add_stream(codec, rate=Fraction(rate), options={'threads': '1', **options})
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        audio = output.add_stream(sound, rate=48000) if sound and not sound_first else audio
        for number in range(frames):
            upright = picture(number, *(size[::-1] if rotation % 180 else size))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.rot90(upright, -rotation // 90)), format='rgb24')
            if times is not None:
                frame.pts, frame.time_base = times(number), Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if audio is not None:
            for number in range(int(frames / Fraction(rate) * 48000) // 1024):
                tone = (3000 * np.sin(np.arange(1024 * number, 1024 * number + 1024) / 20)).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(tone[None], format='s16', layout='mono')
                frame.sample_rate, frame.pts, frame.time_base = 48000, 1024 * number, Fraction(1, 48000)
                output.mux(audio.encode(frame))
            output.mux(audio.encode())


def cut(share: float, codec: str, **options: Any) -> Callable[[Path], None]:
    """A video of which the file ends early."""

    def write(file: Path) -> None:
        film(file, codec, **options)
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])

    return write


def overwritten(first: float, last: float, codec: str, **options: Any) -> Callable[[Path], None]:
    """A video with zeros in a part of its file."""

    def write(file: Path) -> None:
        film(file, codec, **options)
        content = bytearray(file.read_bytes())
        start, end = (int(share * len(content)) for share in (first, last))
        content[start:end] = bytes(end - start)
        file.write_bytes(content)

    return write


def only_sound(file: Path) -> None:
    """A file without pictures."""
    with av.open(str(file), 'w') as output:
        stream = output.add_stream('aac', rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.int16), format='s16', layout='mono')
        frame.sample_rate, frame.pts = 48000, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode())


def videos() -> Iterator[tuple[str, str, Callable[[Path], None], int | None]]:
    """(group, name with suffix, writer, frames that must come; ``None`` where as many as are there, or a sentence)."""

    def made(group: str, name: str, codec: str, **options: Any):
        return group, name, lambda file: film(file, codec, **options), options.get('frames', FRAMES)

    full = dict(pixels='yuvj420p')
    for name, codec, options in (
        ('h264.mp4', 'libx264', {}), ('h264.mov', 'libx264', {}), ('h264.mkv', 'libx264', {}), ('h264.flv', 'libx264', {}),
        ('h264.ts', 'libx264', {}), ('h264.3gp', 'libx264', {}), ('h264.avi', 'libx264', dict(bf='0')),
        ('mpeg4.mp4', 'mpeg4', {}), ('mpeg4.avi', 'mpeg4', {}), ('mjpeg.avi', 'mjpeg', full),
        ('mjpeg.mov', 'mjpeg', full), ('vp8.webm', 'libvpx', {}), ('vp9.webm', 'libvpx-vp9', {}), ('vp9.mkv', 'libvpx-vp9', {}),
        ('mpeg1.mpg', 'mpeg1video', {}), ('mpeg2.mpg', 'mpeg2video', {}), ('mpeg2.ts', 'mpeg2video', {}),
        ('mpeg2.vob', 'mpeg2video', {}), ('wmv2.wmv', 'wmv2', {}), ('flv1.flv', 'flv', {}), ('av1.mp4', 'libsvtav1', {}),
        ('hevc.mp4', 'libx265', {'x265-params': 'log-level=none'}), ('ffv1.mkv', 'ffv1', {}), ('raw.avi', 'rawvideo', {}),
        ('prores.mov', 'prores_ks', dict(pixels='yuv422p10le')), ('stream.h264', 'libx264', dict(container='h264')),
        ('fragmented.mp4', 'libx264', dict(muxing=dict(movflags='frag_keyframe+empty_moov'), g='10')),
        ('live.webm', 'libvpx-vp9', dict(muxing=dict(live='1'), g='10')),
    ):  # fmt: skip
        yield made('container and codec', name, codec, **options)
    for name, options in (
        ('b-frames.mp4', dict(bf='3')), ('key-frames-only.mp4', dict(g='1')), ('one-key-frame.mp4', dict(g='1000')),
        ('ten-bit.mp4', dict(pixels='yuv420p10le')), ('full-chroma.mp4', dict(pixels='yuv444p')),
        ('open-groups.mp4', {'g': '8', 'bf': '2', 'x264-params': 'open-gop=1'}),
        ('grey.mp4', dict(pixels='gray')), ('one-frame.mp4', dict(frames=1)), ('two-hundred.mp4', dict(frames=200)),
        ('narrow.mp4', dict(size=(48, 64))),
    ):  # fmt: skip
        yield made('coding', name, 'libx264', **options)
    for rate in ('5', '24000/1001', '30000/1001', '50', '120'):
        yield made('rate', f'{rate.replace("/", "-")}.mp4', 'libx264', rate=rate)
    uneven = dict(times=lambda k: 40 * k + 15 * (k % 3))
    yield made('rate', 'uneven.mkv', 'libx264', **uneven)
    yield made('rate', 'uneven.mp4', 'libx264', **uneven)
    yield made('rate', 'early-start.mp4', 'libx264', times=lambda k: 400 + 40 * k)
    yield made('rate', 'late-start.mkv', 'libx264', times=lambda k: 5000 + 40 * k)
    for degrees in (90, 180, 270):
        yield made('rotation', f'{degrees}.mp4', 'libx264', rotation=degrees)
    yield made('rotation', '90.mov', 'mpeg4', rotation=90)
    yield made('sound', 'aac.mp4', 'libx264', sound='aac')
    yield made('sound', 'aac-first.mp4', 'libx264', sound='aac', sound_first=True)
    yield made('sound', 'opus.webm', 'libvpx-vp9', sound='libopus')
    yield 'sound', 'no-picture.mp4', only_sound, None
    yield 'damage', 'cut-90.mkv', cut(0.9, 'libx264', g='1'), None
    yield 'damage', 'cut-50.ts', cut(0.5, 'libx264', g='1'), None
    yield 'damage', 'cut-50.mp4', cut(0.5, 'libx264'), None
    yield 'damage', 'zeros-in-the-middle.mp4', overwritten(0.4, 0.5, 'libx264', g='1'), None
    yield 'damage', 'empty.mp4', lambda file: file.write_bytes(b''), None


def measured(frames: list[tuple[np.ndarray, float]], fault: str | None) -> dict:
    """Number, size and order of frames; ``order`` is 'whole' for 0, 1, 2 ..., else 'rising' or 'wrong'."""
    if not frames:
        return dict(frames=0, fault=fault or 'no frame')
    shown = [number_of(frame) for frame, _ in frames]
    whole = shown == [number % 2**BITS for number in range(len(shown))]
    rising = all(a < b for a, b in zip(shown, shown[1:], strict=False))
    sizes = sorted({f'{frame.shape[1]}x{frame.shape[0]}' for frame, _ in frames})
    return dict(
        frames=len(frames),
        size=' '.join(sizes),
        order='whole' if whole else 'rising' if rising else 'wrong',
        rising_times=bool(all(b[1] > a[1] for a, b in zip(frames, frames[1:], strict=False))),
        fault=fault,
    )


def read(frames: Iterator[tuple[np.ndarray, float]]) -> tuple[list, str | None]:
    """All frames, and why there are no more."""
    done = []
    try:
        for frame in frames:
            done.append(frame)
    except (UserError, DecodingError) as error:
        return done, str(error).rpartition(': ')[2]
    return done, None


def rows(infer: Callable, folder: Path) -> Iterator[dict]:
    """The results of one video after another."""
    for group, name, write, expected in videos():
        file = folder / f'{group.partition(" ")[0]}-{name}'
        write(file)
        row, pixels = dict(group=group, video=name, expected=expected, backends={}), {}
        for backend in DECODERS:
            try:
                frames, fault = read(iter(VideoFile(file, backend)))
            except UserError as error:
                frames, fault = [], str(error).rpartition(': ')[2]
            found = measured(frames, fault and fault.replace(str(file), name))
            alone = measured(*read(DECODERS[backend](str(file), 0, None)))
            found['alone'] = dict(frames=alone['frames'], order=alone.get('order'), size=alone.get('size'))
            if frames and fault is None:
                found['score'] = round(infer(frames).score, 4)
                pixels[backend] = np.stack([frame for frame, _ in frames]).astype(int)
                picked = [len(frames) - 1, len(frames) // 2, 1 % len(frames)]
                found['picked'] = [number_of(frame) for frame in read_frames(file, picked, backend)] == [
                    k % 2**BITS for k in picked
                ]
            row['backends'][backend] = found
        row['agree'] = agree(list(row['backends'].values()), list(pixels.values()), expected)
        yield row


def agree(found: list[dict], pixels: list[np.ndarray], expected: int | None) -> bool:
    """Whether all backends give the frames that must come, in order, upright, with one score; or all a sentence."""
    first = found[0]
    if expected is None and all(row['fault'] for row in found):
        return True
    same = all(
        (row['frames'], row.get('size'), row.get('order')) == (first['frames'], first.get('size'), first.get('order'))
        for row in found
    )
    same = (
        same
        and len({row['fault'] is None for row in found}) == 1
        and all(row.get('rising_times', True) and row.get('picked', True) for row in found)
    )
    scores = [row['score'] for row in found if 'score' in row]
    same = same and (not scores or max(scores) - min(scores) < 0.01)
    same = same and all(abs(other - pixels[0]).mean() < GREY for other in pixels[1:])
    return same and (expected is None or (first['frames'] == expected and first['order'] == 'whole' and first['fault'] is None))


def trained(folder: Path) -> Callable:
    """FTCN's inferencer with the instant config, trained."""
    from openmsra.apis import init_inferencer
    from openmsra.engine.config.files import load_config
    from openmsra.engine.runner import OpenMSRARunner

    cfg = load_config(CONFIG)
    cfg.work_dir, cfg.log_level = str(folder / 'run'), 'WARNING'
    runner = OpenMSRARunner.from_cfg(cfg)
    runner.train()
    return init_inferencer(CONFIG, sorted((folder / 'run').glob('*.pth'))[-1], min_frames=1)


def table(results: list[dict]) -> str:
    """A line for each group and each video on which the backends, or a library alone, differ."""
    lines = ['| videos | number | agree | decord alone | PyAV alone | OpenCV alone |', '|---|---|---|---|---|---|']
    for group in dict.fromkeys(row['group'] for row in results):
        chosen = [row for row in results if row['group'] == group]
        cells = [group, str(len(chosen)), str(sum(row['agree'] for row in chosen))]
        for backend in DECODERS:
            wrong = [
                row['video']
                for row in chosen
                if row['expected']
                and (row['backends'][backend]['alone']['frames'], row['backends'][backend]['alone']['order'])
                != (row['expected'], 'whole')
            ]
            cells.append(f'not {", ".join(wrong)}' if wrong else 'all')
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=RESULTS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = []
        infer = trained(Path(folder))
        for row in rows(infer, Path(folder)):
            results.append(row)
            cells = [
                ' '.join(
                    str(cell)
                    for cell in (backend, *(found.get(key, '-') for key in ('frames', 'size', 'order', 'score', 'fault')))
                )
                for backend, found in row['backends'].items()
            ]
            print(f'{row["group"]}/{row["video"]}', 'agree' if row['agree'] else 'DIFFER', *cells, sep='  ', flush=True)
    versions = {name: version(name) for name in ('decord', 'av', 'opencv-python-headless')}
    lines = ',\n'.join(map(json.dumps, results))
    args.out.write_text(f'{{"versions": {json.dumps(versions)}, "videos": [\n{lines}\n]}}\n', encoding='utf-8')
    print(f'{sum(row["agree"] for row in results)} of {len(results)} videos agree\n{table(results)}')


if __name__ == '__main__':
    main()
