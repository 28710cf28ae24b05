"""Accuracy of sub-networks on a scoring split that is read once."""

from collections.abc import Iterator

import torch
from mmengine.model import BaseDataPreprocessor
from torch import nn
from torch.utils.data import DataLoader

GIB = 2**30


class ScoringSet:
    """A labelled split as batches ``((B, C, H, W) inputs, (B,) labels)`` on the model's device, again and again.

    The split is held in the first form that fits: ready for the network, on its device; as loaded (usually 8-bit), in
    host memory; else it is read again in every pass.

    Args:
        dataloader: batches ``dict(inputs=..., data_samples=[...])``, in a fixed order, with ``gt_label`` in each sample.
        preprocessor: the model's; moves a batch to the device and normalises it.
        cache_gib: the most that each process may hold, in GiB; 0 reads the split in every pass.
    """

    def __init__(self, dataloader: DataLoader, preprocessor: BaseDataPreprocessor, cache_gib: float) -> None:
        self.dataloader, self.preprocessor = dataloader, preprocessor
        self.loaded: list[dict] | None = None
        self.ready: list[tuple[torch.Tensor, torch.Tensor]] | None = None
        first = next(iter(dataloader))
        limit = cache_gib * GIB / len(dataloader)
        if self._prepare(first)[0].nbytes <= limit:
            self.ready = [self._prepare(batch) for batch in dataloader]
        elif sum(image.nbytes for image in first['inputs']) <= limit:
            self.loaded = list(dataloader)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.dataloader.dataset)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        if self.ready is not None:
            return iter(self.ready)
        return map(self._prepare, self.dataloader if self.loaded is None else self.loaded)

    @property
    def form(self) -> str:
        """How the split is held: 'ready', 'loaded' or 'read again'."""
        return 'ready' if self.ready is not None else 'read again' if self.loaded is None else 'loaded'

    def _prepare(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        batch = self.preprocessor(batch, training=False)
        labels = torch.cat([sample.gt_label for sample in batch['data_samples']])
        return batch['inputs'], labels.to(batch['inputs'].device)


@torch.inference_mode()
def inherited_accuracy(supernet: nn.Module, arch: dict, images: ScoringSet, fp16: bool = False) -> float:
    """Top-1 accuracy in percent of the sub-network ``arch`` with the supernet's weights (evaluation mode expected)."""
    supernet.set_subnet(arch)
    correct = 0
    for inputs, labels in images:
        with torch.autocast(inputs.device.type, enabled=fp16):
            predicted = supernet(inputs, mode='tensor').argmax(dim=1)
        correct += (predicted == labels).sum()  # a tensor: the device is waited for once, at the end
    return 100 * int(correct) / len(images)
