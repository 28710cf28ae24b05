"""FTCN on whole videos: memory and time by length, time by stage, and what the face detectors cost and change.

    python benchmarks/ftcn_video.py compose --out FOLDER                  720p videos of the real faces of the data set faces
    python benchmarks/ftcn_video.py tool VIDEO ... --minutes 0.25         the whole command by the clock, beside the network alone
    python benchmarks/ftcn_video.py lengths VIDEO ... --minutes 1 3 10    the tool's own path on videos joined from those given
    python benchmarks/ftcn_video.py detectors VIDEO ... [--yunet FILE]    MTCNN in each frame and followed, and Haar
    python benchmarks/ftcn_video.py preparation VIDEO ...                 disk and time of ftcn_faces.py, effect on scores

The videos must have one size and rate (H.264, MP4); those of compose have. The network is the paper's with random weights, one
thread; seconds are those of the processor, for tool those of the clock and on all threads. Each length runs in a fresh process,
whose peak resident set is read (VmHWM), so that this needs Linux.
"""

import argparse
import csv
import json
import multiprocessing
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.ftcn_speed import CONFIG, _high_water, network  # noqa: E402
from benchmarks.real_data import data_folder  # noqa: E402
from openmsra.common.video import VideoFile, video_header  # noqa: E402
from openmsra.engine.checkpoint.io import save_file  # noqa: E402
from openmsra.ftcn import FTCNInferencer  # noqa: E402
from openmsra.ftcn.data.clips import FaceClips, reflect  # noqa: E402
from openmsra.ftcn.faces import tracking  # noqa: E402
from openmsra.ftcn.faces.align import align_clip, landmarks_of_box  # noqa: E402
from openmsra.ftcn.faces.detectors import Detector, Face, HaarDetector, YuNetDetector  # noqa: E402
from openmsra.ftcn.faces.mtcnn import MTCNNDetector  # noqa: E402
from openmsra.ftcn.faces.prepare import clip_lines, prepare_video  # noqa: E402
from openmsra.ftcn.scoring import scores, scoring  # noqa: E402

RESULTS = Path(__file__).parent / 'results/ftcn_video.json'
THREADS = torch.get_num_threads()  # before they are set to one
FORMATS = {'png': ('.png', 0), 'jpg 95': ('.jpg', 95), 'jpg 90': ('.jpg', 90), 'webp 90': ('.webp', 90)}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('part', choices=['compose', 'tool', 'lengths', 'detectors', 'preparation'])
    parser.add_argument('videos', nargs='*', type=Path)
    parser.add_argument('--out', type=Path, help='of compose: folder of the videos')
    parser.add_argument('--minutes', nargs='+', type=float, default=[1, 3, 10], help='at least; videos are taken whole')
    parser.add_argument('--stride', type=int, default=200, help='of lengths: the memory is that of every stride')
    parser.add_argument('--given', action='store_true', help='of lengths: one face in all frames in place of the detector')
    parser.add_argument('--frames', type=int, default=48, help='of each video, for the detectors and the preparation')
    parser.add_argument('--yunet', type=Path)
    parser.add_argument('--repeats', type=int, default=3, help='of tool')
    args = parser.parse_args(argv)
    if args.part == 'compose':
        if args.out is None:
            parser.error('compose needs --out FOLDER')
        compose(args.out)
        return
    if not args.videos:
        parser.error('give videos; compose makes some')
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    parts = dict(tool=tool, lengths=lengths, detectors=detectors, preparation=preparation)
    rows = parts[args.part](args)
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    kept[f'{args.part}, face given' if args.given else args.part] = dict(
        rows=rows, machine=platform.machine(), torch=torch.__version__, videos=len(args.videos)
    )
    RESULTS.write_text(json.dumps(kept, indent=1) + '\n')
    print(json.dumps(rows, indent=1))


