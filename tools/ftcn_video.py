"""Score the faces of videos with FTCN: JSON, CSV, a timeline plot and, if asked for, an annotated video of each.

The sources are video files, folders of videos, folders of images (one video each), or a camera by `--camera 0`.
A score is the probability of a forgery under the training data; on other material it is badly calibrated, so that a
threshold must be chosen on videos like the ones that are judged.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from openmsra.common.images import images_of
from openmsra.common.video import Frame, ImageFolder, VideoFile, list_videos, record_camera
from openmsra.engine.launch import run_tool
from openmsra.errors import MissingFileError, VideoError

CONFIG = Path(__file__).resolve().parents[1] / 'configs/ftcn/ftcn-tt_r50_8xb2-100e_ffpp-c23.py'


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path, help='converted or trained checkpoint')
    parser.add_argument('sources', type=Path, nargs='*', help='videos, folders of videos, folders of images')
    parser.add_argument('--config', type=Path, default=CONFIG, help='config of the checkpoint')
    parser.add_argument('--camera', help='index or address of a camera, beside or instead of the sources')
    parser.add_argument('--seconds', type=float, default=10, help='how long to record the camera')
    parser.add_argument(
        '--detector',
        choices=['haar', 'yunet', 'boxes', 'none'],
        default='haar',
        help='none: the frames are aligned faces already',
    )
    parser.add_argument('--yunet', type=Path, help='ONNX file of YuNet')
    parser.add_argument('--boxes', type=Path, help='JSON file with the faces of each frame (one source only)')
    parser.add_argument('--backend', default='auto', help='auto, decord, pyav or opencv')
    parser.add_argument('--max-frames', type=int, help='score the beginning only; the official code takes 768')
    parser.add_argument('--stride', type=int, default=8, help='frames between clips; 1 is the official setting')
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--min-face', type=int, default=40, help='smallest face in pixels')
    parser.add_argument('--aggregate', choices=['max', 'mean'], default='max', help='score of a video with several faces')
    parser.add_argument('--threshold', type=float, default=0.5, help='probability from which a face is called fake')
    parser.add_argument('--annotate', action='store_true', help='write annotated videos')
    parser.add_argument('--out', type=Path, default=Path('ftcn_scores'))
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args(argv)
    if not args.sources and args.camera is None:
        parser.error('give a video, a folder or --camera')
    if args.detector in ('yunet', 'boxes') and getattr(args, args.detector) is None:
        parser.error(f'--detector {args.detector} needs --{args.detector} FILE')
    return args


def videos(args: argparse.Namespace) -> Iterator[tuple[str, Iterable[Frame]]]:
    """Name and frames of each source.

    Raises:
        FileNotFoundError: a source does not exist, or a folder holds neither videos nor images.
    """
    for source in args.sources:
        if not source.is_dir():
            if not source.is_file():
                raise MissingFileError(f'{source}: there is no such video or folder.')
            yield str(source), LazyVideo(source, args.backend, args.max_frames)
        elif images_of(source):
            yield str(source), ImageFolder(source, limit=args.max_frames)
        else:
            for file in list_videos(source):
                yield str(file), LazyVideo(file, args.backend, args.max_frames)
    if args.camera is not None:
        camera = int(args.camera) if args.camera.isdigit() else args.camera
        yield f'camera-{args.camera}', record_camera(camera, args.seconds)


class LazyVideo:
    """A video whose faults show when it is read: they must not stop the others."""

    def __init__(self, *arguments) -> None:
        self.arguments = arguments

    def __iter__(self) -> Iterator[Frame]:
        return iter(VideoFile(*self.arguments))


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    from openmsra.ftcn import FTCNInferencer, report
    from openmsra.ftcn.faces.detectors import face_source

    faces = face_source(args.detector, args.min_face, args.yunet, args.boxes)
    inferencer = FTCNInferencer(
        args.config, args.checkpoint, faces, args.device, args.stride, args.batch_size, args.min_face, aggregate=args.aggregate
    )
    args.out.mkdir(parents=True, exist_ok=True)
    summary = []
    for name, frames in videos(args):
        try:
            result = inferencer(frames, name)
        except VideoError as error:
            summary.append(dict(video=name, score=None, error=str(error)))
            print(f'{name}: skipped: {error}')
            continue
        files = {kind: args.out / f'{len(summary):04d}_{Path(name).stem}.{kind}' for kind in ('json', 'csv', 'png', 'mp4')}
        report.write_json(result, files['json'], args.threshold)
        report.write_csv(result, files['csv'])
        report.draw_timeline(result, files['png'], args.threshold)
        if args.annotate:
            report.write_annotated(result, frames, files['mp4'], args.threshold)
        summary.append(dict(video=name, score=result.score, warnings=result.warnings))
        score = 'no score' if result.score is None else f'{result.score:.4f}'
        print(f'{name}: {score}' + ''.join(f'\n  note: {warning}' for warning in result.warnings))
    (args.out / 'summary.json').write_text(json.dumps(summary, indent=1) + '\n', encoding='utf-8')
    print(f'wrote {args.out}; scores on material unlike the training data are badly calibrated.')


if __name__ == '__main__':
    run_tool(main)
