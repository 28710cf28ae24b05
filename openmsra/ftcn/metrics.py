"""How well scores tell forged videos from real ones: area under the ROC curve and its companions."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from openmsra.registry import METRICS

KEYS = ('AUC', 'EER', 'AP')  # of each manipulation
FALSE_ALARMS = (1, 5)  # percent of the real videos, at which the share of found forgeries is reported


def detection_figures(labels: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """AUC (ties count one half), EER, AP, hits and accuracy in percent of labels (n,), 1 is fake, and scores (n,).

    ``TPR_at_FPR1`` is the share of the forgeries that a threshold finds which calls no more than 1 % of the reals fake.

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
        hits = [f'TPR_at_FPR{rate}' for rate in FALSE_ALARMS]
        return dict.fromkeys((*KEYS, *hits, 'acc_at_EER', 'EER_threshold'), float('nan')) | dict(acc=accuracy)
    auc, precision = roc_auc_score(labels, scores), average_precision_score(labels, scores)
    balanced = equal_error_threshold(labels, scores)
    return dict(
        AUC=100 * float(auc),
        EER=100 * equal_error_rate(labels, scores),
        AP=100 * float(precision),
        **{f'TPR_at_FPR{rate}': 100 * hit_rate(labels, scores, rate / 100) for rate in FALSE_ALARMS},
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


def hit_rate(labels: np.ndarray, scores: np.ndarray, false_alarms: float) -> float:
    """Largest true positive rate of a threshold whose false positive rate is at most ``false_alarms`` (0..1)."""
    from sklearn.metrics import roc_curve

    alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    return float(hits[alarms <= false_alarms].max())


def auc_interval(
    labels: np.ndarray, scores: np.ndarray, people: np.ndarray, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the AUC in percent: people, with all of their videos, are drawn with replacement.

    The videos of one person stand or fall together, so that they are no independent witnesses. NaN, where an interval means
    nothing: one class only, or draws most of which lack a class.

    Args:
        labels, scores, people: (n,) of each video.
    """
    values = drawn_aucs(labels, scores, people, draws, seed)
    if np.isnan(values).mean() > 0.5:
        return float('nan'), float('nan')
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return 100 * float(low), 100 * float(high)


def drawn_aucs(labels: np.ndarray, scores: np.ndarray, people: np.ndarray, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """AUC (draws,), 0..1, of people drawn with replacement, with all of their videos; NaN for a draw that lacks a class.

    The draws follow from the people and the seed alone: two sets of scores of the same videos can be compared draw by draw.
    """
    names, person = np.unique(people, return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = np.stack([np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names)) for _ in range(draws)])
    weights = counts[:, person].astype(np.float32)
    fakes, reals = weights[:, labels == 1], weights[:, labels == 0]
    gap = scores[labels == 1][:, None] - scores[labels == 0][None]
    won = ((np.sign(gap) + 1) / 2).astype(np.float32)
    pairs = fakes.sum(1) * reals.sum(1)
    return np.divide(((fakes @ won) * reals).sum(1), pairs, out=np.full(draws, np.nan), where=pairs > 0)


def equal_error_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The score from which on the rates of false alarms and misses are nearest to each other."""
    from sklearn.metrics import roc_curve

    alarms, hits, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    return float(thresholds[np.argmin(np.abs(alarms - (1 - hits)))])


class ClipScore(NamedTuple):
    """The score of one clip: of which face (``track``) of which video, made how, from which frames of it (T,)."""

    video: str
    track: int
    method: str
    label: int
    score: float
    person: str | None = None
    frames: np.ndarray | None = None


@METRICS.register_module()
class VideoForgeryMetric(BaseMetric):
    """Clip-, frame- and video-level AUC, EER, AP, hits and accuracy, and the figures of each manipulation against all reals.

    The score of a video is the mean probability of its clips, or with several faces the largest of their means; that of a frame
    likewise, over the clips that contain it. ``video_AUC_low`` and ``_high`` are the 95 % interval of the AUC, over people.
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
            facts = sample['method'], sample['gt_label'], sample['pred_score'], sample.get('person'), sample.get('frames')
            self.results.append((sample['video'], sample.get('track', 0), *facts))

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        """All figures of the fields of :class:`ClipScore`."""
        clips = [ClipScore(*row) for row in results]
        methods, labels, scores, people = self._videos(clips)
        of_clips = np.array([clip.label for clip in clips]), np.array([clip.score for clip in clips])
        figures = {f'clip_{key}': value for key, value in detection_figures(*of_clips, self.threshold).items()}
        figures |= {f'video_{key}': value for key, value in detection_figures(labels, scores, self.threshold).items()}
        figures['video_AUC_low'], figures['video_AUC_high'] = auc_interval(labels, scores, people)
        if all(clip.frames is not None for clip in clips):
            figures['frame_AUC'] = detection_figures(*self._frames(clips))['AUC']
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

    def _videos(self, clips: list[ClipScore]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Methods, labels, scores and people of the videos.

        Raises:
            ValueError: a video has two labels or methods.
        """
        faces, facts = defaultdict(lambda: defaultdict(list)), {}
        for clip in clips:
            known = facts.setdefault(clip.video, (clip.method, clip.label, clip.person or clip.video))
            if known[:2] != (clip.method, clip.label):
                raise ValueError(f'video {clip.video!r} is given as {known[:2]} and as {(clip.method, clip.label)}')
            faces[clip.video][clip.track if self.aggregate == 'max' else 0].append(clip.score)
        names = sorted(faces)
        scores = np.array([max(np.mean(values) for values in faces[name].values()) for name in names])
        methods, labels, people = (np.array([facts[name][k] for name in names]) for k in range(3))
        return methods, labels, scores, people

    def _frames(self, clips: list[ClipScore]) -> tuple[np.ndarray, np.ndarray]:
        """Labels and scores of the frames that a clip contains."""
        faces, labels = defaultdict(lambda: defaultdict(list)), {}
        for clip in clips:
            labels[clip.video] = clip.label
            faces[clip.video][clip.track if self.aggregate == 'max' else 0].append(clip)
        rows = []
        for video, tracks in faces.items():
            best: dict[int, float] = {}
            for group in tracks.values():
                frames = [np.unique(clip.frames) for clip in group]  # a mirrored clip holds a frame twice
                scores = np.repeat([clip.score for clip in group], list(map(len, frames)))
                numbers, index = np.unique(np.concatenate(frames), return_inverse=True)
                means = np.bincount(index, scores) / np.bincount(index)
                best |= {number: max(best.get(number, 0.0), mean) for number, mean in zip(numbers, means, strict=True)}
            rows += [(labels[video], score) for score in best.values()]
        return tuple(map(np.array, zip(*rows, strict=True)))


def manipulation_table(figures: dict[str, dict[str, float]]) -> str:
    """AUC, EER and AP of each manipulation as text."""
    width = max(map(len, [*figures, 'manipulation']))
    lines = [f'{"manipulation":{width}}' + ''.join(f'{key:>8}' for key in KEYS)]
    lines += [f'{name:{width}}' + ''.join(f'{row[key]:8.2f}' for key in KEYS) for name, row in figures.items()]
    return '\n'.join(lines)
