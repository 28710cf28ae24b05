"""Probes of frozen features: nearest neighbours and linear classifiers, for images and for regions."""

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from openmsra.common.probes import linear_classifier, neighbour_classifier
from openmsra.errors import DataError
from openmsra.registry import METRICS


@METRICS.register_module()
class FrozenProbe(BaseMetric):
    """Accuracy (%) of classifiers on features that are not trained further.

    Images with ``bank`` are fitted on, the others tested. Images with labels give ``knn`` and ``linear``; images with
    boxes give ``region_knn`` and ``region_linear`` (also by size of the box: ``_small``, ``_medium``, ``_large``, thirds
    of the test boxes) and ``image_map``, the mean average precision of telling from the whole image which classes it
    holds. All are ours; the linear ones are logistic regressions on standardised features.

    Args:
        probes: which of 'knn' and 'linear' are made; 'image_map' belongs to 'linear'.
        neighbours: k of the vote by cosine similarity.
        strength: inverse regularisation of the logistic regression.

    Raises:
        ValueError: no image to fit on, or none to test on, or no labels at all.
        DataError: the two parts have other lists of classes.
    """

    default_prefix = 'probe'

    def __init__(
        self,
        probes: Sequence[str] = ('knn', 'linear'),
        neighbours: int = 5,
        strength: float = 1.0,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        if not probes or set(probes) - {'knn', 'linear'}:
            raise ValueError(f"FrozenProbe: probes={tuple(probes)}; valid are 'knn' and 'linear'.")
        self.probes, self.neighbours, self.strength = tuple(probes), neighbours, strength

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        for sample in data_samples:
            row = {name: value.cpu().float().numpy() for name, value in sample.items() if name != 'class_list'}
            self.results.append(dict(row, class_list=int(sample.get('class_list', 0))))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        bank = [row for row in results if row['bank']]
        rest = [row for row in results if not row['bank']]
        if not bank or not rest:
            raise DataError(f'FrozenProbe: {len(bank)} images to fit on and {len(rest)} to test on; both are needed.')
        if len({row.get('class_list', 0) for row in results}) > 1:
            raise DataError(
                'FrozenProbe: the images to fit on and those to test on number their classes differently. Give the part to test '
                'on the classes of the other: classes=FOLDER of LabelledFolder; of COCO files, the same categories.'
            )
        if 'label' not in bank[0] and 'box_labels' not in bank[0]:
            raise DataError('FrozenProbe: the images have neither gt_label nor gt_boxes with gt_box_labels.')
        figures = {}
        for probe in self.probes:
            if 'label' in bank[0]:
                features, labels = zip(*((_stack(rows, 'feature'), _stack(rows, 'label')) for rows in (bank, rest)), strict=True)
                figures[probe] = _percent(self._hits(probe, features, labels))
            if 'box_labels' in bank[0]:
                figures |= self._region_figures(probe, bank, rest)
        if 'box_labels' in bank[0] and 'linear' in self.probes:
            figures['image_map'] = self._image_map(bank, rest)
        return figures

    def _region_figures(self, probe: str, bank: list[dict], rest: list[dict]) -> dict[str, float]:
        features, labels = zip(
            *((_join(rows, 'region_features'), _join(rows, 'box_labels')) for rows in (bank, rest)), strict=True
        )
        hits, boxes = self._hits(probe, features, labels), _join(rest, 'boxes')
        third = np.argsort(np.argsort((boxes[:, 2:] - boxes[:, :2]).prod(1), kind='stable')) * 3 // len(boxes)
        by_size = {
            f'region_{probe}_{name}': _percent(hits[third == i])
            for i, name in enumerate(('small', 'medium', 'large'))
            if (third == i).any()
        }
        return {f'region_{probe}': _percent(hits), **by_size}

    def _hits(self, probe: str, features: tuple, labels: tuple) -> np.ndarray:
        """Whether each test row is classified right."""
        model = neighbour_classifier(self.neighbours) if probe == 'knn' else linear_classifier(self.strength)
        return model.fit(features[0], labels[0]).predict(features[1]) == labels[1]

    def _image_map(self, bank: list[dict], rest: list[dict]) -> float:
        from sklearn.metrics import average_precision_score

        present = [[set(row['box_labels']) for row in rows] for rows in (bank, rest)]
        precisions = []
        for label in sorted(set.union(*present[0])):
            fitted, tested = (np.array([label in labels for labels in rows]) for rows in present)
            if fitted.all() or not tested.any():
                continue
            model = linear_classifier(self.strength).fit(_stack(bank, 'feature'), fitted)
            precisions.append(average_precision_score(tested, model.decision_function(_stack(rest, 'feature'))))
        return 100 * float(np.mean(precisions)) if precisions else float('nan')


def _stack(rows: list[dict], key: str) -> np.ndarray:
    return np.stack([row[key] for row in rows])


def _join(rows: list[dict], key: str) -> np.ndarray:
    return np.concatenate([row[key] for row in rows])


def _percent(hits: np.ndarray) -> float:
    return 100 * float(hits.mean())
