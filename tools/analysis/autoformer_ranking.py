"""Rank correlation of inherited and stand-alone accuracy: does the supernet order architectures as training alone does?

The pairs come from a file,

    python tools/analysis/autoformer_ranking.py pairs.csv --out report

(.csv with the columns inherited and standalone, or .json with a list of objects with these keys), or from a search and
the work directories of runs that trained some of its candidates alone:

    python tools/analysis/autoformer_ranking.py work_dirs/run_0 work_dirs/run_1 ... --search work_dirs/search/search.json
"""

import argparse
import csv
import io
import json
from pathlib import Path

from openmsra.common.annotations import read_text
from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool
from openmsra.errors import ConfigError, MissingFileError


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('inputs', nargs='+', type=Path, help='one file of pairs, or work directories (with --search)')
    parser.add_argument('--search', type=Path, metavar='FILE', help='search.json that holds the inherited accuracies')
    parser.add_argument('--metric', default='accuracy/top1', help='stand-alone metric in the logs (default: %(default)s)')
    parser.add_argument('--resamples', type=int, default=2000, help='bootstrap resamples (default: %(default)s)')
    parser.add_argument('--confidence', type=float, default=0.95, help='of the intervals (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the bootstrap')
    parser.add_argument('--out', type=Path, default=Path('ranking'), help='writes OUT.json and OUT.png')
    return parser.parse_args(argv)


def read_pairs(path: Path) -> list[tuple[float, float]]:
    """(inherited, stand-alone) accuracies of a .csv or .json file."""
    if not path.is_file():
        raise MissingFileError(f'{path}: there is no such file of pairs.')
    try:
        text = read_text(path)
        rows = list(csv.DictReader(io.StringIO(text, newline=''))) if path.suffix == '.csv' else json.loads(text)
        return [(float(row['inherited']), float(row['standalone'])) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: every row needs the numbers 'inherited' and 'standalone' ({error!r}).") from None


def pairs_of_runs(runs: list[Path], search: Path, metric: str) -> list[tuple[float, float]]:
    """Pairs of the candidates of a search that were trained alone, one work directory each."""
    from openmsra.common.annotations import read_json

    if not search.is_file():
        raise MissingFileError(f'{search}: there is no such file; a search writes it as search.json.')
    history = read_json(search, dict(history=list))['history']
    inherited = {_key(row['arch']): row['score'] for row in history}
    pairs = []
    for run in runs:
        key = _key(_architecture(run))
        if key not in inherited:
            raise ConfigError(f'{run}: its architecture is not among the {len(inherited)} candidates of {search}.')
        pairs.append((inherited[key], _last_value(run, metric)))
    return pairs


def _key(arch: dict) -> tuple:
    return arch['depth'], arch['embed_dim'], tuple(arch['num_heads']), tuple(map(float, arch['mlp_ratio']))


def _architecture(run: Path) -> dict:
    from mmengine.config import Config

    configs = sorted(run.glob('*.py'))
    if not configs:
        raise MissingFileError(f'{run}: there is no config in this folder; is it the work directory of a run?')
    arch = Config.fromfile(configs[0]).get('model', {}).get('arch')
    if not isinstance(arch, dict):
        raise ConfigError(f'{configs[0]}: model.arch holds no architecture; the run must train one network alone.')
    return arch


def _last_value(run: Path, metric: str) -> float:
    values = [
        row[metric]
        for log in sorted(run.glob('*/vis_data/scalars.json'))
        for row in map(json.loads, log.read_text(encoding='utf-8').splitlines())
        if metric in row
    ]
    if not values:
        raise ConfigError(f"{run}: no log of this run has the metric '{metric}'; name another one with --metric.")
    return float(values[-1])


def draw(pairs: list[tuple[float, float]], report: dict, file: Path) -> None:
    """Scatter plot of the pairs with the correlations in its title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 5), layout='constrained')
    axis = figure.subplots()
    axis.scatter(*zip(*pairs, strict=True), s=18, alpha=0.8)
    line = [min(min(pair) for pair in pairs), max(max(pair) for pair in pairs)]
    axis.plot(line, line, ':', color='grey', label='equal')
    texts = [f'{name} {r["value"]:.2f} [{r["low"]:.2f}, {r["high"]:.2f}]' for name, r in report['correlation'].items()]
    axis.set(xlabel='inherited accuracy (%)', ylabel='stand-alone accuracy (%)', title='\n'.join(texts))
    axis.legend(loc='lower right')
    figure.savefig(file, dpi=150)


def main(argv: list[str] | None = None) -> None:
    from openmsra.autoformer.search.ranking import rank_correlation

    args = parse_args(argv)
    writable_folder(args.out.parent)
    if args.search is None and len(args.inputs) > 1:
        raise ConfigError('several inputs are work directories of runs: name the search that they belong to, --search FILE.')
    pairs = pairs_of_runs(args.inputs, args.search, args.metric) if args.search else read_pairs(args.inputs[0])
    try:
        inherited, standalone = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        correlation = rank_correlation(inherited, standalone, args.resamples, args.confidence, args.seed)
    except ValueError as error:
        raise ConfigError(f'{args.inputs[0]}: {error}') from None
    report = dict(pairs=len(pairs), confidence=args.confidence, correlation=correlation)
    args.out.with_suffix('.json').write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    draw(pairs, report, args.out.with_suffix('.png'))
    for name, r in correlation.items():
        print(f'{name}: {r["value"]:.3f}  {args.confidence:.0%} interval [{r["low"]:.3f}, {r["high"]:.3f}]  p {r["p_value"]:.2g}')
    print(f'{len(pairs)} pairs; written: {args.out.with_suffix(".json")}, {args.out.with_suffix(".png")}')


if __name__ == '__main__':
    run_tool(main)
