"""Samplers that can go on from any place at once."""

from collections.abc import Iterator

import torch
from mmengine.dataset import InfiniteSampler as MMEngineInfiniteSampler

from openmsra.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module(name='InfiniteSampler')
class InfiniteSampler(MMEngineInfiniteSampler):
    """mmengine's endless sampler with each round shuffled by (seed, round), so that ``skip`` takes no time.

    mmengine draws all rounds from one generator and has to shuffle again whatever a resumed run leaves out.
    """

    start = 0  # indices of this rank to leave out

    def __iter__(self) -> Iterator[int]:
        """Indices of this rank, from the place that :meth:`skip` has set."""
        return self._indices_of_rank()

    def skip(self, num_samples: int) -> None:
        """Continue after the first ``num_samples`` indices of this rank (absolute, not relative to the current place).

        Raises:
            ValueError: a negative number.
        """
        if num_samples < 0:
            raise ValueError(f'InfiniteSampler: cannot skip {num_samples} samples.')
        self.start = num_samples

    def _indices_of_rank(self) -> Iterator[int]:
        turn, offset = divmod(self.start * self.world_size + self.rank, self.size)
        while True:
            order = self._order(turn)
            yield from order[offset :: self.world_size]
            turn, offset = turn + 1, (offset - len(order)) % self.world_size

    def _order(self, turn: int) -> list[int]:
        if not self.shuffle:
            return list(range(self.size))
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + turn) % 2**63)
        return torch.randperm(self.size, generator=generator).tolist()
