"""The similarities of regions."""

import torch


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
