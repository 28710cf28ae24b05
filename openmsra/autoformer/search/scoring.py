"""Accuracy of sub-networks on a scoring split that is decoded once."""

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from mmengine import dist
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn
from torch.utils.data import DataLoader

from openmsra.common.annotations import read_json, read_json_lines
from openmsra.engine.checkpoint.files import write_durably
from openmsra.errors import BrokenDataError, ConfigError, UserError

GIB = 2**30


class ScoringSet:
    """A labelled split as batches ``((B, C, H, W) inputs, (B,) labels)`` on the model's device, again and again.

    Where all batches fit into ``cache_gib``, each process holds them ready for its network. A larger split is decoded once by
    the processes of a machine together, into one file of its raw images (for ImageNet 8-bit, 50,000 of 224 pixels are 7 GiB)
    that all of them map: the memory that it takes is the page cache's, which gives way. A search that is resumed finds the file.

    Args:
        load: the numbers of some samples -> a loader of batches ``dict(inputs=[...], data_samples=[...])`` in this order; each
            sample has a ``gt_label``, and all inputs have one shape.
        size: number of samples.
        preprocessor: the model's; moves a batch to the device and normalises it.
        cache_gib: the most that each process may hold ready, in GiB.
        folder: where the file of a larger split goes; a disk of the machine's own is best.
        key: what the images depend on; a file with another key is written anew.

    Raises:
        BrokenDataError: an image cannot be read; a score over replaced images would rank nothing.
        ConfigError: no room on the disk.
    """

    def __init__(
        self,
        load: Callable[[range], DataLoader],
        size: int,
        preprocessor: BaseDataPreprocessor,
        cache_gib: float,
        folder: Path,
        key: str = '',
    ) -> None:
        self.size, self.preprocessor = size, preprocessor
        loader = load(range(size))
        self.batch_size = loader.batch_size
        first = next(iter(loader))
        self.ready: list[tuple[Tensor, Tensor]] | None = None
        self.files: list[Path] = []
        if self._prepare(first)[0].nbytes * len(loader) <= cache_gib * GIB:
            self.ready = [self._prepare(batch) for batch in loader]
            _raise_together(_broken_images(loader))
        else:
            self.files = _shared_files(load, first['inputs'][0], size, folder, key)
            self.images, self.labels = (np.load(file, mmap_mode='r') for file in self.files[:2])

    def __len__(self) -> int:
        """Number of images."""
        return self.size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.ready) if self.ready is not None else self._from_file()

    def delete_files(self) -> None:
        """Remove the file of a larger split, when no process needs it any more."""
        for file in self.files:
            file.unlink(missing_ok=True)

    @property
    def form(self) -> str:
        """How the split is held: 'ready' or 'one file'."""
        return 'ready' if self.ready is not None else 'one file'

    def _from_file(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, self.size, self.batch_size):
            images = torch.from_numpy(self.images[start : start + self.batch_size].copy())
            inputs = self.preprocessor(dict(inputs=list(images)), training=False)['inputs']
            yield inputs, torch.from_numpy(self.labels[start : start + self.batch_size].copy()).to(inputs.device)

    def _prepare(self, batch: dict) -> tuple[Tensor, Tensor]:
        batch = self.preprocessor(batch, training=False)
        return batch['inputs'], _labels(batch).to(batch['inputs'].device)


def _labels(batch: dict) -> Tensor:
    return torch.cat([sample.gt_label for sample in batch['data_samples']])


