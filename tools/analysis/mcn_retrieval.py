"""What a retrieval found: R@k of each class as a table and a contact sheet of queries with their nearest gallery videos.

The features are what test_evaluator.features=FILE.npz of a retrieval config writes.
"""

import argparse
from collections import Counter
from pathlib import Path

from openmsra.common.annotations import read_text
from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool
from openmsra.errors import DataError, MissingFileError


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('features', type=Path, help='npz file of the metric VideoRetrieval')
    parser.add_argument('--classes', type=Path, help='text file with one class name a line')
    parser.add_argument('--videos', type=Path, help='folder of the videos, for the contact sheet')
    parser.add_argument('--queries', type=int, default=8, help='rows of the contact sheet, at even distances')
    parser.add_argument('--neighbours', type=int, default=5, help='videos beside each query')
    parser.add_argument('--topk', type=int, nargs='+', default=[1, 5, 10, 20, 50])
    parser.add_argument('--out', type=Path, default=Path('mcn_retrieval'), help='folder to write to')
    args = parser.parse_args(argv)
    writable_folder(args.out)
    if not args.features.is_file():
        raise MissingFileError(f'{args.features}: there is no such file of features.')

    import numpy as np

    from openmsra.common.probes import normalised, ranking, retrieval_figures
    from openmsra.mcn.evaluation.pictures import class_table, contact_sheet

    stored = dict(np.load(args.features))
    unit = [normalised(stored[f'{role}_feature'], stored[f'{role}_video']) for role in ('query', 'gallery')]
    ranks, labels = ranking(*unit), stored['query_label']
    topk = [k for k in args.topk if k <= ranks.shape[1]]
    figures, by_class = retrieval_figures(ranks, labels, stored['gallery_label'], topk)
    names = read_text(args.classes).splitlines() if args.classes else list(map(str, range(labels.max() + 1)))
    if len(names) <= labels.max():
        raise DataError(f'{args.classes}: {len(names)} names, but there are labels up to {labels.max()}.')
    (args.out / 'classes.md').write_text(class_table(by_class, Counter(labels.tolist()), names), encoding='utf-8')
    print(', '.join(f'{name} {value:.1f}' for name, value in figures.items()), f'; wrote {args.out / "classes.md"}')
    if args.videos:
        chosen = np.linspace(0, len(labels) - 1, min(args.queries, len(labels))).round().astype(int)
        contact_sheet([row_of(query, ranks, stored, args, names) for query in chosen], args.out / 'neighbours.png')
        print(f'wrote {args.out / "neighbours.png"}')


def row_of(query: int, ranks, stored: dict, args: argparse.Namespace, names: list[str]) -> list[tuple]:
    """A query and its neighbours as :func:`contact_sheet` takes them."""
    label, places = stored['query_label'][query], ranks[query, : args.neighbours]
    near = [
        (
            middle(args.videos / stored['gallery_video'][place]),
            names[stored['gallery_label'][place]],
            bool(stored['gallery_label'][place] == label),
        )
        for place in places
    ]
    return [(middle(args.videos / stored['query_video'][query]), names[label], None), *near]


def middle(path: Path):
    """The frame in the middle of a video."""
    from openmsra.common.video import read_frames

    return read_frames(path, lambda count: [count // 2])[0]


if __name__ == '__main__':
    run_tool(main)
