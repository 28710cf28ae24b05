"""Write what gpu_check.py has measured as tables into the pages of the papers:  python benchmarks/memory_tables.py"""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / 'benchmarks/results/gpu_check_nvidia-h200.json'
START, END = '<!-- measured memory -->\n', '<!-- end of measured memory -->'


def table(paper: str) -> str:
    """Peak memory and time of a training step of each recipe of a paper that was measured, as Markdown."""
    result = json.loads(RESULT.read_text(encoding='utf-8'))
    rows = {name: row for name, row in result['memory'][paper].items() if isinstance(row, dict) and 'peak_gib' in row}
    lines = [
        f'One training step on an {result["card"]} (torch {result["torch"]}, `python benchmarks/gpu_check.py --stages memory`;',
        'where other trainings ran on the card, the time says nothing; the processor made other batches meanwhile, which slows',
        'small networks):',
        '',
        '| recipe | batch a GPU | peak, GiB | reserved, GiB | step, ms |',
        '|---|---|---|---|---|',
    ]
    for name, row in rows.items():
        step = 'not alone' if row.get('shared') else f'{1000 * row["step_seconds"]:.0f}'
        figures = f'{row["peak_gib"]:.1f} | {row["reserved_gib"]:.1f} | {step}'
        lines.append(f'| `{name}` | {row["batch"]} | {figures} |')
    return '\n'.join(lines) + '\n'


def page_of(paper: str) -> Path:
    """The page of a paper."""
    return ROOT / 'configs' / paper / 'README.md'


def with_table(page: str, paper: str) -> str:
    """A page with its table made anew; a page without the place for it gets none."""
    before, start, rest = page.partition(START)
    return before + start + table(paper) + END + rest.partition(END)[2] if start else page


def main() -> None:
    for paper in json.loads(RESULT.read_text(encoding='utf-8'))['memory']:
        page = page_of(paper)
        page.write_text(with_table(page.read_text(encoding='utf-8'), paper), encoding='utf-8')


if __name__ == '__main__':
    main()
