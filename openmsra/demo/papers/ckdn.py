"""CKDN: restorations of one noisy photograph, ranked without the original."""

import csv
from pathlib import Path

import numpy as np

from openmsra.demo.charts import Curve, line_chart
from openmsra.demo.exhibit import Exhibit
from openmsra.demo.pictures import encoded, sheet
from openmsra.demo.stage import Findings, Picture, Stage

CONFIG = 'ckdn_r18_1xb16-8e_photos_mini'
SIDE = 329  # pixels: what the tool scales to, so that nothing is resized
CUT = slice(85, 245)  # of each side, for the page
EXHIBIT = Exhibit(
    name='CKDN',
    title='Learning Conditional Knowledge Distillation for Degraded-Reference Image Quality Assessment',
    url='https://arxiv.org/abs/2108.07948',
    sentences='Says how good a restored picture is, in figures that are meant to agree with people. It needs the damaged '
    'picture, which everybody has, and not the undamaged one, which nobody has.',
    toy='Noisy patches of four photographs and five filters; another two photographs are tested. The measure is the error '
    'against '
    'the original, since nobody has looked at these patches.',
    full='PIPAL, 200 pictures in 116 restorations each with a million judgements of people, 30 epochs on 8 GPUs with 2 GB used '
    'of '
    'each: hours. Neither the data nor the released weights were at hand, so that no figure of the paper was reproduced here.',
    full_command='tools/dist_train.sh configs/ckdn/ckdn_r50_8xb8-30e_pipal.py 8',
)


def show(stage: Stage) -> Findings:
    run, checkpoint = stage.train(CONFIG, 'train on five filters of noisy patches')
    restored, degraded, errors = write_pictures(stage.folder / 'pictures')
    scores = stage.folder / 'scores'
    arguments = ('--degraded', degraded, '--method-dirs', '--weights', checkpoint, '--out', scores)
    stage.run('rank restorations of a photograph', 'infer', 'ckdn', restored, *arguments)
    steps, right = run.curve('iqa/pairwise_acc')
    right = [100 * value for value in right]
    return Findings(
        figure=f'{right[-1]:.0f} %',
        meaning='of pairs of restorations of an unseen photograph are put in the right order',
        compared=f'Guessing: 50 %; before training: {right[0]:.0f} %.',
        chart=line_chart(
            'Pairs in the right order', [Curve('right', steps, right)], 'epoch', 'pairs in the right order, %', ('guessing', 50)
        ),
        chart_caption='From random weights (epoch 0) on, on photographs that are not trained on.',
        pictures=[ranking(restored, scores, errors)],
        remark='A handful of filters and minutes of training: the order in the picture is often wrong in places. What the method '
        'is for, restorations by networks and the eyes of people, is not shown here.',
    )


def write_pictures(folder: Path) -> tuple[Path, Path, dict[str, float]]:
    """A noisy photograph and its restorations in a folder for each method; the error of each in grey levels."""
    from PIL import Image, ImageFilter

    from openmsra.common.images import write_rgb
    from openmsra.miniatures.photographs import load_photo

    photo = load_photo('flower')
    pristine = photo[40 : 40 + SIDE, 180 : 180 + SIDE]
    noise = np.random.default_rng(3).normal(0, 26, pristine.shape)
    noisy = Image.fromarray(np.clip(pristine + noise, 0, 255).astype(np.uint8))
    methods = {
        'not restored': noisy,
        'slightly smoothed': noisy.filter(ImageFilter.GaussianBlur(0.7)),
        'smoothed': noisy.filter(ImageFilter.GaussianBlur(1.5)),
        'far too smooth': noisy.filter(ImageFilter.GaussianBlur(3)),
        'median': noisy.filter(ImageFilter.MedianFilter(3)),
    }
    (folder / 'degraded').mkdir(parents=True, exist_ok=True)
    write_rgb(folder / 'degraded' / 'photo.png', np.asarray(noisy))
    for name, image in methods.items():
        (folder / 'restored' / name).mkdir(parents=True, exist_ok=True)
        write_rgb(folder / 'restored' / name / 'photo.png', np.asarray(image))
    errors = {name: float(np.abs(np.asarray(image, float) - pristine).mean()) for name, image in methods.items()}
    return folder / 'restored', folder / 'degraded', errors


def ranking(restored: Path, scores: Path, errors: dict[str, float]) -> Picture:
    """Cuts of the restorations, best score first."""
    from openmsra.common.images import read_rgb

    with (scores / 'scores.csv').open(encoding='utf-8', newline='') as stream:
        order = sorted(csv.DictReader(stream), key=lambda row: -float(row['score']))
    names = [row['method'] for row in order]
    cuts = [read_rgb(restored / name / 'photo.png')[CUT, CUT] for name in names]
    best = sorted(errors, key=errors.get)
    listed = ', '.join(f'{name} ({errors[name]:.0f})' for name in names)
    verdict = 'which is the true order' if names == best else f'the true order is {", ".join(best)}'
    return encoded(
        sheet([cuts[:3], cuts[3:]]),
        'Five versions of a noisy photograph of a flower, from the one that the network likes best to the worst: '
        f'{", ".join(names)}.',
        f'Best first, row by row, as the network ranks them: {listed}; {verdict}. In brackets the mean error against the '
        'original in grey levels, which the network does not see.',
        lossy=True,
    )
