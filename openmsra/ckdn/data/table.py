"""Scored images of one's own: a CSV table that names the files, the scores and, where they are known, scenes and parts."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import print_log

from openmsra.ckdn.data.pipal import ROLES, ScoredImages, require_files
from openmsra.common.annotations import inside, read_text
from openmsra.errors import AnnotationError, DataError
from openmsra.registry import DATASETS

NEEDED = ('restored', 'degraded', 'score')
OPTIONAL = ('pristine', 'scene', 'split')


@DATASETS.register_module()
class ScoredTable(ScoredImages):
    """Pairs of restored and degraded images with scores, of a CSV file with a line for each restored image.

    Args:
        ann_file: the table.
        data_root: folder that its names are relative to.
        columns: our name -> name of the column, for 'restored', 'degraded', 'score', 'pristine', 'scene' and 'split'; those
            that have our names can be left out. Without a scene, images of one degraded image are a scene.
        score_range: (worst, best) of the scale; the first may be larger. Scores become 0 to 1.
        split: 'train' or 'val'; with a column 'split' its rows of this name ('test' is taken for 'val' where there is no
            'val'), else scenes: the last ``val_fraction`` of their sorted names are 'val'.
        val_fraction: see ``split``.
        pristine: whether the pristine images are used in training; ``None`` uses them where every row has one.
        skip_without: optional columns ('pristine', ...) without which a row is left out; the log says how many.

    Raises:
        MissingFileError: the table or an image is not there.
        AnnotationError: a column is missing, a score is no number or outside of the range, a name leads out of ``data_root``.
        DataError: one scene only, or an empty part.
    """

    def __init__(
        self,
        ann_file: str,
        data_root: str,
        split: str,
        pipeline: list,
        score_range: Sequence[float] = (0.0, 1.0),
        columns: dict[str, str] | None = None,
        val_fraction: float = 0.2,
        pristine: bool | None = None,
        skip_without: Sequence[str] = (),
        roles: tuple[str, ...] | None = None,
        **kwargs,
    ) -> None:
        if score_range[0] == score_range[1]:
            raise ValueError(f'ScoredTable: score_range={tuple(score_range)} is empty.')
        self.table, self.score_range, self.val_fraction = Path(ann_file), tuple(score_range), val_fraction
        self.columns = {name: name for name in (*NEEDED, *OPTIONAL)} | dict(columns or {})
        rows = read_table(self.table, self.columns, Path(data_root), self.score_range)
        self.rows = _complete(rows, skip_without, self.table)
        whole = all('pristine_path' in row for row in self.rows)
        if pristine and not whole:
            raise AnnotationError(
                f"{ann_file}: not every row has a pristine image; set pristine=False, or skip_without=['pristine']."
            )
        if roles is None:
            roles = tuple(role for role in ROLES[split] if role != 'pristine' or (whole if pristine is None else pristine))
        super().__init__(split=split, roles=roles, data_root=data_root, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        parts = {row['split'] for row in self.rows if 'split' in row}
        if parts:
            wanted = {'train': 'train', 'val': 'val' if 'val' in parts else 'test'}[self.split]
            chosen = [row for row in self.rows if row['split'] == wanted]
        else:
            scenes = sorted({row['scene'] for row in self.rows})
            if len(scenes) < 2:
                raise DataError(f'{self.table}: one scene only; there is nothing to evaluate on.')
            held_out = set(scenes[-max(1, round(self.val_fraction * len(scenes))) :])
            chosen = [row for row in self.rows if (row['scene'] in held_out) == (self.split == 'val')]
        if not chosen:
            raise DataError(f'{self.table}: no row is for the part {self.split!r}.')
        chosen = [{key: value for key, value in row.items() if key != 'split'} for row in chosen]
        require_files(chosen)
        return chosen


def _complete(rows: list[dict], needed: Sequence[str], table: Path) -> list[dict]:
    """The rows that have everything in ``needed``."""
    if unknown := set(needed) - set(OPTIONAL):
        raise ValueError(f'ScoredTable: skip_without takes {OPTIONAL}, got {sorted(unknown)}.')
    keys = [f'{name}_path' if name in ROLES['train'] else name for name in needed]
    complete = [row for row in rows if all(key in row for key in keys)]
    if len(complete) < len(rows):
        print_log(f'{table}: {len(rows) - len(complete)} of {len(rows)} rows have no {" or ".join(needed)}; left out.', 'current')
    if not complete:
        raise DataError(f'{table}: no row has {" and ".join(needed)}.')
    return complete


def read_table(table: Path, columns: dict[str, str], root: Path, score_range: Sequence[float]) -> list[dict]:
    """Rows with ``{role}_path``, ``scene``, ``gt_score`` from 0 to 1 and, where the table has it, ``split``.

    Raises:
        MissingFileError, AnnotationError: see :class:`ScoredTable`.
    """
    reader = csv.DictReader(read_text(table).splitlines())
    names = reader.fieldnames or []
    if missing := [columns[name] for name in NEEDED if columns[name] not in names]:
        raise AnnotationError(f'{table}: no column is called {", ".join(missing)}; it has {", ".join(names) or "none"}.')
    worst, best = score_range
    rows = []
    for line in reader:
        place = f'{table}, line {reader.line_num}'
        values = {name: (line.get(columns[name]) or '').strip() for name in columns if columns[name] in names}
        try:
            score = (float(values['score']) - worst) / (best - worst)
        except ValueError:
            score = math.nan
        if not -1e-6 <= score <= 1 + 1e-6:
            raise AnnotationError(f'{place}: the score {values["score"]!r} is no number from {worst:g} to {best:g}.')
        row = dict(gt_score=min(max(score, 0.0), 1.0), scene=values.get('scene') or values['degraded'])
        for role in ('restored', 'degraded', 'pristine'):
            if values.get(role):
                row[f'{role}_path'] = str(inside(root, values[role], place))
        if 'split' in values:
            row['split'] = values['split'].lower()
        rows.append(row)
    if not rows:
        raise AnnotationError(f'{table}: it has no rows.')
    return rows
