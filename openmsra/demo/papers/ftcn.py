"""FTCN: a forged stretch in a video of a face, and the score over time that finds it."""

import csv
from pathlib import Path

import numpy as np

from openmsra.demo.charts import Curve, line_chart
from openmsra.demo.exhibit import Exhibit
from openmsra.demo.pictures import encoded, framed, sheet
from openmsra.demo.stage import Findings, Picture, Stage

CONFIG = 'ftcn-tt_tiny_1xb16-6e_photos_mini'
FRAMES, FORGED = 90, range(30, 60)
FACE = (0, 95, 300, 395)  # top, left, bottom, right in the photograph of the astronaut
SIDE = 224  # pixels of a frame

EXHIBIT = Exhibit(
    name='FTCN',
    title='Exploring Temporal Coherence for More General Video Face Forgery Detection',
    url='https://arxiv.org/abs/2108.06693',
    sentences='Tells forged faces in videos from real ones. It looks at one spot over time and not at the picture, so that it '
    'finds '
    'the flicker of manipulations that it was never shown.',
    toy='Pans over three photographs; in half of them an ellipse flickers. The face below was in none of them.',
    full='FaceForensics++, a thousand real videos and four forgeries of each, cut to aligned faces; 100 epochs on 8 GPUs with 7 '
    'GB '
    'used of each. The data are given on request by their owners; no accuracy of the paper was reproduced here.',
    full_command='tools/dist_train.sh configs/ftcn/ftcn-tt_r50_8xb2-100e_ffpp-c23.py 8',
)


def show(stage: Stage) -> Findings:
    run, checkpoint = stage.train(CONFIG, 'train on clips whose brightness flickers')
    figures = stage.test(CONFIG, checkpoint, what='test on manipulations that it was not shown')
    frames, scores = stage.folder / 'astronaut', stage.folder / 'scores'
    write_video(frames)
    arguments = ('--weights', checkpoint, '--out', scores, '--stride', '1', '--batch-size', '16')
    stage.run('score a video, a third of which is forged', 'infer', 'ftcn', frames, *arguments)
    times, values = read_scores(scores)
    unseen = figures['forgery/video_AUC_gain']
    return Findings(
        figure=f'{figures["forgery/video_AUC"]:.0f} %',
        meaning='of pairs of a real and a forged clip are told apart (AUC), most of them forged in ways it was not shown',
        compared=f'Guessing: 50 %. With a change of brightness as forgery, never shown: {unseen:.0f} %.',
        chart=line_chart(
            'Score of each frame of the video; frames 30 to 59 are forged',
            [Curve('probability of a forgery', times, values)],
            'frame',
            'probability of a forgery',
            band=(FORGED.start, FORGED.stop),
            y_range=(-0.03, 1.03),
            digits=2,
        ),
        chart_caption='The answer over time. The shaded part of the video is forged; the network was not told.',
        pictures=[strip(frames, values)],
        remark='Forgeries made by us: they show the principle and say nothing about real deepfakes.',
    )


def write_video(folder: Path) -> None:
    """A pan over a face as numbered frames; in :data:`FORGED` the brightness of the face changes from frame to frame."""
    import cv2

    from openmsra.common.images import write_rgb
    from openmsra.miniatures.forgeries import change, soft_ellipse
    from openmsra.miniatures.photographs import load_photo

    rng, photo = np.random.default_rng(1), load_photo('astronaut')
    top, left, bottom, right = FACE
    region, frames = photo[top:bottom, left:right], []
    for k in range(FRAMES):
        centre = (150 + 6 * np.sin(k / 17), 110 + 5 * np.cos(k / 23))
        frames.append(cv2.getRectSubPix(region, (SIDE, SIDE), tuple(map(float, centre))))
    frames = np.stack(frames).astype(np.float32)
    face = frames[FORGED.start : FORGED.stop, 20:180, 30:190]
    mask = soft_ellipse(face.shape[1], rng)
    face[:] = mask * change(face, 'gain', rng, face) + (1 - mask) * face
    noise = rng.normal(0, 1, frames.shape)
    folder.mkdir(parents=True, exist_ok=True)
    for k, frame in enumerate(np.clip(np.rint(frames + noise), 0, 255).astype(np.uint8)):
        write_rgb(folder / f'{k:03d}.png', frame)


def read_scores(folder: Path) -> tuple[list[int], list[float]]:
    """Frames and scores of the face that was seen longest."""
    (file,) = (path for path in folder.glob('*.csv') if path.name != 'results.csv')
    with file.open(encoding='utf-8', newline='') as stream:
        rows = list(csv.DictReader(stream))
    tracks = [row['track'] for row in rows]
    longest = max(set(tracks), key=tracks.count, default=None)
    rows = [row for row in rows if row['track'] == longest]
    return [int(row['frame']) for row in rows], [float(row['score']) for row in rows]


def strip(folder: Path, values: list[float], count: int = 9) -> Picture:
    """Frames at even distances, framed in red where they are forged."""
    from openmsra.common.images import read_rgb

    numbers = [int(k) for k in np.linspace(FRAMES / count / 2, FRAMES - FRAMES / count / 2, count)]
    frames = [framed(read_rgb(folder / f'{k:03d}.png'), 'bad' if k in FORGED else 'good', 6) for k in numbers]
    forged = sum(k in FORGED for k in numbers)
    return encoded(
        sheet([frames[:3], frames[3:6], frames[6:]]),
        f'{count} frames of a video of a face; the {forged} frames of the middle row are framed in red, the others in green.',
        'Frames of the video. Those of the middle row (red) are forged: the brightness of the face jumps from frame to frame, '
        'which '
        'a single picture does not show.',
        lossy=True,
    )
