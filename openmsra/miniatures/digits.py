"""The handwritten digits that scikit-learn ships: 1797 real scans of 8 x 8 pixels, for experiments in minutes."""

import numpy as np
from mmengine.dataset import BaseDataset

from openmsra.registry import DATASETS

TEST_SIZE, VAL_SIZE = 500, 297


@DATASETS.register_module()
class Digits(BaseDataset):
    """UCI handwritten digits from scikit-learn, split 1000 / 297 / 500 into train / val / test, stratified by class.

    Each sample is ``dict(img=(8, 8, 1) uint8 in 0..16, gt_label=int, img_id=int, img_path='digits/<id>')``; ``img_id``
    counts through scikit-learn's order, and ``img_path`` names the sample in files of predictions and pictures.

    Args:
        split: 'train', 'val' or 'test'.
        pipeline: transforms.

    Raises:
        ValueError: another split.
    """

    METAINFO = dict(classes=tuple('0123456789'))

    def __init__(self, split: str, pipeline: list, **kwargs) -> None:
        if split not in ('train', 'val', 'test'):
            raise ValueError(f"Digits has the splits 'train', 'val' and 'test', not {split!r}.")
        self.split = split
        super().__init__(pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        """All samples of the split."""
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        images = images.reshape(-1, 8, 8, 1).astype(np.uint8)
        return [
            dict(img=images[i], gt_label=int(labels[i]), img_id=int(i), img_path=f'digits/{i:04d}')
            for i in split_indices(labels)[self.split]
        ]


def split_indices(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Stratified, disjoint indices of the three splits; always the same ones."""
    from sklearn.model_selection import train_test_split

    rest, test = train_test_split(np.arange(len(labels)), test_size=TEST_SIZE, stratify=labels, random_state=0)
    train, val = train_test_split(rest, test_size=VAL_SIZE, stratify=labels[rest], random_state=1)
    return dict(train=np.sort(train), val=np.sort(val), test=np.sort(test))
