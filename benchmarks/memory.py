"""Counts of the memory of a training step where no GPU measures it."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GIB = 2**30


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that operations make: ``live`` now and their ``peak``."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.count(tensor)
        return result

    def count(self, tensor: torch.Tensor) -> None:
        """Take a tensor into account until it is freed; a storage counts once."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.known:
            self.known.add(key)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._free, key, storage.nbytes())

    def _free(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size


@contextmanager
def saved_bytes(lasting: Iterable[torch.Tensor] = ()) -> Iterator[dict[int, torch.UntypedStorage]]:
    """Collect what autograd keeps for the backward pass of what runs inside.

    Args:
        lasting: weights and buffers; they are there anyway and do not count.

    Yields:
        Storages by address, for ``sum(storage.nbytes() for storage in saved.values())``. They are held, so that no address is
        used twice.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in lasting}
    saved: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield saved


def kept_mib(lasting: Iterable[torch.Tensor], forward: Callable[[], torch.Tensor]) -> float:
    """MiB that a forward pass keeps for its backward pass, beside weights, buffers and input (``lasting``)."""
    with saved_bytes(lasting) as saved:
        outputs = forward()  # alive while they are counted, and with them the graph
        kept = sum(storage.nbytes() for storage in saved.values())
    del outputs
    return kept / 2**20
