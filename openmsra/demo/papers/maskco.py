"""MaskCo: what lies behind a hidden part of a picture, told from its surroundings."""

from pathlib import Path

from openmsra.demo.charts import Curve, line_chart
from openmsra.demo.exhibit import Exhibit
from openmsra.demo.stage import Findings, Picture, Stage

CONFIG = 'maskco_r18-tiny_1xb32-6e_digits_mini'
STEPS = 32  # of an epoch
CHOICES = 260  # 256 keys of the queue and 4 other regions of the picture, beside the right one

EXHIBIT = Exhibit(
    name='MaskCo',
    title='Self-Supervised Visual Representations Learning by Contrastive Mask Prediction',
    url='https://arxiv.org/abs/2108.07954',
    sentences='Learns from pictures without labels: a part is hidden, and the network has to tell from the surroundings which '
    'of many '
    'parts it was. Unlike its peers it does not assume that a picture shows one thing in its middle.',
    toy='1,024 scenes of four handwritten digits on photographs, 48 pixels wide.',
    full='ImageNet, 200 epochs on 8 GPUs with 4 GB used of each. At the 42 ms a step that were measured on an H200, a million '
    'steps '
    'are about 12 hours, if the disks keep up. No code was published; many choices are ours.',
    full_command='tools/dist_train.sh configs/maskco/maskco_resnet50_8xb32-200e_in1k.py 8',
)


def show(stage: Stage) -> Findings:
    run, checkpoint = stage.train(CONFIG, 'train on 1,024 pictures without labels')
    picture = stage.folder / 'predictions.png'
    stage.run(
        'look for hidden parts',
        'analyze',
        'maskco-predictions',
        CONFIG,
        checkpoint,
        picture,
        '--rows',
        '4',
        '--pool',
        '8',
        '--neighbours',
        '5',
    )
    steps, choice = run.curve('choice_accuracy')
    epochs, choice = [step / STEPS for step in steps], [value * 100 for value in choice]
    probes = run.curve('probe/region_linear')[1]
    return Findings(
        figure=f'{choice[-1]:.0f} %',
        meaning=f'of the hidden parts are found among {CHOICES + 1}',
        compared=f'Guessing: {100 / (CHOICES + 1):.1f} %. What was learned is not yet of use: digits are named right from the '
        f'frozen features for {probes[-1]:.0f} % of the parts, and for {probes[0]:.0f} % with random weights.',
        chart=line_chart(
            'Hidden parts that are found, mean of an epoch', [Curve('found', epochs, choice)], 'epoch', 'hidden parts found, %'
        ),
        chart_caption='The task that the network sets itself, on the pictures of the training.',
        pictures=[prediction(picture)],
        remark='Far too short for features: in runs of an hour and three seeds they name 37 % of the digits, MoCo v2 35 %, '
        'within the spread.',
    )


def prediction(file: Path) -> Picture:
    """The picture of ``maskco-predictions``."""
    return Picture(
        file.read_bytes(),
        'image/png',
        'Four rows. In each a small picture with a grey hole, a second view of it with a heat map, and the five parts, of eight '
        'pictures, that the network finds most alike.',
        'Left the picture with its hole, beside it a second view: bright where the network thinks the hidden part is. Then the '
        'parts of eight pictures that it finds most alike: green is the right one, yellow another part of the same picture, red '
        'one of another picture. Most are wrong after so short a training.',
    )
