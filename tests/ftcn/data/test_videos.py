"""Face videos in a table: parts, windows, forgeries that are asked for, and what is said about bad tables and videos."""

import numpy as np
import pytest

from openmsra.common.video import read_video
from openmsra.errors import AnnotationError, DataError, MissingFileError, SplitError
from openmsra.ftcn import FaceVideos, ForgeFace, PackClip
from openmsra.ftcn.data.videos import COLUMNS, FORGED, PairedSampler
from tests.trees import faces, video, write_lines

HELD_OUT = ('person05', 'person09')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('faces')
    faces(folder)
    return folder


def dataset(root, split, pipeline=(), **options):
    return FaceVideos('list.csv', split, list(pipeline), data_root=str(root), **options)


def rows(data):
    return [data.get_data_info(i) for i in range(len(data))]


def test_people_who_are_held_out_are_the_validation(root):
    pipeline = [ForgeFace()]
    train = {row['person'] for row in rows(dataset(root, 'train', pipeline, forge=True, held_out=HELD_OUT))}
    val = {row['person'] for row in rows(dataset(root, 'val', pipeline, forge=True, held_out=HELD_OUT))}
    assert val == set(HELD_OUT) and train == {'person00', 'person01', 'person16', 'person22'}
    test = rows(dataset(root, 'test'))
    assert {row['method'] for row in test} == {'real', 'edtalk', 'aniportrait', 'sadtalker'}
    assert {row['method'] for row in rows(dataset(root, 'test', methods=['edtalk']))} == {'real', 'edtalk'}


def test_every_real_video_is_forged_once(root):
    data = rows(dataset(root, 'train', [ForgeFace()], forge=True, clips_per_video=3))
    assert len(data) == 2 * 6 * 3
    assert [row['gt_label'] for row in data].count(1) == 18
    assert {row['method'] for row in data if row['gt_label']} == {FORGED}
    assert {row['person'] for row in data if row['gt_label']} == {row['person'] for row in data if not row['gt_label']}


def test_windows_are_those_of_the_video(root):
    data, (frames, _) = dataset(root, 'test', methods=[], clips_per_video=3), read_video(root / 'real/006.avi')
    chosen = [row['start'] for row in rows(data) if row['video'] == 'real/006.avi']
    assert chosen == [0, 4, 8]
    np.testing.assert_array_equal(data[1]['clip'], frames[4:36])
    assert data[1]['frames'].tolist() == list(range(4, 36))


def test_forgery_is_of_the_window_before_it(root):
    data = dataset(root, 'test', [ForgeFace(seed=0), PackClip()], forge=True, methods=[])
    assert data.pairs() == [[k, k + 1] for k in range(0, len(data), 2)]
    for real, made in data.pairs():
        first, second = data[real], data[made]
        assert [item['data_samples'].gt_label for item in (first, second)] == [0, 1]
        assert first['data_samples'].frames.tolist() == second['data_samples'].frames.tolist()
        assert 0.02 < (first['inputs'] != second['inputs']).float().mean() < 0.9


def test_listed_forgeries_have_no_pair(root):
    data = dataset(root, 'test', [ForgeFace()], forge=True, clips_per_video=1)
    assert sorted(map(len, data.pairs())) == [1, 1, 1, 2, 2]


@pytest.mark.parametrize('ranks', [1, 2])
def test_sampler_keeps_pairs_together_and_shuffles_them(root, ranks, monkeypatch):
    data = dataset(root, 'train', [ForgeFace()], forge=True, clips_per_video=3)
    orders = {}
    for rank in range(ranks):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, ranks))
        sampler = PairedSampler(data, seed=3)
        orders[rank] = list(sampler)
        assert len(orders[rank]) == len(sampler) == len(data) // ranks
        assert all(b == a + 1 and a % 2 == 0 for a, b in zip(orders[rank][::2], orders[rank][1::2], strict=True))
        assert orders[rank] == list(sampler)
        sampler.set_epoch(1)
        assert orders[rank] != list(sampler)
    assert sorted(sum(orders.values(), [])) == list(range(len(data)))


def test_frames_are_scaled_and_must_be_square(root, tmp_path):
    assert dataset(root, 'test', size=56)[0]['clip'].shape == (32, 56, 56, 3)
    video(tmp_path / 'wide.avi', (160, 120), 40)
    write_lines(tmp_path / 'list.csv', [','.join(COLUMNS), 'wide.avi,0,real,a,test'])
    with pytest.raises(DataError, match='160 x 120 pixels'):
        dataset(tmp_path, 'test')[0]


@pytest.mark.parametrize(
    'lines, error, said',
    [
        (['path,label,method,split', 'a.avi,0,real,test'], AnnotationError, 'no column identity'),
        ([], AnnotationError, 'no column path, label'),
        ([','.join(COLUMNS), 'a.avi,real,real,p,test'], AnnotationError, "line 2: label must be 0 or 1, it is 'real'"),
        ([','.join(COLUMNS), 'a.avi,0,real'], AnnotationError, 'line 2: fewer entries than columns'),
        ([','.join(COLUMNS), 'b.avi,0,real,p,test'], MissingFileError, 'b.avi: there is no such video'),
        ([','.join(COLUMNS), '../a.avi,0,real,p,test'], AnnotationError, 'leads out of'),
        ([','.join(COLUMNS), 'short.avi,0,real,p,test'], DataError, '20 frames are fewer than a window of 32'),
        ([','.join(COLUMNS), 'a.avi,0,real,p,train'], SplitError, "the part 'test' needs videos, 0 found"),
    ],
)
def test_bad_tables_are_named(lines, error, said, tmp_path):
    video(tmp_path / 'a.avi', (112, 112), 40)
    video(tmp_path / 'short.avi', (112, 112), 20)
    write_lines(tmp_path / 'list.csv', lines)
    with pytest.raises(error, match=said):
        dataset(tmp_path, 'test')


def test_labels_without_forgeries_behind_them_are_refused(root):
    with pytest.raises(DataError, match='no ForgeFace'):
        dataset(root, 'train', forge=True)
    with pytest.raises(SplitError, match='needs real .* or forge=True, 24 found|6 found'):
        dataset(root, 'train')
    with pytest.raises(SplitError, match='held out, but not in the training part: person03'):
        dataset(root, 'val', held_out=('person03',))
    with pytest.raises(MissingFileError, match='list.csv'):
        dataset(root / 'real', 'test')
