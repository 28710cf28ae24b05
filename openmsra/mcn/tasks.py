"""Tasks of an iteration: groups of videos, their support and query clips, pairs of clips that do or do not match."""

import torch
from torch import Tensor

QUERY_VIDEOS = ('same', 'disjoint')


def group_size(videos: int, tasks: int, query_videos: str) -> int:
    """Videos n whose clips one stage of one task sees.

    Raises:
        ValueError: the videos do not divide into tasks, or a task is left with one video, which has no other to differ from.
    """
    share = tasks * (2 if query_videos == 'disjoint' else 1)
    size, rest = divmod(videos, share)
    if rest or size < 2:
        kind = f'{tasks} task(s)' + (' with separate support and query videos' if query_videos == 'disjoint' else '')
        raise ValueError(
            f'{videos} videos cannot form {kind}: a multiple of {share} and at least {2 * share} are needed, since a task '
            f'with one video has no pair of different videos. Set train_dataloader.batch_size or model.tasks.'
        )
    return size


def split_stages(per_video: Tensor, tasks: int, query_videos: str) -> tuple[Tensor, Tensor]:
    """Support and query part of a tensor (V, C, ...) with C clips of each of V videos, regrouped in the order given.

    'same': clips 0, 1 of a video are support, 2, 3 are query (C = 4).
    'disjoint': one half of a task's videos is support, the other is query (C = 2).

    Returns:
        two tensors (N, 2, n, ...): tasks, the two clips, videos.

    Raises:
        ValueError: C does not fit.
    """
    needed = 4 if query_videos == 'same' else 2
    if per_video.shape[1] != needed:
        raise ValueError(
            f'query_videos={query_videos!r} needs {needed} clips of each video, got {per_video.shape[1]}: '
            f'set clips={needed} of the training data set.'
        )
    size = group_size(per_video.shape[0], tasks, query_videos)
    if query_videos == 'same':
        grouped = per_video.unflatten(0, (tasks, size)).unflatten(2, (2, 2))  # (N, n, stage, 2, ...)
        stages = grouped.movedim((2, 3), (0, 2))  # (stage, N, 2, n, ...)
    else:
        grouped = per_video.unflatten(0, (tasks, 2, size))  # (N, stage, n, 2, ...)
        stages = grouped.movedim((1, 3), (0, 2))
    return stages[0], stages[1]


def derangements(tasks: int, size: int, generator: torch.Generator | None = None) -> Tensor:
    """Random permutations (N, n) without a fixed place: row i gives a *different* video for each video.

    A random cyclic order: every video is used exactly once.

    Raises:
        ValueError: fewer than two videos.
    """
    if size < 2:
        raise ValueError(f'A derangement needs at least 2 videos, got {size}.')
    order = torch.rand(tasks, size, generator=generator).argsort(1)
    return torch.empty_like(order).scatter_(1, order, order.roll(1, 1))


def hardest_others(first: Tensor, second: Tensor) -> Tensor:
    """For each video (n, D) of ``first`` the most similar *other* video of ``second``: (n,)."""
    similarity = first.detach() @ second.detach().T
    same_video = torch.eye(len(first), dtype=torch.bool, device=first.device)
    return similarity.masked_fill(same_video, -torch.inf).argmax(1)
