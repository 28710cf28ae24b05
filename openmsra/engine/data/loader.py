"""A data loader whose batches are a function of seed, epoch and place, for any number of workers and from any place on.

Each index travels to the worker together with its epoch and its place in the sampler's order, and the sample's random numbers are
seeded with them. Nothing depends on the state of a worker, so that a resumed run can begin in the middle of an epoch.
"""

import platform
import shutil
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.structures import BaseDataElement
from torch.utils.data import BatchSampler, DataLoader, get_worker_info

from openmsra.engine.data.samples import SampleKey, Samples
from openmsra.errors import DataError, UserError

SHARED_MEMORY = Path('/dev/shm')


class Position(NamedTuple):
    """Where a training is in its data."""

    epoch: int = 0  # passes over the sampler that are complete
    batches: int = 0  # batches of the current pass that have been trained


class KeyedBatches:
    """The batches of a batch sampler with a :class:`SampleKey` for each index; the first pass may begin anywhere.

    An endless sampler takes part in fast starts by mmengine's contract: ``skip(num_samples)`` sets its absolute position.
    """

    def __init__(self, batch_sampler: Iterable[list[int]], sampler: Iterable[int], seed: int, keep: int) -> None:
        self.batch_sampler, self.sampler, self.seed = batch_sampler, sampler, seed
        self.rank, self.world_size = get_dist_info()
        self.start = Position()
        self.recent: deque[tuple[Position, list[int]]] = deque(maxlen=keep)

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        start, self.start = self.start, Position(self.start.epoch)  # later passes begin at their beginning
        for number, batch in enumerate(self._batches_from(start.batches), start.batches):
            first = (number * self._width(batch)) * self.world_size + self.rank
            self.recent.append((Position(start.epoch, number), batch))
            yield [SampleKey(index, (self.seed, start.epoch, first + i * self.world_size)) for i, index in enumerate(batch)]

    def _width(self, batch: list[int]) -> int:
        return getattr(self.batch_sampler, 'batch_size', len(batch))

    def _batches_from(self, batches: int) -> Iterator[list[int]]:
        if hasattr(self.sampler, 'skip') and type(self.batch_sampler) is BatchSampler:
            self.sampler.skip(batches * self.batch_sampler.batch_size)
            return iter(self.batch_sampler)
        return islice(self.batch_sampler, batches, None)

    def indices(self, position: Position) -> list[int]:
        """The indices of a batch that has just been drawn; empty if it is not known any more."""
        return next((batch for drawn_at, batch in self.recent if drawn_at == position), [])


class FittingCollate:
    """A collate function that sees, in a data worker, whether its batch fits into what is left of the shared memory.

    torch's workers hand batches over in shared memory; where it is full (64 MB in a container by default) they are killed, or
    drop the batch and leave the training waiting for ever.
    """

    def __init__(self, collate_fn: Callable[[list], Any]) -> None:
        self.collate_fn = collate_fn

    def __call__(self, samples: list) -> Any:
        if get_worker_info() is not None and SHARED_MEMORY.is_dir():
            needed, free = _bytes(samples), shutil.disk_usage(SHARED_MEMORY).free
            if needed > free:
                raise DataError(_small_shared_memory(f'a batch of {needed / 2**20:.0f} MB, {free / 2**20:.0f} MB left'))
        return self.collate_fn(samples)


class WorkerInit:
    """What a data worker does first: leave signals to the main process, then what the config wants."""

    def __init__(self, worker_init_fn: Callable[[int], None] | None) -> None:
        self.worker_init_fn = worker_init_fn

    def __call__(self, worker_id: int) -> None:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):  # sent to the whole group while a batch is awaited
            signal.signal(number, signal.SIG_IGN)
        if self.worker_init_fn is not None:
            self.worker_init_fn(worker_id)


def _small_shared_memory(why: str) -> str:
    return (
        f'The shared memory {SHARED_MEMORY} is too small for the data workers ({why}). Give the container more '
        '(docker run --shm-size=8g or --ipc=host), or take none: --cfg-options '
        'train_dataloader.num_workers=0 (tools/ckdn_score.py: --workers 0).'
    )


