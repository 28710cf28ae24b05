"""InfoNCE and the queue of keys: MaskCo and MCN."""

import torch
import torch.nn.functional as F


@torch.no_grad()
def enqueue(queue: torch.Tensor, pointer: torch.Tensor, keys: torch.Tensor) -> None:
    """Write keys (N, D) into the circular queue (D, K) from ``pointer`` (1,) on, in place; any N, also over the end.

    Of more than K keys the last K stay.
    """
    length = queue.shape[1]
    positions = (pointer + torch.arange(keys.shape[0], device=queue.device)) % length
    queue.index_copy_(1, positions[-length:], keys[-length:].T.to(queue.dtype))
    pointer.add_(keys.shape[0]).remainder_(length)


def info_nce(logits: torch.Tensor) -> torch.Tensor:
    """Mean of -log softmax of the first column of (N, 1 + negatives)."""
    return F.cross_entropy(logits, logits.new_zeros(logits.shape[0], dtype=torch.long))
