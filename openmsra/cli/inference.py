"""``openmsra infer PAPER INPUTS --weights W``: one shape for six papers."""

import argparse
import csv
import glob
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from openmsra.cli.forwarding import forward
from openmsra.common.annotations import read_text
from openmsra.common.outputs import left_out, printable, writable_folder
from openmsra.errors import MissingFileError, ToolError
from openmsra.resources import PAPERS, config_files

# where neither --config nor a config beside the weights says what the network is: the one of the official weights
DEFAULT_CONFIGS = {
    'autoformer': 'autoformer-tiny_supernet_8xb128-500e_in1k',
    'soft_teacher': 'soft-teacher_faster-rcnn-r50_8xb5-180k_coco-10pct',
    'ftcn': 'ftcn-tt_r50_8xb2-100e_ffpp-c23',
    'ckdn': 'ckdn_r50_8xb8-30e_pipal',
    'mcn': 'retrieval_r2plus1d-18_1xb4_ucf101',
    'maskco': 'maskco_resnet50_8xb32-200e_in1k',
}
GIVES = {
    'autoformer': 'images in; the most probable classes and captioned pictures out',
    'soft_teacher': 'images in; boxes, COCO results and drawn pictures out',
    'ftcn': 'videos or folders of frames in; the probability of a forgery over time, with a plot for each video, out',
    'ckdn': 'restored images and --degraded ones in; scores, a sheet to look at and, with --maps, maps of quality out',
    'mcn': 'videos in; embeddings and the nearest neighbours of each out',
    'maskco': 'images in; embeddings and the nearest neighbours of each out',
}
FORWARDED = {'ftcn': 'ftcn_video.py', 'ckdn': 'ckdn_score.py'}


def parser_of(paper: str) -> argparse.ArgumentParser:
    """The arguments of a paper."""
    parser = argparse.ArgumentParser(
        prog=f'openmsra infer {paper}',
        description=f'{paper}: {GIVES[paper]}. Always writes results.csv.',
        epilog=f'Further options are those of tools/{FORWARDED[paper]}.' if paper in FORWARDED else None,
    )
    parser.add_argument(
        'inputs', nargs='*', metavar='INPUT', help='files, folders, quoted patterns; - reads a list from stdin, one a line'
    )
    parser.add_argument('--weights', type=Path, required=True, help='checkpoint of a training, or converted official weights')
    parser.add_argument('--config', help=f'default: the config beside the weights, else {DEFAULT_CONFIGS[paper]}')
    parser.add_argument('--out', type=Path, default=Path(f'results_{paper}'), help='folder for results (default: %(default)s)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1 (default: %(default)s)')
    parser.add_argument('--batch-size', type=int, help='inputs in a forward pass')
    if paper == 'autoformer':
        parser.add_argument('--arch', help='of a supernet: smallest, middle, largest or an architecture file (default: largest)')
        parser.add_argument('--classes', type=Path, help='text file with a class name in each line')
        parser.add_argument('--topk', type=int, default=5, help='classes of each image (default: %(default)s)')
    elif paper == 'soft_teacher':
        parser.add_argument('--score-thr', type=float, default=0.3, help='least score of a box (default: %(default)s)')
    elif paper == 'ckdn':
        parser.add_argument('--degraded', nargs='+', required=True, help='what the restored images were made from')
    elif paper in ('mcn', 'maskco'):
        parser.add_argument('--neighbours', type=int, default=5, help='nearest neighbours of each (default: %(default)s)')
    return parser