def _bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.nbytes
    if isinstance(value, BaseDataElement):
        return sum(map(_bytes, value.values()))
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0


class Batches(Iterator):
    """The batches of a loader; what a worker has to say arrives as its sentence, without the worker's traceback around it."""

    def __init__(self, batches: Iterator) -> None:
        self.batches = batches

    def __next__(self) -> Any:
        try:
            return next(self.batches)
        except UserError as error:
            raise type(error)(str(error).rpartition(f'.{type(error).__name__}: ')[2].strip()) from None
        except RuntimeError as error:
            if 'shared memory' in str(error) or 'Bus error' in str(error):
                raise DataError(_small_shared_memory(str(error).splitlines()[0][:150])) from None
            raise


class KeyedDataLoader(DataLoader):
    """A ``DataLoader`` over :class:`~openmsra.engine.data.samples.Samples` that can begin at any :class:`Position`."""

    def __init__(self, *args, seed: int, **kwargs) -> None:
        generator = torch.Generator().manual_seed(seed % 2**63)  # else each pass would draw from the training's generator
        kwargs['collate_fn'] = FittingCollate(kwargs['collate_fn'])
        super().__init__(*args, generator=generator, **kwargs)
        ahead = self.num_workers * (self.prefetch_factor or 0) + 2
        sampler = self.sampler if self.batch_size is not None else getattr(self.batch_sampler, 'sampler', None)
        self.keyed = KeyedBatches(self.batch_sampler, sampler, seed, ahead)

    def __iter__(self) -> Iterator[Any]:
        return Batches(super().__iter__())

    @property
    def _index_sampler(self) -> KeyedBatches:
        """What DataLoader draws batches of indices from."""
        return self.keyed

    def begin(self, position: Position) -> None:
        """The next pass over the loader is pass number ``position.epoch`` and leaves out its first batches, unread."""
        self.keyed.start = position
        if hasattr(self.keyed.sampler, 'set_epoch'):
            self.keyed.sampler.set_epoch(position.epoch)


def require_batches(loader: DataLoader, phase: str) -> None:
    """See that a loader has at least one batch.

    Raises:
        DataError: its data set is empty, or smaller than one batch that is left out when it is not full.
    """
    if len(loader):
        return
    samples, world_size = len(loader.dataset), get_dist_info()[1]
    size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', 1)
    shared = f' on each of {world_size} processes' if world_size > 1 else ''
    raise DataError(
        f'{phase}_dataloader: the data set has {samples} sample(s), which make no batch of {size}{shared}. '
        + ('Is its folder or list right?' if not samples else 'Take a smaller batch_size, more data, or drop_last=False.')
    )


def require_same_lengths(samples: int, phase: str) -> None:
    """See that all processes have found the same number of samples, to be called on all of them.

    Machines without a shared disk may have other files. Their processes would draw other orders, and wait for each other for ever
    at the end of an epoch.

    Raises:
        DataError: the numbers differ; the message says how many which machine has.
    """
    counts = all_gather_object((samples, platform.node()))
    if len({count for count, _ in counts}) > 1:
        rows = ', '.join(f'{count} on {node} (process {rank})' for rank, (count, node) in enumerate(counts))
        raise DataError(
            f'{phase}_dataloader: the processes have found different numbers of samples: {rows}. Copy the same data to all.'
        )


def keyed(loader: DataLoader, seed: int, journal: str | None = None) -> KeyedDataLoader:
    """The same loader with keyed, guarded samples; ``journal`` as in :class:`~openmsra.engine.data.samples.Samples`."""
    batching = (
        dict(batch_size=loader.batch_size, sampler=loader.sampler, drop_last=loader.drop_last)
        if loader.batch_size is not None
        else dict(batch_sampler=loader.batch_sampler)
    )
    return KeyedDataLoader(
        Samples(loader.dataset, journal),
        seed=seed,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=WorkerInit(loader.worker_init_fn),
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
        **batching,
    )
