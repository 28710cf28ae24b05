"""Broken samples counted over all processes: a warning for each, a list after each epoch, the end of the run if many."""

import logging
from collections.abc import Iterator
from math import ceil
from pathlib import Path

from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import Hook

from openmsra.engine.data.samples import Journal, Samples
from openmsra.errors import BrokenDataError
from openmsra.registry import HOOKS

PHASES = ('train', 'val', 'test')


@HOOKS.register_module()
class BrokenDataHook(Hook):
    """Watches the samples that :class:`~openmsra.engine.data.samples.Samples` had to replace.

    Each is reported once in the log and, with path, reason and count, in ``broken_<phase>.txt`` beside the log at the end of each
    epoch of training and of each evaluation (whose metrics then count the replacements instead).

    Args:
        max_fraction: the run ends when more than this part of a data set is broken; one sample may always be, unless it is 0.
        interval: training iterations between two looks at the journals.

    Raises:
        BrokenDataError: on all processes alike, when too many samples are broken.
    """

    priority = 'VERY_HIGH'  # before a checkpoint of the same moment is written

    def __init__(self, max_fraction: float = 0.01, interval: int = 50) -> None:
        if not 0 <= max_fraction <= 1:
            raise ValueError(f'BrokenDataHook: max_fraction={max_fraction} must lie in [0, 1].')
        self.max_fraction, self.interval = max_fraction, interval
        self.journals: dict[str, Journal] = {}

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self.every_n_train_iters(runner, self.interval):
            self._look(runner, 'train')

    def after_train_epoch(self, runner) -> None:
        self._look(runner, 'train', write=True)

    def after_val_epoch(self, runner, metrics=None) -> None:
        self._look(runner, 'val', write=True)

    def after_test_epoch(self, runner, metrics=None) -> None:
        self._look(runner, 'test', write=True)

    def _look(self, runner, phase: str, write: bool = False) -> None:
        dataset = getattr(runner, f'{phase}_dataloader').dataset
        if not isinstance(dataset, Samples):
            return
        journal = self.journals.setdefault(phase, Journal(dataset.journal))
        for row in journal.update():
            runner.logger.log(logging.WARNING, f'{phase}: {row["path"]} cannot be read and is replaced ({row["reason"]})')
        shared = all_gather_object((journal.rows, journal.times))
        rows = {path: row for own, _ in shared for path, row in own.items()}
        if not rows:
            return
        too_many = len(rows) > max(ceil(self.max_fraction * len(dataset)), bool(self.max_fraction))
        path = Path(runner.log_dir) / f'broken_{phase}.txt'
        if (write or too_many) and get_rank() == 0:
            path.write_text('\n'.join(_table(rows, [times for _, times in shared])) + '\n', encoding='utf-8')
            runner.logger.warning(f'{phase}: {len(rows)} of {len(dataset)} samples are broken; {path} lists them')
        if too_many:
            example = next(iter(rows.values()))
            raise BrokenDataError(
                f'{len(rows)} of {len(dataset)} samples of the {phase} data cannot be read, more than '
                f'max_fraction={self.max_fraction}; for example {example["path"]} ({example["reason"]}). '
                f'All are listed in {path}; '
                'tools/analysis/verify_dataset.py finds the others.'
            )


def _table(rows: dict[str, dict], times: list) -> Iterator[str]:
    yield 'path\ttimes\treason'
    for path in sorted(rows):
        yield f'{path}\t{sum(count[path] for count in times)}\t{rows[path]["reason"]}'