def main(argv: list[str]) -> None:
    if not argv or argv[0] in ('--help', '-h'):
        print('usage: openmsra infer PAPER INPUT ... --weights FILE [--config CONFIG] [--out DIR] [--device auto]\n')
        print('\n'.join(f'  {paper:<14}{GIVES[paper]}' for paper in PAPERS))
        print('\n`openmsra infer PAPER --help` has the options of a paper.')
        return
    if argv[0] not in PAPERS:
        raise ToolError(f'no paper is called {argv[0]!r}; there are {", ".join(PAPERS)}.')
    paper, parser = argv[0], parser_of(argv[0])
    args, further = parser.parse_known_args(argv[1:])
    if paper not in FORWARDED and further:
        parser.error(f'unrecognized arguments: {" ".join(further)}')
    inputs = expand(args.inputs)
    if not args.weights.is_file():
        raise MissingFileError(f'--weights {args.weights}: there is no such file; `openmsra weights` says where to get some.')
    config = args.config or config_beside(args.weights) or DEFAULT_CONFIGS[paper]
    writable_folder(args.out)
    print(f'{paper}: {len(inputs)} input(s), weights {args.weights}, config {Path(config).stem}', file=sys.stderr)
    if paper in FORWARDED:
        _through_tool(paper, config, inputs, args, further)
    else:
        _through_inferencer(paper, config, inputs, args)


def expand(inputs: Iterable[str]) -> list[str]:
    """Files and folders that are meant: patterns that the shell has left, and lines of stdin for ``-``.

    Raises:
        ToolError: nothing at all.
        MissingFileError: one does not exist, or a pattern matches nothing.
    """
    lines = [line for item in inputs for line in (sys.stdin.read().splitlines() if item == '-' else [item]) if line.strip()]
    places = []
    for line in lines:
        matches = [line] if Path(line).exists() else sorted(glob.glob(line, recursive=True))
        if not matches:
            raise MissingFileError(f'{line}: there is no such file or folder, and nothing matches it as a pattern.')
        places += matches
    if not places:
        raise ToolError('no inputs: name files, folders or patterns, or write - and send a list on stdin.')
    return places


def config_beside(weights: Path) -> Path | None:
    """The config that a training has left in its work dir, where it is the only one; else ``None``."""
    configs = [path for path in weights.absolute().parent.glob('*.py') if not path.name.startswith('_')]
    return configs[0] if len(configs) == 1 else None


def choose_device(name: str) -> str:
    """The device of an option: 'auto' is the GPU where there is one."""
    import torch

    return ('cuda' if torch.cuda.is_available() else 'cpu') if name == 'auto' else name


def _through_tool(paper: str, config: str | Path, inputs: list[str], args: argparse.Namespace, further: list[str]) -> None:
    """Run the tool of a paper, whose reports are its own, and add ``results.csv``."""
    file = config_files().get(str(config), config)
    common = ['--config', str(file), '--out', str(args.out), '--device', choose_device(args.device), *further]
    if args.batch_size:
        common += ['--batch-size', str(args.batch_size)]
    if paper == 'ckdn':
        arguments = [str(args.weights), '--restored', *inputs, '--degraded', *expand(args.degraded), *common]
    else:
        arguments = [str(args.weights), *inputs, *common]
    try:
        forward(f'infer {paper}', FORWARDED[paper], arguments)
    finally:
        if paper == 'ftcn' and (args.out / 'summary.json').is_file():
            rows = json.loads((args.out / 'summary.json').read_text(encoding='utf-8'))
            shown = ('video', 'score', 'probability', 'error')
            write_csv(args.out, [{key: row[key] for key in shown if key in row} for row in rows])
        if paper == 'ckdn' and (args.out / 'scores.json').is_file():
            report = json.loads((args.out / 'scores.json').read_text(encoding='utf-8'))
            shown = ('restored', 'degraded', 'score', 'logit', 'error')
            write_csv(args.out, [{k: row[k] for k in shown if k in row} for row in (*report['scores'], *report['failed'])])


