"""Clips, views, moving patches, lists; retrieval figures against loops."""

import cv2
import numpy as np
import pytest
import torch

import openmsra.mcn  # noqa: F401 - registers everything
from openmsra.common.probes import normalised, ranking, retrieval_figures
from openmsra.errors import AnnotationError, DataError, VideoError
from openmsra.mcn.data.sampler import RecordingSampler
from openmsra.mcn.data.transforms import ClipJitter
from openmsra.mcn.data.videos import clip_indices, read_list, video_id
from openmsra.mcn.evaluation.retrieval import VideoRetrieval
from openmsra.miniatures.motions import FRAMES, MOTIONS, moving_patch
from openmsra.registry import DATASETS, MODELS, TRANSFORMS
from tests.references import mcn as reference


@pytest.fixture(scope='session')
def videos(tmp_path_factory):
    """Two real videos; frame k has the brightness 8 k. A third file is broken."""
    folder = tmp_path_factory.mktemp('videos')
    for name, count in (('a b.avi', 24), ('c.avi', 5)):
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter_fourcc(*'MJPG'), 25, (32, 24))
        for number in range(count):
            writer.write(np.full((24, 32, 3), 8 * number, np.uint8))
        writer.release()
    (folder / 'broken.avi').write_bytes(b'nothing')
    (folder / 'list.txt').write_text('a b.avi 3\nc.avi 1\nbroken.avi 0\n')
    return folder


def clips_of(videos, **options):
    options = dict(clips=3, clip_len=4, interval=2, pipeline=[]) | options
    return DATASETS.build(dict(type='VideoClips', ann_file=str(videos / 'list.txt'), data_root=str(videos), **options))


@pytest.mark.parametrize('backend', ['decord', 'opencv'])
def test_clips_hold_the_right_frames(videos, backend):
    item = clips_of(videos, sampling='uniform', backend=backend)[0]
    brightness = item['inputs'].float().mean((1, 3, 4)) / 8
    np.testing.assert_allclose(brightness, [[0, 2, 4, 6], [8, 10, 12, 14], [17, 19, 21, 23]], atol=0.3)
    sample = item['data_samples']
    assert (sample.video, sample.gt_label, sample.video_id) == ('a b.avi', 3, video_id('a b.avi'))
    assert item['inputs'].shape == (3, 3, 4, 24, 32) and item['inputs'].dtype == torch.uint8


def test_short_video_is_looped_and_broken_one_named(videos):
    dataset = clips_of(videos, sampling='uniform')
    np.testing.assert_allclose(dataset[1]['inputs'].float().mean((1, 3, 4))[0] / 8, [0, 2, 4, 1], atol=0.3)
    with pytest.raises(VideoError, match='broken.avi'):
        dataset.prepare_data(2)


def test_recording_is_cut_into_pieces(videos):
    """24 frames in pieces of 10: 0 to 9, 10 to 19, the rest of 4 is left out; 5 frames are half a piece."""
    dataset = clips_of(videos, sampling='uniform', piece=10, clip_len=2, interval=3, clips=2)
    names = [dataset.get_data_info(number)['video'] for number in range(len(dataset))]
    assert names == ['a b.avi#0', 'a b.avi#10', 'c.avi#0', 'broken.avi#0']
    brightness = [dataset[number]['inputs'].float().mean((1, 3, 4)) / 8 for number in range(3)]
    np.testing.assert_allclose(brightness, [[[0, 3], [6, 9]], [[10, 13], [16, 19]], [[0, 3], [1, 4]]], atol=0.3)
    assert dataset[0]['data_samples'].video_id != dataset[1]['data_samples'].video_id
    with pytest.raises(VideoError, match='broken.avi'):
        dataset.prepare_data(3)
    with pytest.raises(ValueError, match='piece=3 frames, but a clip spans 4'):
        clips_of(videos, piece=3, clip_len=4, interval=1)


