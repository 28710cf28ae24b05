"""Score the faces of videos with FTCN: JSON, CSV, a timeline plot and, if asked for, an annotated video of each.

The sources are video files, folders of videos, folders of images (one video each), or a camera by `--camera 0`.
A score is the probability of a forgery under the training data; on other material it is badly calibrated, so that a
threshold must be chosen on videos like the ones that are judged.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from openmsra.common.images import images_of
from openmsra.common.outputs import left_out, printable, writable_folder
from openmsra.common.video import Frame, ImageFolder, VideoFile, list_videos, record_camera
from openmsra.engine.launch import run_tool
from openmsra.errors import MissingFileError, UserError, VideoError

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
        choices=['auto', 'mtcnn', 'haar', 'yunet', 'boxes', 'none'],
        default='auto',
        help='mtcnn finds five landmarks too (its weights are in the wheel of facenet-pytorch); auto: mtcnn where it is '
        'installed, else haar; none: the frames are aligned faces already',
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
    parser.add_argument('--calibration', type=Path, help='file of tools/analysis/ftcn_calibrate.py: threshold and probabilities')
    parser.add_argument('--annotate', action='store_true', help='write annotated videos')
    parser.add_argument('--out', type=Path, default=Path('ftcn_scores'))
    parser.add_argument('--device', default='cpu')
    args = parser.parse_intermixed_args(argv)
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


def score_video(inferencer: Callable, frames: Iterable[Frame], name: str, file: Path) -> Any:
    """The result of a video; scores of clips are in ``file``, a line each, and on the terminal as soon as they are known."""
    from tqdm import tqdm

    from openmsra.ftcn.inferencer import ClipScore

    result = None
    with tqdm(desc=printable(name), unit='clip', leave=False) as bar, file.open('w', encoding='utf-8') as stream:
        for result in inferencer.stream(frames, name):
            if isinstance(result, ClipScore):
                row = dict(frame=result.frame, seconds=round(result.seconds, 3), face=result.track, score=result.score)
                stream.write(json.dumps(row | dict(box=result.box.round(1).tolist())) + '\n')
                stream.flush()
                bar.set_postfix_str(f'{result.seconds:.1f} s: {result.score:.3f}')
                bar.update()
    return result


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    from openmsra.engine.checkpoint.files import write_durably
    from openmsra.engine.inferencer import numbered_name
    from openmsra.ftcn import FTCNInferencer, report
    from openmsra.ftcn.calibration import Calibration
    from openmsra.ftcn.faces.detectors import face_source, resolve
    from openmsra.needs import MTCNN

    writable_folder(args.out)
    detector = resolve(args.detector)
    if detector == 'haar' and args.detector == 'auto':
        print(f'faces are found by haar, slowly and without landmarks; for MTCNN: pip install --no-deps {MTCNN}')
    faces = face_source(detector, args.min_face, args.yunet, args.boxes)
    inferencer = FTCNInferencer(
        args.config, args.checkpoint, faces, args.device, args.stride, args.batch_size, args.min_face, aggregate=args.aggregate
    )
    sources = list(videos(args))
    calibration = Calibration.load(args.calibration, inferencer.provenance) if args.calibration else None
    threshold = calibration.threshold if calibration else args.threshold
    summary = []
    for number, (name, frames) in enumerate(sources):
        row = dict(video=name, score=None)
        try:
            result = score_video(inferencer, frames, name, args.out / numbered_name(number, name, '.jsonl'))
        except (UserError, OSError) as error:
            row['error'] = str(error)
            print(f'{printable(name)}: skipped: {printable(error)}')
        else:
            files = {kind: args.out / numbered_name(number, name, f'.{kind}') for kind in ('json', 'csv', 'png', 'mp4')}
            row |= dict(score=result.score, warnings=result.warnings)
            if calibration and result.score is not None:
                row['probability'] = result.probability = calibration.probability(result.score)
            report.write_json(result, files['json'], threshold)
            report.write_csv(result, files['csv'])
            report.draw_timeline(result, files['png'], threshold)
            if args.annotate:
                report.write_annotated(result, frames, files['mp4'], threshold)
            score = 'no score' if result.score is None else f'{result.score:.4f}'
            print(f'{printable(name)}: {score}' + ''.join(f'\n  note: {warning}' for warning in result.warnings))
        summary.append(row | inferencer.provenance)
        content = (json.dumps(summary, indent=1) + '\n').encode()
        write_durably(args.out / 'summary.json', lambda stream, content=content: stream.write(content))  # what is done is kept
    skipped = {row['video']: row['error'] for row in summary if 'error' in row}
    calibrated = (
        f'calibrated by {args.calibration}'
        if calibration
        else ('scores on material unlike the training data are badly calibrated: tools/analysis/ftcn_calibrate.py')
    )
    print(f'wrote {args.out}; {calibrated}.')
    if len(skipped) == len(summary):
        raise VideoError(f'none of the {len(skipped)} videos could be read; the reasons are in {args.out / "summary.json"}.')
    if skipped:
        raise left_out(skipped, len(summary), 'videos', args.out)


if __name__ == '__main__':
    run_tool(main)
