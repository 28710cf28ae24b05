"""Batches that mix labelled and unlabelled images, on any number of processes, for ever."""

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.runner.runner import _SlicedDataset
from torch.utils.data import Sampler

from openmsra.errors import DataError
from openmsra.registry import DATA_SAMPLERS

MODES = ('fixed', 'binomial')
BLOCK = 1024  # batches whose groups and counts are drawn together


@DATA_SAMPLERS.register_module()
class MultiSourceSampler(Sampler):
    """Indices of a ``ConcatDataset`` such that each batch of ``batch_size`` has images of all sources, of one aspect group.

    Each batch is a function of seed, rank and its number, so that a sampler can go on from any batch without replaying. A
    source whose images of a group are used up is shuffled anew.

    Args:
        dataset: a ``ConcatDataset``; its parts are the sources, for Soft Teacher labelled and unlabelled.
        batch_size: images of a batch on one process.
        source_ratio: a weight for each source.
        mode: 'fixed' has the same counts in each batch; 'binomial' draws each image's source with the weights as
            probabilities and then makes sure that each source has at least one (official code, two sources: 1 + 4 of 5 is 1.33
            labelled images on average).
        by_aspect: batches of wide or of tall images alone, which need less padding.
        ratio_decay: ``(first, last)`` batches between which the weights of all sources but the last fall linearly to 0, as the
            paper writes; each source keeps one image.
        seed: ``None`` takes a random one, the same on all processes.

    Raises:
        ValueError: a batch that is too small, or a wrong number of weights.
        DataError: a source without images, or a data set that ``num_batch_per_epoch`` has cut.
    """

    def __init__(
        self,
        dataset: BaseDataset,
        batch_size: int,
        source_ratio: Sequence[float],
        mode: str = 'fixed',
        by_aspect: bool = True,
        ratio_decay: tuple[int, int] | None = None,
        seed: int | None = None,
    ) -> None:
        sizes = [len(part) for part in getattr(dataset, 'datasets', [dataset])]
        _check(sizes, batch_size, source_ratio, mode)
        if isinstance(dataset, _SlicedDataset):
            raise DataError(
                f'MultiSourceSampler: num_batch_per_epoch keeps {len(dataset)} of {sum(sizes)} images, which cuts the sources '
                'apart. Leave it out; train_cfg.max_iters makes a run short.'
            )
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.batch_size, self.mode, self.ratio_decay = batch_size, mode, ratio_decay
        self.weights = np.array(source_ratio, float) / sum(source_ratio)
        starts = np.cumsum([0, *sizes[:-1]])
        self.members = [np.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        self.groups = self._aspect_groups(dataset) if by_aspect else [self.members]
        self.group_weights = np.array([sum(map(len, group)) for group in self.groups], float)
        self.group_weights /= self.group_weights.sum()
        self.next_batch, self.drawn = 0, None

    def _aspect_groups(self, dataset: BaseDataset) -> list[list[np.ndarray]]:
        """Wide and tall images of each source; one group of all where a source has images of one kind only."""
        tall = np.array([_is_tall(dataset, index) for index in range(len(dataset))])
        split = [[indices[tall[indices] == kind] for indices in self.members] for kind in (False, True)]
        full = [group for group in split if all(map(len, group))]
        reaches_all = sum(len(indices) for group in full for indices in group) == len(dataset)
        return full if full and reaches_all else [self.members]

    def counts(self, batch: int) -> list[int]:
        """Images of each source in a batch."""
        return self._block(batch // BLOCK)[1][batch % BLOCK].tolist()

    def _block(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Aspect groups (BLOCK,) and counts (BLOCK, sources) of batches that are drawn together, which is quick."""
        if self.drawn is None or self.drawn[0] != number:
            groups = np.random.default_rng([self.seed, 2, number]).choice(len(self.groups), size=BLOCK, p=self.group_weights)
            self.drawn = number, groups, self._block_of_counts(number)
        return self.drawn[1:]

    def _block_of_counts(self, number: int) -> np.ndarray:
        weights = self._weights(np.arange(number * BLOCK, (number + 1) * BLOCK))
        if self.mode == 'fixed':
            different, rows = np.unique(weights, axis=0, return_inverse=True)
            return np.array([_apportion(row, self.batch_size) for row in different])[rows.ravel()]
        counts = np.random.default_rng([self.seed, 1, self.rank, number]).multinomial(self.batch_size, weights)
        for drawn in map(counts.__getitem__, np.flatnonzero(counts.min(1) < 1)):
            while drawn.min() < 1:
                drawn[drawn.argmin()] += 1
                drawn[drawn.argmax()] -= 1
        return counts

    def _weights(self, batches: np.ndarray) -> np.ndarray:
        """Weights (batches, sources) of the sources."""
        weights = np.tile(self.weights, (len(batches), 1))
        if self.ratio_decay is not None:
            first, last = self.ratio_decay
            weights[:, :-1] *= 1 - np.clip((batches[:, None] - first) / max(last - first, 1), 0, 1)
        return weights / weights.sum(1, keepdims=True)

    def group(self, batch: int) -> int:
        """The aspect group of a batch, the same on all processes, drawn by the share of the images."""
        return int(self._block(batch // BLOCK)[0][batch % BLOCK])

    def skip(self, num_samples: int) -> None:
        """Go on behind the first ``num_samples`` indices of this rank, of whole batches; takes no time."""
        self.next_batch = num_samples // self.batch_size

    def _taken(self) -> np.ndarray:
        """How many images (groups, sources) the batches before the next one have taken."""
        taken = np.zeros((len(self.groups), len(self.members)), int)
        for number in range(-(-self.next_batch // BLOCK)):
            left = self.next_batch - number * BLOCK
            groups, counts = (part[:left] for part in self._block(number))
            np.add.at(taken, groups, counts)
        return taken

    def __iter__(self) -> Iterator[int]:
        """Indices without end, each batch in random order; ranks read disjoint parts of the same shuffled streams."""
        taken = self._taken() * self.world_size + self.rank
        streams = {
            (g, s): _Stream(indices, [self.seed, 3, g, s], taken[g, s], self.world_size)
            for g, group in enumerate(self.groups)
            for s, indices in enumerate(group)
        }
        for batch in count(self.next_batch):
            g = self.group(batch)
            picked = [streams[g, s].take(number) for s, number in enumerate(self.counts(batch))]
            order = np.random.default_rng([self.seed, 4, self.rank, batch])
            yield from order.permutation(np.concatenate(picked)).tolist()

    def __len__(self) -> int:
        return sum(map(len, self.members)) // self.world_size

    def set_epoch(self, epoch: int) -> None:
        """Needed by mmengine; the stream has no epochs."""


class _Stream:
    """An endless reshuffle of ``members``, of which one rank takes every ``step``-th index from ``position`` on."""

    def __init__(self, members: np.ndarray, key: list[int], position: int, step: int) -> None:
        self.members, self.key, self.position, self.step = members, key, position, step
        self.round, self.order = -1, members

    def take(self, count: int) -> np.ndarray:
        return np.array([self._next() for _ in range(count)], dtype=np.int64)

    def _next(self) -> int:
        turn, offset = divmod(self.position, len(self.members))
        if turn != self.round:
            self.round, self.order = turn, np.random.default_rng([*self.key, turn]).permutation(self.members)
        self.position += self.step
        return self.order[offset]


def _is_tall(dataset: BaseDataset, index: int) -> bool:
    info = dataset.get_data_info(index)
    if 'width' not in info or 'height' not in info:
        raise ValueError(
            f'MultiSourceSampler: image {info.get("img_path", index)} has no width and height in the annotations; '
            'add them or set by_aspect=False.'
        )
    return info['width'] < info['height']


def _apportion(weights: np.ndarray, total: int) -> list[int]:
    """Counts of a fixed batch: at least one each, the rest by the largest fractions."""
    counts = np.maximum(np.floor(weights * total).astype(int), 1)
    while counts.sum() < total:
        counts[np.argmax(weights * total - counts)] += 1
    while counts.sum() > total:
        spare = np.where(counts > 1, counts - weights * total, -np.inf)
        counts[np.argmax(spare)] -= 1
    return counts.tolist()


def _check(sizes: list[int], batch_size: int, source_ratio: Sequence[float], mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f'MultiSourceSampler: mode={mode!r}; valid are {", ".join(MODES)}.')
    if len(sizes) != len(source_ratio):
        raise ValueError(
            f'MultiSourceSampler: {len(sizes)} data sets, but source_ratio={list(source_ratio)} has '
            f'{len(source_ratio)} numbers; give one for each of ConcatDataset.'
        )
    if min(source_ratio) <= 0:
        raise ValueError(
            f'MultiSourceSampler: source_ratio={list(source_ratio)}; all weights must be positive. '
            'Leave a source out of the ConcatDataset instead.'
        )
    if batch_size < len(sizes):
        raise ValueError(
            f'MultiSourceSampler: batch_size={batch_size} cannot hold an image of each of {len(sizes)} sources; '
            f'set it to {len(sizes)} or more (and scale the learning rate with --auto-scale-lr).'
        )
    for number, size in enumerate(sizes):
        if not size:
            raise DataError(f'MultiSourceSampler: part {number} of the ConcatDataset has no images; is its filter too strict?')
