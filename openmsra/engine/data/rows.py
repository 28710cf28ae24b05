"""Data sets whose lists have millions of rows: they start in seconds, and data workers share the rows."""

import gc
import pickle
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import numpy as np
from mmengine.dataset import BaseDataset


class LongList(BaseDataset):
    """mmengine's data set with a quicker start for long lists; the rows, and how they are kept, are the same.

    mmengine keeps the rows as one array of bytes, which processes share that are forked, but makes an array of each row on the
    way there. While millions of rows are made, Python's garbage collector goes over all of them again and again; it waits.
    """

    def full_init(self) -> None:
        """mmengine's, while the garbage collector waits."""
        if not self._fully_initialized:
            with _garbage_stays():
                super().full_init()

    def _serialize_data(self) -> tuple[np.ndarray, np.ndarray]:
        rows = [pickle.dumps(row, protocol=4) for row in self.data_list]
        self.data_list.clear()
        ends = np.cumsum(np.fromiter(map(len, rows), np.int64, len(rows)))
        return np.frombuffer(b''.join(rows), np.uint8), ends

    def positions(self, key: Callable[[dict], Hashable]) -> dict[Hashable, np.ndarray]:
        """Positions of the rows by their key, as arrays, which workers share and draw from without copies (lists are copied)."""
        groups: dict[Hashable, list[int]] = {}
        for index in range(len(self)):
            groups.setdefault(key(self.get_data_info(index)), []).append(index)
        return {name: np.array(group) for name, group in groups.items()}


@contextmanager
def _garbage_stays() -> Iterator[None]:
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
