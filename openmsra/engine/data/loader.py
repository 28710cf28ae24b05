"""A data loader whose batches are a function of seed, epoch and place, for any number of workers and from any place on.

Each index travels to the worker together with its epoch and its place in the sampler's order, and the sample's random numbers are
seeded with them. Nothing depends on the state of a worker, so that a resumed run can begin in the middle of an epoch.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import torch
from mmengine.dist import get_dist_info
from torch.utils.data import BatchSampler, DataLoader

from openmsra.engine.data.samples import SampleKey, Samples
from openmsra.errors import DataError


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
        return next((batch for place, batch in self.recent if place == position), [])


class KeyedDataLoader(DataLoader):
    """A ``DataLoader`` over :class:`~openmsra.engine.data.samples.Samples` that can begin at any :class:`Position`."""

    def __init__(self, *args, seed: int, **kwargs) -> None:
        generator = torch.Generator().manual_seed(seed % 2**63)  # else each pass would draw from the training's generator
        super().__init__(*args, generator=generator, **kwargs)
        ahead = self.num_workers * (self.prefetch_factor or 0) + 2
        sampler = self.sampler if self.batch_size is not None else getattr(self.batch_sampler, 'sampler', None)
        self.keyed = KeyedBatches(self.batch_sampler, sampler, seed, ahead)

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
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
        **batching,
    )
