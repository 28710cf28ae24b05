"""Curves of one or several runs in one picture, and how fast they were."""

import argparse
from pathlib import Path

from openmsra.common.outputs import printable, writable_folder
from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', type=Path, help='work dirs')
    parser.add_argument('--keys', nargs='+', default=['loss'], help='scalars to draw, each in a panel (default: loss)')
    parser.add_argument('--legend', nargs='+', help='names of the runs (default: those of their folders)')
    parser.add_argument('--smooth', type=int, default=1, help='mean over this many points (default: none)')
    parser.add_argument('--out', type=Path, default=Path('curves.png'), help='picture to write (default: %(default)s)')
    parser.add_argument('--list', action='store_true', help='only list the scalars that the runs have')
    args = parser.parse_args(argv)
    writable_folder(args.out.parent)

    from openmsra.engine.runs import read_run

    runs = [read_run(folder) for folder in args.runs]
    names = args.legend or [run.name for run in runs]
    if len(names) != len(runs):
        raise ToolError(f'--legend: {len(names)} names for {len(runs)} runs.')
    keys = sorted({key for run in runs for row in (*run.train, *run.evaluation) for key in row} - {'step', 'epoch', 'iter'})
    if args.list:
        print('\n'.join(keys))
        return
    if missing := [key for key in args.keys if key not in keys]:
        from openmsra.suggest import did_you_mean

        raise ToolError(f'no run has the scalar {missing[0]!r}. {did_you_mean(missing[0], keys)}')
    for name, run in zip(names, runs, strict=True):
        print(f'{name}: {speed(run)}')
    draw(runs, names, args.keys, args.smooth, args.out)
    print(f'wrote {printable(args.out)}')


def speed(run) -> str:
    """Seconds of an iteration, and how many of them were spent waiting for data."""
    rows = [row for row in run.train if 'time' in row]
    if not rows:
        return 'no training log'
    rows = rows[1:] or rows  # the first interval has the start in it
    seconds, waiting = (sum(row.get(key, 0.0) for row in rows) / len(rows) for key in ('time', 'data_time'))
    return f'{seconds:.3f} s an iteration, {waiting:.3f} s of them waiting for data, up to iteration {run.train[-1]["step"]}'


def smoothed(values: list[float], count: int) -> list[float]:
    """The mean over the last ``count`` values at each point."""
    return [sum(values[max(0, k - count + 1) : k + 1]) / min(k + 1, count) for k in range(len(values))]


def draw(runs: list, names: list[str], keys: list[str], smooth: int, file: Path) -> None:
    """A panel for each key, a line for each run."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(keys), figsize=(5.5 * len(keys), 3.8), layout='constrained', squeeze=False)
    for axis, key in zip(axes[0], keys, strict=True):
        for name, run in zip(names, runs, strict=True):
            steps, values = run.curve(key)
            axis.plot(steps, smoothed(values, smooth), label=name, marker='o' if len(steps) < 20 else None, markersize=3)
        axis.set(xlabel='step', ylabel=key)
        axis.grid(alpha=0.3)
    axes[0, 0].legend()
    figure.savefig(file, dpi=120)


if __name__ == '__main__':
    run_tool(main)
