"""MCN: videos that show the same motion, found without a single label."""

from pathlib import Path

import numpy as np

from openmsra.demo.charts import Curve, line_chart
from openmsra.demo.exhibit import Exhibit
from openmsra.demo.pictures import encoded, enlarged, framed, sheet
from openmsra.demo.stage import Findings, Picture, Stage, short

CONFIG = 'mcn_tiny_1xb32-3e_motions_mini'
COUNT = 640  # videos of a split
QUERIES = range(8)  # one of each motion

EXHIBIT = Exhibit(
    name='MCN',
    title='Self-Supervised Video Representation Learning with Meta-Contrastive Network',
    url='https://arxiv.org/abs/2108.08426',
    sentences='Learns from videos without labels to recognise what happens in them. In each step it first adapts to some clips '
    'and is '
    'then judged on others, so that it learns to learn.',
    toy='640 videos of discs that move over photographs in one of eight ways; the search is for 640 others, of other '
    'photographs.',
    full='UCF101, 9,537 videos, 300 epochs on 8 GPUs with 12 GB used of each; then fine-tuning or search. The authors publish '
    'that '
    'the nearest video shows the same action for 52.5 %. No code was published; many choices are ours.',
    full_command='tools/dist_train.sh configs/mcn/mcn_r2plus1d-18_8xb8-300e_ucf101.py 8',
)


def show(stage: Stage) -> Findings:
    run, checkpoint = stage.train(CONFIG, 'train on 640 videos without labels')
    features = stage.folder / 'features.npz'
    arguments = ('--cfg-options', f'test_evaluator.features={short(features)}')
    figures = stage.test(CONFIG, checkpoint, *arguments, what='search: which video shows the same motion?')
    steps, recalls = run.curve('retrieval/R@1')
    final = figures['retrieval/R@1']
    return Findings(
        figure=f'{final:.0f} %',
        meaning='of the nearest videos show the same motion as the one that was searched with',
        compared=f'Guessing: 12.5 %; before training: {recalls[0]:.0f} %.',
        chart=line_chart(
            'Nearest video shows the same motion',
            [Curve('same motion', steps, recalls)],
            'epoch',
            'same motion, %',
            ('guessing', 12.5),
        ),
        chart_caption='From random weights (epoch 0) on. The network has never seen the names of the motions.',
        pictures=[neighbours(features)],
        remark='Plain contrast does as well on this toy: no advantage of the two stages was found in longer runs with three '
        'seeds.',
    )


def neighbours(file: Path) -> Picture:
    """One query of each motion and the video that is nearest to it."""
    from openmsra.miniatures.motions import FRAMES, MOTIONS, videos

    stored = dict(np.load(file))
    unit = {role: stored[f'{role}_feature'] for role in ('query', 'gallery')}
    unit = {role: values / np.linalg.norm(values, axis=1, keepdims=True) for role, values in unit.items()}
    nearest = np.argsort(-(unit['query'] @ unit['gallery'].T), axis=1, kind='stable')
    pixels = {'query': videos('test', COUNT, 0.55, 0), 'gallery': videos('train', COUNT, 0.55, 0)}
    labels = {role: stored[f'{role}_label'] for role in pixels}

    def cell(role: str, place: int, kind: str) -> np.ndarray:
        clip = pixels[role][int(str(stored[f'{role}_video'][place]).rpartition('/')[2])]
        return framed(np.hstack([enlarged(clip[k], 2) for k in (2, FRAMES // 2, FRAMES - 3)]), kind)

    rows, right = [], []
    for query in QUERIES:
        neighbour, label = nearest[query, 0], labels['query'][query]
        same = bool(labels['gallery'][neighbour] == label)
        rows.append([cell('query', query, 'plain'), cell('gallery', neighbour, 'good' if same else 'bad')])
        right += [MOTIONS[label]] if same else []
    return encoded(
        sheet(rows),
        f'Frames of {len(QUERIES)} videos of moving discs, beside each those of the video that was found for it; {len(right)} of '
        f'{len(QUERIES)} show the same motion and have a green frame.',
        'Three moments of each video. Left, one video of each motion; right, the one that was found for it, green where the '
        f'motion is the same: {", ".join(right) or "none of these"}. Colours and background do not count.',
    )
