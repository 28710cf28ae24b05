"""AutoFormer: a supernet on handwritten digits, and sub-networks of every size cut from it."""

import pickle
from pathlib import Path

import numpy as np

from openmsra.demo.charts import Curve, line_chart
from openmsra.demo.exhibit import Exhibit
from openmsra.demo.pictures import encoded, enlarged, framed, sheet
from openmsra.demo.stage import Findings, Picture, Stage

CONFIG = 'autoformer_supernet_1xb32-45e_digits_mini'
SUBNETS = ('smallest', 'middle', 'random:12', 'largest')
COLUMNS, ROWS = 10, 3

EXHIBIT = Exhibit(
    name='AutoFormer',
    title='Searching Transformers for Visual Recognition',
    url='https://arxiv.org/abs/2107.00651',
    sentences='Trains one network that contains thousands of smaller ones, which share its weights. '
    'Afterwards you pick the size that fits your device, and it works at once, without training again.',
    toy='1,000 handwritten digits of 8 x 8 pixels, scanned for the UCI collection; 500 others are tested.',
    full='ImageNet, 1.28 million pictures, 500 epochs on 8 GPUs with 6 GB used of each. At the 123 ms a step that were measured '
    'on '
    'an H200, 625,000 steps are about 21 hours, if the disks keep up. The authors publish 75.3 % for the tiny space.',
    full_command='tools/dist_train.sh configs/autoformer/autoformer-tiny_supernet_8xb128-500e_in1k.py 8',
)


def show(stage: Stage) -> Findings:
    run, checkpoint = stage.train(CONFIG, 'train a supernet of 4,644 networks on 1,000 digits')
    predictions = stage.folder / 'predictions.pkl'
    subnets = f'test_cfg.subnets=[{",".join(map(repr, SUBNETS))}]'
    arguments = ('--out', predictions, '--cfg-options', subnets)
    figures = stage.test(CONFIG, checkpoint, *arguments, what='test fifteen of them on 500 other digits')
    top1 = {name: figures[f'{name}/accuracy/top1'] for name in ('smallest', 'middle', 'largest')}
    params = {name: figures[f'{name}/params'] for name in top1}
    curves = [Curve(name, *run.curve(f'{name}/accuracy/top1')) for name in top1]
    return Findings(
        figure=f'{top1["largest"]:.1f} %',
        meaning='of unseen digits are read right by the largest network',
        compared=f'Guessing: 10 %. The smallest network, cut from the same weights, has {params["smallest"] / 1000:.1f} instead '
        f'of {params["largest"] / 1000:.1f} thousand weights and reads {top1["smallest"]:.1f} %.',
        chart=line_chart('Accuracy of three sizes during one training', curves, 'epoch', 'digits read right, %'),
        chart_caption='One training, three of its networks: all sizes learn together.',
        pictures=[digits(predictions.with_name('predictions.largest.pkl'), top1['largest'])],
        remark='Real scans, and the figure is stable; how well small networks inherit on ImageNet is another matter.',
    )


def digits(predictions: Path, top1: float) -> Picture:
    """Test digits and their labels: every mistake first, then right ones."""
    from sklearn.datasets import load_digits

    with predictions.open('rb') as stream:
        rows = pickle.load(stream)
    images, known = load_digits().images, [int(row['pred_label']) == int(row['gt_label']) for row in rows]
    order = np.argsort(known, kind='stable')[: ROWS * COLUMNS]
    cells = [_captioned(images[rows[k]['img_id']], int(rows[k]['pred_label']), known[k]) for k in order]
    wrong = len(rows) - sum(known)
    shown = min(wrong, len(cells))
    return encoded(
        sheet([cells[k : k + COLUMNS] for k in range(0, len(cells), COLUMNS)]),
        f'{len(cells)} scanned digits with the answer of the network above each; {shown} answers are wrong and framed in red.',
        f'All {wrong} mistakes among {len(rows)} test digits come first (red), then digits that are read right (green). '
        'Above each the answer; some are hard for people too.'
        if wrong <= len(cells)
        else f'{shown} of {wrong} mistakes among {len(rows)} test digits (red).',
    )


def _captioned(image: np.ndarray, label: int, right: bool) -> np.ndarray:
    import cv2

    grey = (255 - image / 16 * 235).round().astype(np.uint8)
    pixels = framed(enlarged(np.repeat(grey[..., None], 3, 2), 8), 'good' if right else 'bad')
    head = np.full((26, pixels.shape[1], 3), 255, np.uint8)
    ink = (20, 105, 66) if right else (176, 42, 32)
    cv2.putText(head, str(label), (pixels.shape[1] // 2 - 8, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.75, ink, 2, cv2.LINE_AA)
    return np.vstack([head, pixels])
