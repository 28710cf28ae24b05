"""How well scores tell forged videos from real ones: area under the ROC curve and its companions."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from openmsra.registry import METRICS

KEYS = ('AUC', 'EER', 'AP')  # of each manipulation


def detection_figures(labels: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """AUC (ties count one half), EER, AP and accuracy in percent of labels (n,), 1 is fake, and scores (n,).

    ``acc`` is at ``threshold``, ``acc_at_EER`` at ``EER_threshold``, where false alarms and misses are equally frequent. With
    one class only all but ``acc`` are undefined and come out as NaN.

    Raises:
        FloatingPointError: a score is not finite.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    if not np.isfinite(scores).all():
        raise FloatingPointError('scores are not finite: the training has diverged; lower the learning rate.')
    accuracy = 100 * float(np.mean((scores >= threshold) == labels))
    if len(set(labels.tolist())) < 2:
        return dict.fromkeys((*KEYS, 'acc_at_EER', 'EER_threshold'), float('nan')) | dict(acc=accuracy)
    auc, precision = roc_auc_score(labels, scores), average_precision_score(labels, scores)
    balanced = equal_error_threshold(labels, scores)
    return dict(
        AUC=100 * float(auc),
        EER=100 * equal_error_rate(labels, scores),
        AP=100 * float(precision),
        acc=accuracy,
        acc_at_EER=100 * float(np.mean((scores >= balanced) == labels)),
        EER_threshold=balanced,
    )


def equal_error_rate(labels: np.ndarray, scores: np.ndarray) -> float:
    """Rate at which false alarms and misses are equally frequent, interpolated on the ROC curve."""
    from sklearn.metrics import roc_curve

    alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    gap = alarms - (1 - hits)
    after = int(np.argmax(gap >= 0))
    before = max(after - 1, 0)
    share = 0.0 if gap[after] == gap[before] else -gap[before] / (gap[after] - gap[before])
    return float(alarms[before] + share * (alarms[after] - alarms[before]))


def equal_error_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The score from which on the rates of false alarms and misses are nearest to each other."""
    from sklearn.metrics import roc_curve

    alarms, hits, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    return float(thresholds[np.argmin(np.abs(alarms - (1 - hits)))])


@METRICS.register_module()
class VideoForgeryMetric(BaseMetric):
    """Clip- and video-level AUC, EER, AP and accuracy, and the figures of each manipulation against all reals.

    The score of a video is the mean probability of its clips, or with several faces the largest of their means.
    Videos in which no face was found have no score: their number is reported, and the video AUC once more with 0.5 for
    each of them (``with_faceless``).

    Args:
        threshold: probability from which a clip or a video counts as fake: chosen on other videos, e.g. the
            ``EER_threshold`` of a validation. ``acc_at_EER`` has its threshold from the videos that are judged.
        aggregate: 'max' over the faces of a video, or 'mean' over all clips whatever their face (the official code).
    """

    default_prefix = 'forgery'

    def __init__(
        self, threshold: float = 0.5, aggregate: str = 'max', collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        if aggregate not in ('max', 'mean'):
            raise ValueError(f"aggregate must be 'max' or 'mean', got {aggregate!r}")
        super().__init__(collect_device, prefix)
        self.threshold, self.aggregate = threshold, aggregate

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            key = sample['video'], sample.get('track', 0)
            self.results.append((*key, sample['method'], sample['gt_label'], sample['pred_score']))

    def compute_metrics(self, results: list[tuple[str, int, str, int, float]]) -> dict[str, float]:
        methods, labels, scores = self._videos(results)
        clips = np.array([row[3:] for row in results]).T
        figures = {f'clip_{key}': value for key, value in detection_figures(*clips, self.threshold).items()}
        figures |= {f'video_{key}': value for key, value in detection_figures(labels, scores, self.threshold).items()}
        faceless = [] if self.dataset_meta is None else self.dataset_meta.get('faceless', [])
        figures['faceless'] = len(faceless)
        if len(set(labels.tolist())) < 2:
            print_log('All videos belong to one class: AUC, EER and AP are undefined.', 'current', level=30)
            return figures
        if faceless:
            every = np.append(labels, [row[2] for row in faceless]), np.append(scores, np.full(len(faceless), 0.5))
            figures['video_AUC_with_faceless'] = detection_figures(*every)['AUC']
        rows = {}
        for method in sorted(set(methods[labels == 1])):
            chosen = (labels == 0) | (methods == method)
            rows[method] = detection_figures(labels[chosen], scores[chosen], self.threshold)
            figures |= {f'video_{key}_{method}': rows[method][key] for key in KEYS}
        print_log('\n' + manipulation_table(rows), 'current')
        return figures

    def _videos(self, results: list[tuple[str, int, str, int, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Methods, labels and scores of the videos.

        Raises:
            ValueError: a video has two labels or methods.
        """
        faces, facts = defaultdict(lambda: defaultdict(list)), {}
        for video, track, method, label, score in results:
            if facts.setdefault(video, (method, label)) != (method, label):
                raise ValueError(f'video {video!r} is given as {facts[video]} and as {(method, label)}')
            faces[video][track if self.aggregate == 'max' else 0].append(score)
        names = sorted(faces)
        scores = np.array([max(np.mean(clips) for clips in faces[name].values()) for name in names])
        return np.array([facts[name][0] for name in names]), np.array([facts[name][1] for name in names]), scores


def manipulation_table(figures: dict[str, dict[str, float]]) -> str:
    """AUC, EER and AP of each manipulation as text."""
    width = max(map(len, [*figures, 'manipulation']))
    lines = [f'{"manipulation":{width}}' + ''.join(f'{key:>8}' for key in KEYS)]
    lines += [f'{name:{width}}' + ''.join(f'{row[key]:8.2f}' for key in KEYS) for name, row in figures.items()]
    return '\n'.join(lines)
