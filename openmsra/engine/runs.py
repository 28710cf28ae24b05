"""What a training leaves in its work dir, read back: the scalars of all its starts, the newest checkpoint, the config."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from openmsra.errors import MissingFileError


@dataclass
class Run:
    """A work dir.

    Attributes:
        folder: the work dir.
        train: rows of the training log, by iteration; of a resumed run those of all starts.
        evaluation: rows of validations and tests.
    """

    folder: Path
    train: list[dict] = field(default_factory=list)
    evaluation: list[dict] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.folder.name

    def curve(self, key: str) -> tuple[list[float], list[float]]:
        """Steps and values of a key of the training log or of the evaluations."""
        rows = [row for row in (*self.train, *self.evaluation) if isinstance(row.get(key), int | float)]
        return [row['step'] for row in rows], [row[key] for row in rows]

    def last(self) -> dict[str, float]:
        """The figures of the last evaluation, without times."""
        if not self.evaluation:
            return {}
        return {key: value for key, value in self.evaluation[-1].items() if key not in ('step', 'time', 'data_time')}

    def config(self) -> Path | None:
        """The config that the run has written, where there is one."""
        configs = sorted(self.folder.glob('*.py'))
        return configs[0] if configs else None


def read_run(folder: str | Path) -> Run:
    """Read a work dir, or one start of it.

    Raises:
        MissingFileError: no training or test has logged there.
    """
    folder = Path(folder)
    files = sorted(folder.glob('*/vis_data/scalars.json')) or sorted(folder.glob('vis_data/scalars.json'))
    if not files:
        raise MissingFileError(f'{folder}: no vis_data/scalars.json in it; it is not the work dir of a run.')
    train: dict[int, dict] = {}
    evaluation: dict[int, dict] = {}
    for file in files:
        for line in file.read_text(encoding='utf-8').splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the last line of a run that was killed
            if isinstance(row, dict) and 'step' in row:
                (train if 'loss' in row or 'lr' in row else evaluation)[row['step']] = row
    return Run(folder, [train[step] for step in sorted(train)], [evaluation[step] for step in sorted(evaluation)])
