"""Soft Teacher: a detector from a few labelled and many unlabelled pictures of coloured cut-outs."""

import json
from pathlib import Path

import numpy as np

from openmsra.demo.charts import Curve, line_chart
from openmsra.demo.exhibit import Exhibit
from openmsra.demo.pictures import BOX_COLOURS, encoded, sheet
from openmsra.demo.stage import Findings, Picture, Stage

CONFIG = 'soft-teacher_r18-tiny_1xb8-300i_shapes_mini'
BURN_IN = 240  # of the config
SCENES = 'data/shape_scenes'
SHOWN = 8

EXHIBIT = Exhibit(
    name='Soft Teacher',
    title='End-to-End Semi-Supervised Object Detection',
    url='https://arxiv.org/abs/2106.09018',
    sentences='Learns to find objects from few pictures in which somebody has drawn boxes, and from many in which nobody has. '
    'A slowly moving copy of the network, the teacher, draws boxes itself and says how sure it is of each.',
    toy='24 labelled and 800 unlabelled pictures with red, green and blue cut-outs on photographs; 100 others are tested.',
    full='A tenth of COCO labelled, the rest without labels, 180,000 iterations on 8 GPUs. The authors publish a mean average '
    'precision of 34.0, the mean of five draws, where the labelled tenth alone gives 26.9.',
    full_command='tools/dist_train.sh configs/soft_teacher/soft-teacher_faster-rcnn-r50_8xb5-180k_coco-10pct.py 8',
    needs_operators=True,
)


def show(stage: Stage) -> Findings:
    run, checkpoint = stage.train(CONFIG, 'train a detector on 24 labelled and 800 unlabelled pictures')
    curves = [Curve(name, *run.curve(f'{name}/coco/bbox_mAP_50')) for name in ('teacher', 'student')]
    curves = [Curve(c.name, c.x, [100 * y for y in c.y]) for c in curves]
    pictures = stage.folder / 'detections'
    files = [str(Path(SCENES) / 'val' / f'{number:04d}.png') for number in range(100, 100 + SHOWN)]
    stage.run('look at test pictures', 'infer', 'soft_teacher', *files, '--weights', checkpoint, '--out', pictures)
    return Findings(
        figure=f'{curves[0].y[-1]:.1f} %',
        meaning='average precision (AP50) of the boxes in unseen pictures',
        compared='A network that has learned nothing: 0 %. From 24 labelled pictures, without weights from elsewhere.',
        chart=line_chart(
            'Average precision of the teacher and the student', curves, 'iteration', 'AP50, %', band=(BURN_IN, curves[0].x[-1])
        ),
        chart_caption='Labelled pictures alone at first; in the shaded part the teacher draws boxes into the unlabelled ones '
        'too.',
        pictures=[detections(pictures)],
        remark='So short a run cannot tell what the unlabelled pictures add: over three seeds of a run of minutes it was 3.4 '
        'points.',
    )


def detections(folder: Path, score: float = 0.4, zoom: int = 3) -> Picture:
    """The pictures with the boxes of ``openmsra infer`` from a score on."""
    import cv2

    from openmsra.common.images import read_rgb

    images, boxes = (json.loads((folder / name).read_text(encoding='utf-8')) for name in ('images.json', 'results.json'))
    names = {row['id']: row['name'] for row in images['categories']}
    drawn, count = [], 0
    for image in images['images']:
        pixels = np.ascontiguousarray(cv2.resize(read_rgb(image['file_name']), None, fx=zoom, fy=zoom))
        for box in boxes:
            if box['image_id'] == image['id'] and box['score'] >= score:
                x1, y1, width, height = (round(zoom * value) for value in box['bbox'])
                colour, text = BOX_COLOURS[names[box['category_id']]], f'{names[box["category_id"]]} {100 * box["score"]:.0f} %'
                cv2.rectangle(pixels, (x1, y1), (x1 + width, y1 + height), colour, 3)
                place = (min(x1 + 3, pixels.shape[1] - 105), max(y1 - 7, 18))
                for ink, thickness in (((0, 0, 0), 5), ((255, 255, 255), 1)):
                    cv2.putText(pixels, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, ink, thickness, cv2.LINE_AA)
                count += 1
        drawn.append(pixels)
    return encoded(
        sheet([drawn[:4], drawn[4:]]),
        f'{len(drawn)} photographs with coloured cut-outs; the detector has drawn {count} boxes with a colour name and a '
        f'percentage.',
        f'Test pictures and what the detector finds in them, from a confidence of {100 * score:.0f} % on.',
        lossy=True,
    )
