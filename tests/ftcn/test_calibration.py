"""A threshold that keeps its rate of false alarms, probabilities that are right, for the scores that they were made of only."""

import json
import runpy

import numpy as np
import pytest

from openmsra.errors import DataError
from openmsra.ftcn.calibration import Calibration, calibrate

PROVENANCE = dict(sha256='ab12', detector='haar', stride=8, aggregate='max')


def known_videos(count: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and true probabilities: logits of the scores are 3 times those of the truth, minus 2."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, count)
    truth = 1 / (1 + np.exp(-logits))
    return (rng.uniform(size=count) < truth).astype(int), 1 / (1 + np.exp(-(3 * logits - 2))), truth


def test_probabilities_are_those_that_the_videos_were_drawn_with():
    labels, scores, truth = known_videos()
    result = calibrate(labels, scores, 0.01, PROVENANCE)
    assert (result.slope, result.offset) == pytest.approx((1 / 3, 2 / 3), abs=0.05)
    np.testing.assert_allclose([result.probability(score) for score in scores], truth, atol=0.03)
    assert result.figures['brier'] < result.figures['brier_before']


@pytest.mark.parametrize('rate', [0.01, 0.05])
def test_the_threshold_is_the_smallest_that_keeps_the_rate(rate):
    labels, scores, _ = known_videos()
    scores = np.round(scores, 3)  # with ties
    threshold = calibrate(labels, scores, rate, PROVENANCE).threshold
    reals = scores[labels == 0]
    assert np.mean(reals >= threshold) <= rate < np.mean(reals >= max(reals[reals < threshold]))
    figures = calibrate(labels, scores, rate, PROVENANCE).figures
    assert figures['FPR'] == np.mean(reals >= threshold) < figures['FPR_high'] < rate + 0.02
    assert figures['TPR'] == np.mean(scores[labels == 1] >= threshold)


def test_too_few_reals_cannot_show_such_a_rate():
    labels, scores, _ = known_videos(60)
    with pytest.raises(DataError, match='needs at least 100 reals'):
        calibrate(labels, scores, 0.01, PROVENANCE)


def test_other_scores_are_refused(tmp_path):
    result = calibrate(*known_videos()[:2], 0.01, PROVENANCE)
    result.save(tmp_path / 'c.json')
    assert Calibration.load(tmp_path / 'c.json', PROVENANCE) == result
    with pytest.raises(DataError, match='stride 8, here 1'):
        Calibration.load(tmp_path / 'c.json', dict(PROVENANCE, stride=1))


def test_tool_reads_the_summary_of_the_video_tool(tmp_path):
    labels, scores, _ = known_videos(400)
    rows = [dict(video=f'/data/v{k}.mp4', score=score, **PROVENANCE) for k, score in enumerate(scores)]
    rows.append(dict(video='/data/no_face.mp4', score=None, **PROVENANCE))
    (tmp_path / 'summary.json').write_text(json.dumps(rows))
    (tmp_path / 'truth.txt').write_text('\n'.join(f'v{k}.mp4 {label}' for k, label in enumerate(labels)))
    tool, out = runpy.run_path('tools/analysis/ftcn_calibrate.py')['main'], tmp_path / 'c.json'
    arguments = [str(tmp_path / 'summary.json'), str(tmp_path / 'truth.txt'), '--fpr', '5', '--out', str(out)]
    tool(arguments)
    assert Calibration.load(out, PROVENANCE).threshold == calibrate(labels, scores, 0.05, PROVENANCE).threshold
    (tmp_path / 'summary.json').write_text(json.dumps([*rows, dict(rows[0], sha256='cd')]))
    with pytest.raises(DataError, match='scores of 2 networks'):
        tool(arguments)
    (tmp_path / 'summary.json').write_text(json.dumps(rows))
    (tmp_path / 'truth.txt').write_text('other.mp4 1')
    with pytest.raises(DataError, match='none of the 400 scored videos'):
        tool(arguments)
