"""The similarities of regions and the shuffling of BatchNorm."""

import torch
from mmengine.dist import all_gather, broadcast, get_rank, get_world_size


def logits_of(
    queries: torch.Tensor,
    positives: torch.Tensor,
    queue: torch.Tensor,
    negatives: torch.Tensor,
    valid: torch.Tensor,
    temperature: float,
    hardest: int | None = None,
) -> torch.Tensor:
    """Similarities over temperature: the positive first, the queue, then other regions of the same image.

    Args:
        queries, positives: (B, R, D), of unit length.
        queue: (D, K).
        negatives: (B, J, D); J may be 0.
        valid: (B, J); an invalid negative gets minus infinity, so that it adds exactly 0 to the denominator.
        hardest: only so many keys of the queue, the most similar ones, count; ``None`` for all.

    Returns:
        (B * R, 1 + K + J), with ``hardest`` instead of K.
    """
    positive = (queries * positives).sum(-1, keepdim=True)
    queued = queries @ queue
    columns = [positive, queued if hardest is None else queued.topk(hardest).values]
    if negatives.shape[1]:
        same_image = torch.einsum('brd,bjd->brj', queries, negatives)
        columns.append(same_image.masked_fill(~valid[:, None], -torch.inf))
    return torch.cat(columns, dim=-1).flatten(0, 1) / temperature


def shuffle_over_devices(*tensors: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], torch.Tensor | None]:
    """Deal the images of all devices out at random, their boxes with them, so that BatchNorm betrays no pair.

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
    """Bring vectors (B, ...) back to the device and row of their image."""
    if places is None:
        return vectors
    return torch.cat(all_gather(vectors.contiguous()))[places.view(get_world_size(), -1)[get_rank()]]
