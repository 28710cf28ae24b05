"""A linear classifier of the cells of frozen feature maps: what a backbone knows of scenes."""

import numpy as np
from mmengine.evaluator import BaseMetric

from openmsra.common.probes import linear_classifier
from openmsra.errors import DataError
from openmsra.registry import METRICS


@METRICS.register_module()
class CellProbe(BaseMetric):
    """Mean class accuracy, mean intersection over union and accuracy (%) of a logistic regression on single cells (ours).

    Images with ``bank`` are fitted on, the others tested. Cells without a label do not count, and neither do classes that no
    cell of the test images has.

    Args:
        strength: inverse regularisation of the logistic regression on standardised features.
        balanced: classes weigh alike in the fit; else rare classes are seldom predicted, as their mean class accuracy then says.

    Raises:
        DataError: no labelled cell to fit on, or none to test on; maps and labels of other sizes; two lists of classes.
    """

    default_prefix = 'probe'

    def __init__(
        self, strength: float = 1.0, balanced: bool = False, collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device, prefix)
        self.strength, self.balanced = strength, balanced

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        for sample in data_samples:
            labels, features = sample['cell_labels'].cpu().numpy(), sample['cell_features'].cpu().float().numpy()
            if features.shape[1:] != labels.shape:
                raise DataError(
                    f'CellProbe: maps of {features.shape[1:]} cells, labels of {labels.shape}; the cell of the data set must '
                    'be the stride of the backbone.'
                )
            labelled = labels >= 0
            self.results.append(
                dict(
                    bank=bool(sample['bank']),
                    features=features[:, labelled].T,
                    labels=labels[labelled],
                    class_list=int(sample.get('class_list', 0)),
                )
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        return figures_of(self.confusions(results).sum(0))

    def confusions(self, results: list[dict]) -> np.ndarray:
        """Cells by class (true, predicted) for every test image: (images, K, K)."""
        bank, rest = ([row for row in results if row['bank'] is part] for part in (True, False))
        if not sum(len(row['labels']) for row in bank) or not sum(len(row['labels']) for row in rest):
            raise DataError(f'CellProbe: {len(bank)} images to fit on and {len(rest)} to test on; both need labelled cells.')
        if len({row['class_list'] for row in results}) > 1:
            raise DataError('CellProbe: the images to fit on and those to test on have other classes.')
        features, labels = (np.concatenate([row[key] for row in bank]) for key in ('features', 'labels'))
        classifier = linear_classifier(self.strength, self.balanced).fit(features, labels)
        count = 1 + max(int(row['labels'].max(initial=0)) for row in results)
        tested = [row for row in rest if len(row['labels'])]
        return np.stack([_confusion(row['labels'], classifier.predict(row['features']), count) for row in tested])


def figures_of(confusion: np.ndarray) -> dict[str, float]:
    """Figures in percent of a table (K, K) of cells by true and predicted class."""
    right, true, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    present = true > 0
    union = (true + predicted - right)[present]
    return dict(
        mean_class_accuracy=100 * float((right[present] / true[present]).mean()),
        miou=100 * float((right[present] / union).mean()),
        accuracy=100 * float(right.sum() / true.sum()),
    )


def _confusion(true: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(true * count + predicted, minlength=count**2).reshape(count, count)