def _shared_files(load: Callable[[range], DataLoader], example: Tensor, size: int, folder: Path, key: str) -> list[Path]:
    """Files of the images (size, C, H, W), the labels (size,) and their description, written by the processes of this machine
    together: each decodes its part."""
    machine = socket.gethostname()
    machines = dist.all_gather_object(machine)
    ranks = [rank for rank, other in enumerate(machines) if other == machine]
    local_rank = ranks.index(dist.get_rank())
    files = [folder / f'scoring_{name}_{machine}.npy' for name in ('images', 'labels')]
    description = folder / f'scoring_{machine}.json'  # is written last: it says that the files are complete
    wanted = dict(size=size, shape=list(example.shape), dtype=str(example.dtype), key=key)
    complete = description.is_file() and read_json(description, {}) == wanted and all(file.is_file() for file in files)
    if not all(dist.all_gather_object(complete)):
        description.unlink(missing_ok=True)
        _raise_together(_reserve(files, example, size) if local_rank == 0 else None)
        part = np.array_split(np.arange(size), len(ranks))[local_rank]
        if len(part):
            loader = load(range(part[0], part[-1] + 1))
            _decode(loader, part[0], *(np.load(file, mmap_mode='r+') for file in files))
        _raise_together(_broken_images(loader) if len(part) else None)
        if local_rank == 0:
            write_durably(description, lambda stream: stream.write(json.dumps(wanted).encode()))
        dist.barrier()
    return [*files, description]


def _raise_together(error: UserError | None) -> None:
    """Raise the first error that a process has on all processes: none waits for another that is gone."""
    errors = list(filter(None, dist.all_gather_object(error)))
    if errors:
        raise errors[0]


def _reserve(files: list[Path], example: Tensor, size: int) -> ConfigError | None:
    """Make the files and the room that they need; else say what is missing (writing into a mapped file on a full disk kills)."""
    needed = size * (example.nbytes + 8)
    folder = files[0].parent
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        file.unlink(missing_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed + GIB:
        return ConfigError(
            f'EvolutionLoop: the scoring split needs {needed / GIB:.1f} GiB in {folder}, where {free / GIB:.1f} GiB are free. '
            'Name another folder with train_cfg.cache_folder, or let each process hold the split: train_cfg.cache_gib.'
        )
    numpy_type = torch.empty(0, dtype=example.dtype).numpy().dtype
    for file, dtype, shape in zip(files, (numpy_type, np.int64), ((size, *example.shape), (size,)), strict=True):
        np.lib.format.open_memmap(file, mode='w+', dtype=dtype, shape=shape).flush()
        if hasattr(os, 'posix_fallocate'):  # Linux
            with file.open('r+b') as stream:
                os.posix_fallocate(stream.fileno(), 0, os.fstat(stream.fileno()).st_size)
    return None


def _decode(loader: DataLoader, start: int, images: np.memmap, labels: np.memmap) -> None:
    for batch in loader:
        stop = start + len(batch['inputs'])
        images[start:stop] = torch.stack(list(batch['inputs'])).numpy()
        labels[start:stop] = _labels(batch).numpy()
        start = stop
    images.flush(), labels.flush()


def _broken_images(loader: DataLoader) -> BrokenDataError | None:
    """What to raise if the loader has replaced images that it could not read; its journal lists them."""
    journal = getattr(loader.dataset, 'journal', None)
    if journal is None or not Path(journal).is_file():
        return None
    rows = list(read_json_lines(journal, dict(path=str, reason=str)))
    paths = sorted({row['path'] for row in rows})
    return BrokenDataError(
        f'{len(paths)} image(s) of the scoring split cannot be read, for example {paths[0]} ({rows[0]["reason"]}); all are '
        f'listed in {journal}. Repair them or take them out of the list: a score over replaced images would rank nothing.'
    )


@torch.inference_mode()
def inherited_accuracy(supernet: nn.Module, arch: dict, images: ScoringSet, amp_dtype: torch.dtype | None = None) -> float:
    """Top-1 accuracy in percent of the sub-network ``arch`` with the supernet's weights (evaluation mode expected).

    Args:
        amp_dtype: precision of the matrix products (autocast); ``None`` for that of the weights.
    """
    supernet.set_subnet(arch)
    correct = 0
    for inputs, labels in images:
        with torch.autocast(inputs.device.type, dtype=amp_dtype, enabled=amp_dtype is not None):
            predicted = supernet(inputs, mode='tensor').argmax(dim=1)
        correct += (predicted == labels).sum()  # a tensor: the device is waited for once, at the end
    return 100 * int(correct) / len(images)
