"""InfoNCE, the queue of keys and ShuffleBN (He et al., MoCo, CVPR 2020): MaskCo and MCN."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, broadcast, get_rank, get_world_size


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


def shuffle_over_devices(*tensors: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], torch.Tensor | None]:
    """ShuffleBN: deal the samples of all devices out at random, so that the statistics of BatchNorm betray no pair.

    Args:
        tensors: (B, ...) each, the same B on every device; row i of all of them belongs to one sample and moves together.

    Returns:
        this device's share of each tensor, and what :func:`unshuffle_over_devices` needs; one device changes nothing.
    """
    world = get_world_size()
    if world == 1:
        return tensors, None
    count = tensors[0].shape[0]
    order = torch.randperm(count * world, device=tensors[0].device)
    broadcast(order, src=0)
    mine = order.view(world, -1)[get_rank()]
    return tuple(torch.cat(all_gather(tensor.contiguous()))[mine] for tensor in tensors), order.argsort()


def unshuffle_over_devices(vectors: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
    """Bring vectors (B, ...) back to the device and row of their sample."""
    if places is None:
        return vectors
    return torch.cat(all_gather(vectors.contiguous()))[places.view(get_world_size(), -1)[get_rank()]]
