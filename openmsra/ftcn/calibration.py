"""From scores to decisions: a threshold for a rate of false alarms, and probabilities, from videos whose truth is known."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from openmsra.common.annotations import read_json
from openmsra.errors import DataError

SAME = ('sha256', 'detector', 'stride', 'aggregate')  # other scores, if one of them differs
LEAST = 1e-6  # scores are kept so far from 0 and 1 before their logit is taken


@dataclass(frozen=True)
class Calibration:
    """How scores of one network with one setting are to be read.

    Attributes:
        threshold: score from which a video is called fake.
        slope, offset: a calibrated probability is sigmoid(slope * logit(score) + offset) (Platt).
        figures: what was measured on the videos of the calibration.
        provenance: of the scores, see :attr:`openmsra.ftcn.FTCNInferencer.provenance`.
    """

    threshold: float
    slope: float
    offset: float
    figures: dict[str, float]
    provenance: dict[str, object]

    def probability(self, score: float) -> float:
        """Of a forgery, if forgeries are as frequent as in the videos of the calibration."""
        return float(1 / (1 + np.exp(-(self.slope * _logit(score) + self.offset))))

    def save(self, file: Path) -> None:
        """As JSON."""
        file.write_text(json.dumps(asdict(self), indent=1) + '\n', encoding='utf-8')

    @classmethod
    def load(cls, file: Path, provenance: dict[str, object]) -> 'Calibration':
        """Read a file of :meth:`save` for scores of the given provenance.

        Raises:
            DataError: it was made for other weights, another detector or other settings; or it is no such file.
        """
        fields = dict(threshold=float, slope=float, offset=float, figures=dict, provenance=dict)
        stored = read_json(file, fields)
        other = [
            f'{key} {stored["provenance"].get(key)}, here {provenance[key]}'
            for key in SAME
            if stored['provenance'].get(key, provenance[key]) != provenance[key]
        ]
        if other:
            raise DataError(f'{file}: this calibration is for other scores ({"; ".join(other)}); calibrate anew.')
        return cls(**{name: stored[name] for name in fields})


def calibrate(labels: np.ndarray, scores: np.ndarray, false_alarms: float, provenance: dict[str, object]) -> Calibration:
    """Choose a threshold and fit probabilities.

    Args:
        labels, scores: (n,) of videos; 1 is fake.
        false_alarms: share (0..1) of the real videos that may be called fake. The threshold is the smallest that keeps it.
        provenance: of the scores.

    Raises:
        DataError: a class is missing, or there are too few reals to measure such a rate: one false alarm must be allowed.
    """
    from scipy.stats import beta
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import brier_score_loss, log_loss

    reals, fakes = scores[labels == 0], scores[labels == 1]
    if not len(fakes) or len(reals) * false_alarms < 1:
        raise DataError(
            f'{len(reals)} real and {len(fakes)} fake videos: a rate of false alarms of {false_alarms:.3g} needs at least '
            f'{int(np.ceil(1 / false_alarms))} reals and a fake.'
        )
    allowed = int(len(reals) * false_alarms + 1e-9)
    threshold = float(np.nextafter(np.sort(reals)[::-1][allowed], np.inf)) if allowed < len(reals) else 0.0
    fit = LogisticRegression(C=1e6).fit(_logit(scores)[:, None], labels)
    result = Calibration(threshold, float(fit.coef_[0, 0]), float(fit.intercept_[0]), {}, provenance)
    probabilities = np.array([result.probability(score) for score in scores])
    alarms = int((reals >= threshold).sum())
    figures = dict(
        reals=len(reals),
        fakes=len(fakes),
        FPR=alarms / len(reals),
        FPR_high=float(beta.ppf(0.95, alarms + 1, len(reals) - alarms)) if alarms < len(reals) else 1.0,
        TPR=float((fakes >= threshold).mean()),
        brier_before=float(brier_score_loss(labels, scores)),
        brier=float(brier_score_loss(labels, probabilities)),
        log_loss=float(log_loss(labels, probabilities)),
    )
    return Calibration(threshold, result.slope, result.offset, figures, provenance)


def _logit(scores: float | np.ndarray) -> float | np.ndarray:
    clipped = np.clip(scores, LEAST, 1 - LEAST)
    return np.log(clipped / (1 - clipped))