def compose(out: Path) -> None:
    """Each real face of the test and training people, 400 pixels wide, on a photograph that moves behind it: 16 seconds, 720p.

    H.264 at CRF 23, 25 frames a second; the clips run forth and back. The edge of a face fades into the photograph.
    """
    import av

    faces, photographs = data_folder('faces'), sorted(data_folder('bsds500').rglob('*.jpg'))
    with (faces / 'list.csv').open(encoding='utf-8', newline='') as file:
        clips = [faces / row['path'] for row in csv.DictReader(file) if row['label'] == '0']
    out.mkdir(parents=True, exist_ok=True)
    ramp = np.minimum(1, np.minimum(np.arange(400), np.arange(400)[::-1]) / 40)
    weight = (ramp[:, None] * ramp)[..., None]
    for number, (clip, photograph) in enumerate(zip(clips, photographs, strict=False)):
        frames = [cv2.resize(frame, (400, 400), interpolation=cv2.INTER_CUBIC) for frame, _ in VideoFile(clip)]
        scene = cv2.resize(cv2.cvtColor(cv2.imread(str(photograph)), cv2.COLOR_BGR2RGB), (1700, 1130))
        with av.open(str(out / f'{number:02}.mp4'), 'w') as target:
            stream = target.add_stream('libx264', rate=25, options=dict(crf='23'))
            stream.width, stream.height, stream.pix_fmt = 1280, 720, 'yuv420p'
            for step, place in enumerate(reflect(np.arange(400), len(frames))):
                image = scene[step : step + 720, step : step + 1280].copy()
                part = image[160:560, 440:840]
                part[:] = np.round(weight * frames[place] + (1 - weight) * part)
                target.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
            target.mux(stream.encode())


def tool(args: argparse.Namespace) -> list[dict]:
    """Seconds of tools/ftcn_video.py from its call to its end, without its start, and of the network alone on as many clips.

    By turns; ``ratios`` and ``ratios_without_start`` are to the network alone.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = save_random(Path(folder))
        for minutes in args.minutes:
            video, out = join(args.videos, Path(folder) / f'{minutes:g}.mp4', minutes), Path(folder) / f'scores_{minutes:g}'
            times = defaultdict(list)
            for _ in range(args.repeats):
                start = time.perf_counter()
                command = [sys.executable, 'tools/ftcn_video.py', checkpoint, video, '--out', out]
                subprocess.run(list(map(str, command)), check=True, cwd=ROOT, capture_output=True)
                times['tool'].append(time.perf_counter() - start)
                (scores,) = out.glob('*.jsonl')
                clips = len(scores.read_text().splitlines())
                times['without_start'].append(without_start(video, checkpoint))
                times['network'].append(network_alone(clips))
            rows.append(
                dict(
                    minutes=minutes,
                    frames=video_header(video)[0],
                    clips=clips,
                    threads=THREADS,
                    seconds=dict(times),
                    ratios=np.divide(times['tool'], times['network']).tolist(),
                    ratios_without_start=np.divide(times['without_start'], times['network']).tolist(),
                )
            )
            print(rows[-1], flush=True)
    return rows


def without_start(video: Path, checkpoint: Path) -> float:
    """Seconds of what the tool does once it is there: decoding, faces, alignment and network, with its settings."""
    torch.set_num_threads(THREADS)
    inferencer = FTCNInferencer(CONFIG, checkpoint, MTCNNDetector())
    start = time.perf_counter()
    inferencer(VideoFile(video))
    return time.perf_counter() - start


def network_alone(clips: int, batch: int = 4) -> float:
    """Seconds of the network for so many clips as the tool scores them, which are in memory already."""
    torch.set_num_threads(THREADS)
    net, clip = network(), np.random.default_rng(0).integers(0, 256, (32, 224, 224, 3), dtype=np.uint8)
    scores(net, [clip])
    start = time.perf_counter()
    with scoring(net, batch) as scorer:
        for _ in range(clips):
            scorer.submit(clip)
            list(scorer.ready())
        list(scorer.rest())
    return time.perf_counter() - start


def lengths(args: argparse.Namespace) -> list[dict]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = save_random(Path(folder))
        for minutes in args.minutes:
            video = join(args.videos, Path(folder) / f'{minutes:g}.mp4', minutes)
            with multiprocessing.get_context('spawn').Pool(1) as pool:
                rows.append(dict(minutes=minutes, **pool.apply(measure, (video, checkpoint, args.stride, args.given))))
            print(rows[-1])
    return rows


def save_random(folder: Path) -> Path:
    """A checkpoint of the paper's network with random weights."""
    save_file(dict(state_dict=network().state_dict()), folder / 'random.pth')
    return folder / 'random.pth'


