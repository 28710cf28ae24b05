"""The contrastive branch and the meta branch. Shapes: n videos with two clips each, D the length of an embedding."""

import torch
import torch.nn.functional as F
from torch import Tensor

from openmsra.common.contrastive import info_nce


def contrast_in_batch(first: Tensor, second: Tensor, temperature: float, same_view: bool = True) -> Tensor:
    """Symmetric InfoNCE of unit vectors (n, D): each clip finds the other clip of its video.

    Args:
        same_view: whether the same-numbered clips of other videos are candidates too: 2 n - 1 candidates (ours), else n.
    """
    n = len(first)
    targets = torch.arange(n, device=first.device)
    across = first @ second.T / temperature
    if not same_view:
        return (F.cross_entropy(across, targets) + F.cross_entropy(across.T, targets)) / 2
    same_clip = torch.eye(n, dtype=torch.bool, device=first.device)
    rows = [
        torch.cat([similarities, (clips @ clips.T / temperature).masked_fill(same_clip, -torch.inf)], 1)
        for similarities, clips in ((across, first), (across.T, second))
    ]
    return sum(F.cross_entropy(row, targets) for row in rows) / 2


def contrast_with_stored(queries: Tensor, positives: Tensor, stored: Tensor, same_video: Tensor, temperature: float) -> Tensor:
    """InfoNCE against stored vectors (a memory bank or a queue).

    Args:
        queries: (m, D) unit vectors that get the gradient.
        positives: (m, D) unit vectors of other clips of the same videos.
        stored: (D, K).
        same_video: (m, K), true where a stored vector belongs to the query's own video; it is left out.
    """
    positive = (queries * positives).sum(1, keepdim=True)
    return info_nce(torch.cat([positive, (queries @ stored).masked_fill(same_video, -torch.inf)], 1) / temperature)


def same_video_loss(scores_same: Tensor, scores_other: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of pair scores (logits): 1 for clips of one video, 0 for clips of two; and the accuracy.

    Both kinds have the same weight, so that a classifier that knows nothing has the loss log 2.
    """
    loss = (F.softplus(-scores_same).mean() + F.softplus(scores_other).mean()) / 2
    accuracy = ((scores_same > 0).float().mean() + (scores_other <= 0).float().mean()) / 2
    return loss, accuracy
