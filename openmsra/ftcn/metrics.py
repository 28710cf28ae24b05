"""How well scores tell forged videos from real ones: area under the ROC curve and its companions."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from openmsra.registry import METRICS


def detection_figures(labels: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """AUC (ties count one half), EER, AP and accuracy in percent of labels (n,), 1 is fake, and scores (n,).

    With one class only AUC, EER and AP are undefined and come out as NaN.

    Raises:
        FloatingPointError: a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise FloatingPointError('scores are not finite: the training has diverged; lower the learning rate.')
    accuracy = 100 * float(np.mean((scores >= threshold) == labels))
    if len(set(labels.tolist())) < 2:
        return dict(AUC=float('nan'), EER=float('nan'), AP=float('nan'), acc=accuracy)
    auc, precision = roc_auc_score(labels, scores), average_precision_score(labels, scores)
    return dict(AUC=100 * float(auc), EER=100 * equal_error_rate(labels, scores), AP=100 * float(precision), acc=accuracy)


def equal_error_rate(labels: np.ndarray, scores: np.ndarray) -> float:
    """Rate at which false alarms and misses are equally frequent, interpolated on the ROC curve."""
    alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    gap = alarms - (1 - hits)
    after = int(np.argmax(gap >= 0))
    before = max(after - 1, 0)
    share = 0.0 if gap[after] == gap[before] else -gap[before] / (gap[after] - gap[before])
    return float(alarms[before] + share * (alarms[after] - alarms[before]))


@METRICS.register_module()
class VideoForgeryMetric(BaseMetric):
    """Clip- and video-level AUC, EER, AP and accuracy, and the video AUC of each manipulation against all reals.

    The score of a video is the mean of its clips' probabilities.

    Args:
        threshold: probability from which a clip or a video counts as fake.
    """

    default_prefix = 'forgery'

    def __init__(self, threshold: float = 0.5, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.threshold = threshold

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            self.results.append((sample['video'], sample['method'], sample['gt_label'], sample['pred_score']))

    def compute_metrics(self, results: list[tuple[str, str, int, float]]) -> dict[str, float]:
        clips, videos, facts = np.array([row[2:] for row in results]).T, defaultdict(list), {}
        for video, method, label, score in results:
            if facts.setdefault(video, (method, label)) != (method, label):
                raise ValueError(f'video {video!r} is given as {facts[video]} and as {(method, label)}')
            videos[video].append(score)
        names = sorted(videos)
        labels = np.array([facts[name][1] for name in names])
        scores = np.array([np.mean(videos[name]) for name in names])
        figures = {f'clip_{key}': value for key, value in detection_figures(*clips, self.threshold).items()}
        figures |= {f'video_{key}': value for key, value in detection_figures(labels, scores, self.threshold).items()}
        if len(set(labels.tolist())) < 2:
            print_log('All videos belong to one class: AUC, EER and AP are undefined.', 'current', level=30)
            return figures
        methods = np.array([facts[name][0] for name in names])
        for method in sorted(set(methods[labels == 1])):
            chosen = (labels == 0) | (methods == method)
            figures[f'video_AUC_{method}'] = detection_figures(labels[chosen], scores[chosen])['AUC']
        return figures