def join(videos: list[Path], out: Path, minutes: float) -> Path:
    """The videos one behind the other, again and again up to a length; packets are copied, nothing is coded anew."""
    import av

    with av.open(str(out), 'w') as target:
        with av.open(str(videos[0])) as first:
            stream = target.add_stream_from_template(first.streams.video[0])
            rate = first.streams.video[0].average_rate
        number, start = 0, 0
        while start / rate < 60 * minutes:
            with av.open(str(videos[number % len(videos)])) as source:
                step = int(1 / rate / source.streams.video[0].time_base)
                frames = 0
                for packet in source.demux(video=0):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + start * step, packet.dts + start * step
                    packet.stream = stream
                    target.mux(packet)
                    frames += 1
            start, number = start + frames, number + 1
    return out


def measure(video: Path, checkpoint: Path, stride: int, given: bool) -> dict:
    """Peak memory, milliseconds a frame by stage, clips, and seconds to the first score of a video."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    spent: dict[str, float] = defaultdict(float)
    box = np.array([440.0, 160, 840, 560])  # 400 pixels
    faces = [[Face(box, landmarks_of_box(box), 1.0)]] * video_header(str(video))[0] if given else MTCNNDetector()
    inferencer = FTCNInferencer(CONFIG, checkpoint, faces, stride=stride)
    before, begin = _high_water(), time.process_time()
    frames = clocked(VideoFile(video), 'decoding', spent)
    tracking.Following.__call__ = clock(tracking.Following.__call__, 'faces', spent)
    inferencer._crop = clock(inferencer._crop, 'cropping', spent)
    inferencer.model.test_step = clock(inferencer.model.test_step, 'network', spent)
    first = None
    for item in inferencer.stream(frames):
        first, result = first or time.process_time() - begin, item
    total, count, clips = time.process_time() - begin, len(result.times), sum(len(t.starts) for t in result.tracks)
    spent['network of a clip'] = spent.pop('network') * count / clips
    return dict(
        frames=count,
        clips=clips,
        peak_mib=round(_high_water()),
        start_mib=round(before),
        first_score_seconds=round(first, 1),
        seconds=round(total, 1),
        ms={name: round(seconds / count * 1e3, 2) for name, seconds in spent.items()},
    )


def clock(function: Callable, name: str, spent: dict[str, float]) -> Callable:
    """The function, whose time is added to ``spent[name]``."""

    def call(*args, **kwargs):
        start = time.process_time()
        result = function(*args, **kwargs)
        spent[name] += time.process_time() - start
        return result

    return call


def clocked(items: Iterable, name: str, spent: dict[str, float]) -> Iterator:
    """The items, the time to make which is added to ``spent[name]``."""
    iterator, end = iter(items), object()
    step = clock(lambda: next(iterator, end), name, spent)
    while (item := step()) is not end:
        yield item


def detectors(args: argparse.Namespace) -> dict[str, dict]:
    """Milliseconds a frame, share of frames with a face, landmarks and scores against MTCNN in each frame."""
    mtcnn = MTCNNDetector()
    kinds: dict[str, Callable[[], Detector]] = {
        'mtcnn, each frame': lambda: mtcnn,
        'mtcnn, followed': lambda: tracking.Following(mtcnn),
        'haar': HaarDetector,
    }
    if args.yunet is not None:
        kinds['yunet'] = lambda: YuNetDetector(args.yunet)
    seconds, seen, points, logits = (defaultdict(list) for _ in range(4))
    net = network()
    for video in args.videos:
        frames = [frame for frame, _ in VideoFile(video, limit=args.frames)]
        tracks: dict[str, list] = {}
        for name, make in kinds.items():
            detect, found = make(), []
            for frame in frames:
                start = time.process_time()
                faces = detect(frame)
                seconds[name].append(time.process_time() - start)
                found.append(max(faces, key=lambda face: np.prod(face.box[2:] - face.box[:2]), default=None))
            seen[name].append(np.mean([face is not None for face in found]))
            tracks[name] = found
        reference = tracks['mtcnn, each frame']
        for name, found in tracks.items():
            pairs = [(a, b) for a, b in zip(reference, found, strict=True) if a is not None and b is not None]
            if pairs:
                sides = [max(a.box[2:] - a.box[:2]) for a, _ in pairs]
                errors = [np.linalg.norm(a.landmarks - b.landmarks, axis=1).mean() for a, b in pairs]
                points[name].append((np.mean(errors), np.mean(np.array(errors) / sides)))
            clip = found[:32]
            if all(face is not None for face in clip):
                crops, corners = zip(*(tracking.loose_crop(f, x.box) for f, x in zip(frames, clip, strict=False)), strict=True)
                aligned = align_clip(crops, np.array(corners), np.stack([face.landmarks for face in clip]))
                logits[name].append((video.name, score(net, aligned)))
    base = dict(logits['mtcnn, each frame'])
    return {
        name: dict(
            ms=1e3 * float(np.mean(seconds[name])),
            frames_with_a_face=float(np.mean(seen[name])),
            landmarks_px=float(np.mean([error for error, _ in points[name]])) if points[name] else None,
            landmarks_of_side=float(np.mean([share for _, share in points[name]])) if points[name] else None,
            clips=len(logits[name]),
            score_change=float(np.mean([abs(s - base[v]) for v, s in logits[name] if v in base])) if logits[name] else None,
        )
        for name in kinds
    } | dict(spread_of_scores=float(np.std(list(base.values()))))


@torch.inference_mode()
def score(net: torch.nn.Module, clip: np.ndarray) -> float:
    """The logit of an aligned clip (T, H, W, 3)."""
    mean, std = torch.tensor((123.675, 116.28, 103.53)), torch.tensor((58.395, 57.12, 57.375))
    inputs = ((torch.from_numpy(clip).float() - mean) / std).permute(3, 0, 1, 2)[None]
    return float(net.resnet.head(net.resnet.features(inputs)))


def preparation(args: argparse.Namespace) -> dict[str, dict]:
    """Seconds, bytes and scores of the first clip of each video, by format; every frame is kept, so that formats differ alone."""
    net, rows, logits = network(), {}, {}
    detector = MTCNNDetector()
    for name, (suffix, quality) in FORMATS.items():
        with tempfile.TemporaryDirectory() as folder:
            root, seconds, crops, size, pixels, lines = Path(folder), 0.0, 0, 0, 0, []
            for number, video in enumerate(args.videos):
                start = time.process_time()
                result = prepare_video(
                    VideoFile(video, limit=args.frames), root / f'crops/{number}', detector, suffix=suffix, quality=quality
                )
                seconds += time.process_time() - start
                lines += clip_lines(dict(video=f'{number}', label=1, method='x', split='test'), result)[:1]
            files = list(root.rglob(f'*{suffix}'))
            crops, size = len(files), sum(file.stat().st_size for file in files)
            pixels = sum(np.prod(cv2.imread(str(file)).shape[:2]) for file in files[::20]) * 20
            (root / 'clips.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines if line['frames']))
            clips = FaceClips('clips.jsonl', 'test', [], clips_per_video=1, data_root=folder)
            start = time.process_time()
            read = [clips[k]['clip'] for k in range(len(clips))]
            reading = (time.process_time() - start) / len(clips)
            logits[name] = [score(net, clip) for clip in read]
        change = np.abs(np.array(logits[name]) - logits['png'])
        rows[name] = dict(
            ms_a_frame=1e3 * seconds / (args.frames * len(args.videos)),
            kib_a_crop=size / crops / 1024,
            bytes_a_pixel=float(size / pixels),
            ms_to_read_a_clip=1e3 * reading,
            score_change=float(change.mean()),
            largest_score_change=float(change.max()),
        )
    return rows | dict(spread_of_scores=float(np.std(logits['png'])))


if __name__ == '__main__':
    main()
