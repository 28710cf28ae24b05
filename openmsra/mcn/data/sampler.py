"""Groups of videos that are alike, so that an encoder does not tell them apart by their place."""

import re
from collections.abc import Iterator

import numpy as np
from mmengine.dataset import DefaultSampler

from openmsra.errors import DataError
from openmsra.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class RecordingSampler(DefaultSampler):
    """Every ``group`` indices in a row are pieces and clips of one recording, other groups in every epoch.

    In a batch of one group the background is the same in all videos, and only what happens tells them apart. A batch of two
    groups gives :class:`~openmsra.mcn.model.MCN` with ``query_videos='disjoint'`` and ``shuffle_videos=False`` the support clips
    of one recording and the query clips of another. What is left of a recording after its last whole group waits for another
    epoch.

    Args:
        dataset: its rows have a ``video``, a path.
        group: videos of a group; batches should hold whole groups.
        recording: regular expression; what it finds in the path of a video names the recording. By default the file's name, so
            that the pieces of a file are one recording.
        seed: the groups follow from it and the epoch.

    Raises:
        DataError: a path in which the expression finds nothing; no recording has enough videos for a group.
    """

    def __init__(self, dataset, group: int, recording: str = r'[^/]+(?=\.\w+)', seed: int | None = None) -> None:
        super().__init__(dataset, shuffle=True, seed=seed, round_up=False)
        names = np.array([_recording(dataset.get_data_info(number)['video'], recording) for number in range(len(dataset))])
        self.group, self.recordings = group, [np.flatnonzero(names == name) for name in np.unique(names)]
        self.groups = sum(len(videos) // group for videos in self.recordings)
        self.num_samples = self.groups // self.world_size * group
        if not self.num_samples:
            largest = max(map(len, self.recordings))
            raise DataError(f'RecordingSampler: no recording has {group} videos for each process, the largest has {largest}.')

    def __iter__(self) -> Iterator[int]:
        """Indices of this rank: every so many-th group."""
        rng = np.random.default_rng([self.seed, self.epoch])
        rows = [self._groups_of(rng.permutation(videos)) for videos in self.recordings]
        groups = rng.permutation(np.concatenate(rows))[self.rank :: self.world_size][: self.num_samples // self.group]
        return iter(groups.ravel().tolist())

    def _groups_of(self, videos: np.ndarray) -> np.ndarray:
        """(G, group) of the indices of a recording."""
        count = len(videos) // self.group
        return videos[: count * self.group].reshape(count, self.group)


def _recording(video: str, expression: str) -> str:
    found = re.search(expression, video)
    if found is None:
        raise DataError(f'RecordingSampler: {expression!r} finds no recording in the path {video!r}.')
    return found.group()