def test_frames_that_are_kept_are_those_that_are_read(videos, monkeypatch):
    plain, kept = (clips_of(videos, sampling='uniform', piece=10, in_memory=stays) for stays in (False, True))
    first = kept[1]['inputs']
    torch.testing.assert_close(first, plain[1]['inputs'], rtol=0, atol=0)
    monkeypatch.setattr('openmsra.mcn.data.videos.read_frames', None)
    torch.testing.assert_close(kept[1]['inputs'], first, rtol=0, atol=0)


def test_random_clips_are_independent_and_inside():
    np.random.seed(0)
    starts = np.stack([clip_indices(50, 2, 4, 3, 'random') for _ in range(2000)])
    assert starts.min() == 0 and starts.max() == 49
    assert abs(np.corrcoef(starts[:, 0, 0], starts[:, 1, 0])[0, 1]) < 0.06
    assert len(np.unique(starts[:, 0, 0])) == 41
    assert clip_indices(1, 2, 3, 2, 'random').tolist() == [[0, 0, 0]] * 2
    with pytest.raises(ValueError, match='without frames'):
        clip_indices(0, 2, 3, 2, 'random')


def test_lists(tmp_path, videos):
    file = tmp_path / 'list.txt'
    file.write_text('v (1) #2; [x]!.avi 7\n\nwithout label.avi\n')
    assert read_list(file) == [('v (1) #2; [x]!.avi', 7), ('without label.avi', -1)]
    file.write_text('a.avi  3\nhalf².avi ²\n  b c.avi\n')  # a power is a digit, but no number
    assert read_list(file) == [('a.avi', 3), ('half².avi ²', -1), ('b c.avi', -1)]
    with pytest.raises(FileNotFoundError, match='dataset_converters'):
        DATASETS.build(dict(type='VideoClips', ann_file='no.txt', data_root='.', pipeline=[]))
    for outside in ('../v.avi 1', '/v.avi 1'):
        file.write_text(outside)
        with pytest.raises(AnnotationError, match='leads out of'):
            DATASETS.build(dict(type='VideoClips', ann_file=str(file), data_root=str(tmp_path), pipeline=[]))
    file.write_text('\n')
    with pytest.raises(ValueError, match='list is empty'):
        DATASETS.build(dict(type='VideoClips', ann_file=str(file), data_root='.', pipeline=[]))


def test_views_are_the_same_for_all_frames_of_a_clip():
    """A clip that does not change must not begin to move; a change of brightness must stay one."""
    frame = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    pipeline = [
        dict(type='mmaction.RandomResizedCrop'),
        dict(type='mmaction.Resize', scale=(16, 16), keep_ratio=False),
        dict(type='mmaction.Flip'),
        dict(type='ClipJitter', jitter_prob=1.0),
    ]
    steps = [TRANSFORMS.build(step) for step in pipeline]
    seen = set()
    for seed in range(8):
        np.random.seed(seed)
        results = dict(imgs=[frame] * 5, img_shape=(40, 40), original_shape=(40, 40), modality='RGB', num_clips=1, clip_len=5)
        for step in steps:
            results = step(results)
        assert all(np.array_equal(results['imgs'][0], image) for image in results['imgs'])
        seen.add(results['imgs'][0].tobytes())
    assert len(seen) == 8


def test_jitter_by_hand():
    clip = np.random.default_rng(0).integers(60, 180, (2, 4, 4, 3)).astype(np.uint8)
    nothing = ClipJitter(0, 0, 0, 0, 1.0, 0.0, 0.0).transform(dict(imgs=list(clip)))['imgs']
    np.testing.assert_allclose(np.stack(nothing), clip, atol=1)
    grey = np.stack(ClipJitter(0, 0, 0, 0, 0.0, 1.0, 0.0).transform(dict(imgs=list(clip)))['imgs'])
    assert (grey[..., 0] == grey[..., 2]).all()
    np.testing.assert_allclose(grey[..., 0], clip @ [0.299, 0.587, 0.114], atol=1)


