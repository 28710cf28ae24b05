"""Broken samples counted over all processes: a warning for each, a list after each epoch, the end of the run if many."""

import logging
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path

from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from openmsra.engine.data.samples import BrokenSamplesJournal, Samples
from openmsra.errors import BrokenDataError
from openmsra.registry import HOOKS

PHASES = ('train', 'val', 'test')


@HOOKS.register_module()
class BrokenDataHook(Hook):
    """Watches the samples that :class:`~openmsra.engine.data.samples.Samples` had to replace.

    Each is reported once in the log and, with path, reason and count, in ``broken_<phase>.txt`` beside the log at the end of each
    epoch of training and of each evaluation. A test is refused when samples were replaced, unless ``allow_broken``: the names of
    its metrics then end in ``_with_<count>_replaced``. A validation inside a training goes on, with the metric
    ``replaced_samples`` beside the others.

    Args:
        max_fraction: the run ends when more than this part of a data set is broken; one sample may always be, unless it is 0.
        interval: training iterations between two looks at the journals.
        allow_broken: whether a test, or a search's scoring, may count replacements (``tools/test.py --allow-broken``).

    Raises:
        BrokenDataError: on all processes alike, when too many samples are broken, or one in a test.
    """

    priority = 'VERY_HIGH'  # before a checkpoint of the same moment is written

    def __init__(self, max_fraction: float = 0.01, interval: int = 50, allow_broken: bool = False) -> None:
        if not 0 <= max_fraction <= 1:
            raise ValueError(f'BrokenDataHook: max_fraction={max_fraction} must lie in [0, 1].')
        self.max_fraction, self.interval, self.allow_broken = max_fraction, interval, allow_broken
        self.journals: dict[str, BrokenSamplesJournal] = {}

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self.every_n_train_iters(runner, self.interval):
            self._look(runner, 'train', runner.train_dataloader)

    def after_train_epoch(self, runner) -> None:
        self._look(runner, 'train', runner.train_dataloader, write=True)

    def evaluate(self, runner, phase: str, evaluate: Callable[[int], dict], size: int) -> dict:
        """The metrics of an evaluation, computed by ``evaluate(size)``, if those samples that were read allow it."""
        loader = getattr(runner, f'{phase}_dataloader')
        if phase == 'test':
            count = self.refuse(runner, loader, phase)
            return {f'{name}_with_{count}_replaced' if count else name: value for name, value in evaluate(size).items()}
        count = len(self._look(runner, phase, loader, write=True))
        return {**evaluate(size), **({'replaced_samples': float(count)} if count else {})}

    def refuse(self, runner, loader: DataLoader, phase: str) -> int:
        """How many samples of ``loader`` have been replaced so far, on all processes; an error unless that is allowed."""
        rows = self._look(runner, phase, loader, write=True, limited=False)
        if rows and not self.allow_broken:
            raise BrokenDataError(
                f'{len(rows)} of {len(loader.dataset)} samples of the {phase} data cannot be read ({_example(rows)}), and a '
                f'metric over others in their place is no result. {_list_of(runner, phase)} lists them. Repair or remove them, '
                "or allow it: the metrics' names then say so (tools/test.py --allow-broken, or "
                '--cfg-options default_hooks.broken_data.allow_broken=True).'
            )
        return len(rows)

    def _look(self, runner, phase: str, loader: DataLoader, write: bool = False, limited: bool = True) -> dict[str, dict]:
        """Broken samples of all processes by path, reported; an error if there are too many and they are ``limited``."""
        dataset = loader.dataset
        if not isinstance(dataset, Samples):
            return {}
        journal = self.journals.setdefault(phase, BrokenSamplesJournal(dataset.journal))
        for row in journal.update():
            name = row['path'].encode('utf-8', 'backslashreplace').decode()  # a log holds UTF-8, a name need not
            runner.logger.log(logging.WARNING, f'{phase}: {name} cannot be read and is replaced ({row["reason"]})')
        shared = all_gather_object((journal.rows, journal.times))
        rows = {path: row for rows_of_rank, _ in shared for path, row in rows_of_rank.items()}
        if not rows:
            return rows
        too_many = limited and len(rows) > max(ceil(self.max_fraction * len(dataset)), bool(self.max_fraction))
        path = _list_of(runner, phase)
        if (write or too_many) and get_rank() == 0:
            table = '\n'.join(_table(rows, [times for _, times in shared])) + '\n'
            path.write_text(table, encoding='utf-8', errors='backslashreplace')  # a name need not be UTF-8
            runner.logger.warning(f'{phase}: {len(rows)} of {len(dataset)} samples are broken; {path} lists them')
        if too_many:
            raise BrokenDataError(
                f'{len(rows)} of {len(dataset)} samples of the {phase} data cannot be read, more than '
                f'max_fraction={self.max_fraction}; for example {_example(rows)}. All are listed in {path}; '
                'tools/analysis/verify_dataset.py finds the others.'
            )
        return rows


def _list_of(runner, phase: str) -> Path:
    return Path(runner.log_dir) / f'broken_{phase}.txt'


def _example(rows: dict[str, dict]) -> str:
    path, row = next(iter(rows.items()))
    return f'{path} ({row["reason"]})'


def _table(rows: dict[str, dict], times: list) -> Iterator[str]:
    yield 'path\ttimes\treason'
    for path in sorted(rows):
        yield f'{path}\t{sum(count[path] for count in times)}\t{rows[path]["reason"]}'