def _through_inferencer(paper: str, config: str | Path, inputs: list[str], args: argparse.Namespace) -> None:
    from openmsra.apis import init_inferencer

    options, call = {}, {}
    if paper == 'autoformer':
        options, call = classifier_options(config, args.arch, args.classes), dict(topk=args.topk)
    elif paper == 'soft_teacher':
        call = dict(score_thr=args.score_thr)
    inferencer = init_inferencer(config, args.weights, choose_device(args.device), **options)
    rows = inferencer(inputs, batch_size=args.batch_size, out_dir=args.out, show_progress=True, **call)
    flat: Callable[[list[dict], argparse.Namespace], list[dict]] = dict(
        autoformer=_class_rows, soft_teacher=_box_rows, mcn=_neighbour_rows, maskco=_neighbour_rows
    )[paper]
    write_csv(args.out, flat(rows, args))
    kind = 'videos' if paper == 'mcn' else 'images'
    faults = {str(row[inferencer.key]): row['error'] for row in rows if 'error' in row}
    print(f'wrote the results of {len(rows) - len(faults)} {kind} to {printable(args.out)}')
    if faults:
        raise left_out(faults, len(rows), kind, args.out)


def classifier_options(config: str | Path, arch: str | None = None, names: Path | None = None) -> dict:
    """Options of AutoFormer's inferencer: a supernet needs an architecture, an exported network has one; class names.

    Args:
        arch: of a supernet; the largest if it is not said.
        names: text file of class names; else those of the training's data, where the config says them.
    """
    from openmsra.engine.config.files import as_config

    cfg = as_config(config)
    options: dict = {}
    if cfg.model.type == 'AutoFormerSupernet':
        options['arch'] = arch or 'largest'
    elif arch:
        options['arch'] = arch
    dataset = cfg.get('test_dataloader', {}).get('dataset', {})
    stated = dataset.get('classes') or dataset.get('metainfo', {}).get('classes')
    if names or isinstance(stated, str):
        options['classes'] = [line for line in read_text(names or stated).splitlines() if line.strip()]
    elif stated:
        options['classes'] = list(stated)
    return options


def _class_rows(rows: list[dict], args: argparse.Namespace) -> list[dict]:
    flat = []
    for row in rows:
        line = dict(image=row['image'])
        for rank, (name, score) in enumerate(zip(row.get('classes', ()), row.get('scores', ()), strict=True), start=1):
            line |= {f'class_{rank}': name, f'score_{rank}': f'{score:.5f}'}
        flat.append(line | ({'error': row['error']} if 'error' in row else {}))
    return flat


def _box_rows(rows: list[dict], args: argparse.Namespace) -> list[dict]:
    """A row for each box from the threshold on; an image without one has a row without a box."""
    flat = []
    for row in rows:
        kept = [i for i, score in enumerate(row.get('scores', ())) if score >= args.score_thr]
        for i in kept:
            x1, y1, x2, y2 = (round(float(value), 1) for value in row['boxes'][i])
            score = f'{float(row["scores"][i]):.5f}'
            flat.append(dict(image=row['image'], name=row['names'][i], score=score, x1=x1, y1=y1, x2=x2, y2=y2))
        if not kept:
            flat.append(dict(image=row['image'], **({'error': row['error']} if 'error' in row else {})))
    return flat


def _neighbour_rows(rows: list[dict], args: argparse.Namespace) -> list[dict]:
    """``embeddings.npz`` and for each input the others that are nearest to it by cosine."""
    import numpy as np

    key = 'video' if 'video' in rows[0] else 'image'
    whole = [row for row in rows if 'error' not in row]
    names = [str(row[key]) for row in whole]
    features = np.stack([row['feature'] for row in whole])
    features = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    np.savez(args.out / 'embeddings.npz', **{key: np.array(names), 'feature': features})
    flat, count = [], min(args.neighbours, len(names) - 1)
    for index, name in enumerate(names):
        line, similarity = {key: name}, features @ features[index]
        similarity[index] = -np.inf
        for rank, other in enumerate(np.argsort(-similarity, kind='stable')[:count], start=1):
            line |= {f'neighbour_{rank}': names[other], f'similarity_{rank}': f'{similarity[other]:.4f}'}
        flat.append(line)
    return flat + [{key: str(row[key]), 'error': row['error']} for row in rows if 'error' in row]


def write_csv(out: Path, rows: list[dict]) -> None:
    """``results.csv`` with the columns of all rows."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (out / 'results.csv').open('w', newline='', encoding='utf-8', errors='backslashreplace') as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