@pytest.mark.parametrize('motion', ['right', 'up', 'grow'])
def test_patches_move_as_their_class_says(motion):
    """Where the video differs from its first frame, weighted by how much: the centre moves, or the area grows."""
    rng = np.random.default_rng(3)
    video = moving_patch(motion, 'train', rng, drift=0.0).astype(float)
    assert video.shape == (FRAMES, 40, 40, 3)
    still = np.median(video, axis=0)
    patch = np.abs(video - still).sum(-1) > 40
    rows, columns = (np.array([np.nonzero(mask)[axis].mean() for mask in patch]) for axis in (0, 1))
    area = patch.sum((1, 2))
    if motion == 'right':
        assert columns[-3:].mean() > columns[:3].mean() + 5
    elif motion == 'up':
        assert rows[-3:].mean() < rows[:3].mean() - 5
    else:
        assert area[-1] > 1.5 * area[8]


def test_moving_patches_are_reproducible_and_balanced():
    options = dict(type='MovingPatches', split='test', count=16, pipeline=[], clips=2, clip_len=9, interval=1, sampling='uniform')
    one, other = DATASETS.build(options), DATASETS.build({**options, 'seed': 1})
    assert [one.get_data_info(k)['label'] for k in range(16)] == [*range(8)] * 2 and len(MOTIONS) == 8
    assert torch.equal(one[3]['inputs'], DATASETS.build(options)[3]['inputs'])
    assert not torch.equal(one[3]['inputs'], other[3]['inputs'])


def test_residual_input():
    clip = torch.randint(0, 256, (2, 3, 4, 5, 5), dtype=torch.uint8)
    plain, residual = (MODELS.build(dict(type='ClipDataPreprocessor', residual=flag)) for flag in (False, True))
    frames = plain(dict(inputs=clip))['inputs']
    torch.testing.assert_close(residual(dict(inputs=clip))['inputs'], frames[:, :, 1:] - frames[:, :, :-1])
    torch.testing.assert_close(frames[:, 0], (clip[:, 0] - 123.675) / 58.395)


def test_retrieval_by_hand():
    gallery, labels = np.array([[1.0, 0], [0, 1], [-1, 0]]), np.array([0, 1, 2])
    ranks = ranking(normalised(np.array([[0.9, 0.1]]), ['q']), gallery)
    figures, by_class = retrieval_figures(ranks, np.array([1]), labels, (1, 2))
    assert (figures['R@1'], figures['R@2'], figures['mAP']) == (0, 100, 50)
    assert by_class == {1: {'R@1': 0, 'R@2': 100}}


def test_retrieval_equals_the_loop():
    rng = np.random.default_rng(0)
    for _ in range(20):
        queries, gallery = rng.normal(size=(7, 3)).round(1) + 0.01, rng.normal(size=(9, 3)).round(1) + 0.01
        wanted, present = rng.integers(0, 4, 7), rng.integers(0, 3, 9)
        ranks = ranking(normalised(queries, [''] * 7), normalised(gallery, [''] * 9))
        figures, _ = retrieval_figures(ranks, wanted, present, (1, 3, 9))
        for k in (1, 3, 9):
            assert figures[f'R@{k}'] == pytest.approx(100 * reference.recall_at(queries, gallery, wanted, present, k))
        pairs = [(present[row], label) for row, label in zip(ranks, wanted, strict=True) if label in present]
        assert figures['mAP'] == pytest.approx(100 * np.mean([reference.average_precision(*pair) for pair in pairs]))
        assert figures['R@1'] <= figures['R@3'] <= figures['R@9']
        chance = np.mean([np.mean(present == label) for label in wanted])
        assert figures['chance'] == pytest.approx(100 * chance)


def test_constant_features_give_the_first_gallery_video():
    ranks = ranking(np.ones((4, 2)) / 2**0.5, np.ones((3, 2)) / 2**0.5)
    figures, _ = retrieval_figures(ranks, np.array([0, 1, 1, 2]), np.array([1, 0, 2]), (1,))
    assert ranks.tolist() == [[0, 1, 2]] * 4 and figures['R@1'] == 50


