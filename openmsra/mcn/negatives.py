"""Vectors that are kept as negatives: a queue of momentum keys or a memory bank with one row a video."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openmsra.common.contrastive import enqueue

NOBODY = -1  # id of a row that no video has taken yet


class KeyQueue(nn.Module):
    """The newest K keys of a momentum encoder, oldest replaced first (MoCo). Rows that were never written are random.

    Args:
        dim: D.
        length: K; should be well below the number of training videos.
        momentum: m of the key encoder, k <- m k + (1 - m) q.
    """

    def __init__(self, dim: int, length: int = 2048, momentum: float = 0.999) -> None:
        super().__init__()
        if length < 1 or not 0 <= momentum <= 1:
            raise ValueError(f'queue: length={length}, momentum={momentum}; at least 1 key, a momentum in [0, 1].')
        self.momentum = momentum
        self.register_buffer('vectors', F.normalize(torch.randn(dim, length), dim=0))
        self.register_buffer('ids', torch.full((1, length), NOBODY))
        self.register_buffer('pointer', torch.zeros(1, dtype=torch.long))

    def stored(self) -> tuple[Tensor, Tensor]:
        """Copies of the vectors (D, K) and of the ids of their videos (K,)."""
        return self.vectors.clone(), self.ids[0].clone()

    @torch.no_grad()
    def update(self, ids: Tensor, vectors: Tensor) -> None:
        """Write the unit vectors (m, C, D) of all clips of the videos ``ids`` (m,)."""
        every_id = ids.repeat_interleave(vectors.shape[1])
        enqueue(self.ids, self.pointer.clone(), every_id[:, None])
        enqueue(self.vectors, self.pointer, vectors.flatten(0, 1))


class MemoryBank(nn.Module):
    """A moving average of the embedding of every video (instance discrimination).

    A row belongs to the id of a video, which follows from its relative path: a list that was reordered or has grown keeps the
    rows of the videos that are known, new ones take free rows, which are random.

    Args:
        dim: D.
        capacity: rows; at least the number of training videos.
        momentum: b <- m b + (1 - m) z, then normalised.
        draws: rows drawn as negatives in an iteration; ``None`` for all.
    """

    def __init__(self, dim: int, capacity: int, momentum: float = 0.5, draws: int | None = None) -> None:
        super().__init__()
        if capacity < 2 or not 0 <= momentum <= 1 or (draws is not None and not 1 <= draws <= capacity):
            raise ValueError(f'bank: capacity={capacity}, momentum={momentum}, draws={draws} cannot be.')
        self.momentum, self.draws = momentum, draws
        self.register_buffer('vectors', F.normalize(torch.randn(dim, capacity), dim=0))
        self.register_buffer('ids', torch.full((capacity,), NOBODY))

    @property
    def known(self) -> int:
        """Rows that belong to a video."""
        return int((self.ids != NOBODY).sum())

    def stored(self) -> tuple[Tensor, Tensor]:
        """Copies of the drawn vectors (D, M) and their ids (M,)."""
        if self.draws is None:
            return self.vectors.clone(), self.ids.clone()
        drawn = torch.randperm(len(self.ids), device=self.ids.device)[: self.draws]
        return self.vectors[:, drawn], self.ids[drawn]

    @torch.no_grad()
    def update(self, ids: Tensor, vectors: Tensor) -> None:
        """Move the rows of the videos ``ids`` (m,) towards the mean of the unit vectors (m, C, D) of their clips.

        Raises:
            ValueError: more videos than rows.
        """
        rows = self._rows(ids)
        moved = self.momentum * self.vectors[:, rows] + (1 - self.momentum) * vectors.mean(1).T.to(self.vectors.dtype)
        self.vectors[:, rows] = F.normalize(moved, dim=0)

    def _rows(self, ids: Tensor) -> Tensor:
        for video in ids[~torch.isin(ids, self.ids)]:
            free = (self.ids == NOBODY).nonzero()
            if not len(free):
                raise ValueError(f'The memory bank is full: set model.negatives.capacity above its {len(self.ids)} rows.')
            self.ids[free[0, 0]] = video
        return (ids[:, None] == self.ids).int().argmax(1)


KINDS = {'queue': KeyQueue, 'bank': MemoryBank}


def build_negatives(options: dict, dim: int) -> KeyQueue | MemoryBank | None:
    """From ``dict(kind='batch' | 'queue' | 'bank', ...)``; 'batch' keeps nothing and gives ``None``."""
    options = dict(options)
    kind = options.pop('kind')
    if kind not in ('batch', *KINDS):
        raise ValueError(f'negatives.kind must be one of batch, {", ".join(KINDS)}, got {kind!r}')
    if kind == 'batch':
        if options:
            raise ValueError(f"negatives.kind='batch' takes no further options, got {', '.join(options)}")
        return None
    return KINDS[kind](dim, **options)