def sample(video, label, role, feature):
    return dict(video=video, gt_label=label, role=role, feature=torch.tensor(feature))


def test_metric_and_bad_input(tmp_path):
    gallery = [sample('g0', 0, 'gallery', [1.0, 0.0]), sample('g1', 1, 'gallery', [0.0, 1.0])]
    query = [sample('q0', 0, 'query', [0.9, 0.1]), sample('q1', 1, 'query', [0.9, 0.2])]

    def figures(rows, **options):
        metric = VideoRetrieval(**options)
        metric.process({}, rows)
        return metric.compute_metrics(metric.results)

    found = figures(gallery + query, topk=(1, 2), probe=1.0, features=str(tmp_path / 'f.npz'))
    assert (found['R@1'], found['R@2'], found['chance']) == (50, 100, 50) and 'probe' in found
    assert np.load(tmp_path / 'f.npz')['query_video'].tolist() == ['q0', 'q1']
    for rows, options, word in (
        (gallery + query, dict(topk=(3,)), 'R@3 needs as many'),
        (gallery, dict(topk=(1,)), "role 'query'"),
        (gallery + query + [sample('g0', 0, 'query', [1.0, 1.0])], dict(topk=(1,)), 'first is g0'),
        (gallery + [sample('zero', 0, 'query', [0.0, 0.0])], dict(topk=(1,)), 'zero: its feature is zero'),
        (gallery + [sample('nan', 0, 'query', [float('nan'), 0.0])], dict(topk=(1,)), 'nan: its feature'),
        (gallery + [sample('blank', -1, 'query', [1.0, 0.0])], dict(topk=(1,)), 'no label, the first is blank'),
    ):
        with pytest.raises(ValueError, match=word):
            figures(rows, **options)


class Recordings:
    """Paths of three recordings with 5, 9 and 2 clips."""

    videos = [f'clips/{action}/2020_{recording}_{number:02d}.mp4' for recording, count in ((1, 5), (2, 9), (3, 2))
              for number, action in zip(range(count), ('fall', 'walk') * 5)]  # fmt: skip

    def __len__(self):
        return len(self.videos)

    def get_data_info(self, number):
        return dict(video=self.videos[number])


def test_a_group_is_of_one_recording():
    """5, 9 and 2 clips give 1 + 2 + 0 groups of 4; another epoch has other ones."""
    rows, seen = Recordings(), []
    sampler = RecordingSampler(rows, group=4, recording=r'\d+_\d', seed=3)
    for epoch in range(30):
        sampler.set_epoch(epoch)
        groups = np.array(list(sampler)).reshape(-1, 4)
        assert len(sampler) == groups.size == 12 and len(np.unique(groups)) == 12
        for group in groups:
            assert len({rows.videos[number].split('_')[1] for number in group}) == 1
        seen.append(groups)
    assert set(np.concatenate(seen).ravel()) == set(range(14)), 'all clips of recordings that are long enough'
    assert not np.array_equal(seen[0], seen[1])
    sampler.set_epoch(0)
    np.testing.assert_array_equal(np.array(list(sampler)).reshape(-1, 4), seen[0])


def test_ranks_share_the_groups(monkeypatch):
    drawn = []
    for rank in range(2):
        sampler = RecordingSampler(Recordings(), group=2, recording=r'\d+_\d', seed=0)
        monkeypatch.setattr(sampler, 'rank', rank)
        sampler.world_size, sampler.num_samples = 2, sampler.groups // 2 * 2
        drawn.append(list(sampler))
    assert len(drawn[0]) == len(drawn[1]) == 6 and not set(drawn[0]) & set(drawn[1])


def test_recordings_that_cannot_be_grouped_are_named():
    with pytest.raises(DataError, match='the largest has 9'):
        RecordingSampler(Recordings(), group=10, recording=r'\d+_\d')
    with pytest.raises(DataError, match='finds no recording'):
        RecordingSampler(Recordings(), group=2, recording='camera')
