"""From downloaded videos to clips: layouts, the converter, and that a prepared clip is the one the inferencer sees."""

import json
import runpy
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from openmsra.common.video import VideoFile
from openmsra.errors import DataError, ImageError, ToolError, UserError
from openmsra.ftcn import FaceClips, PackClip
from openmsra.ftcn.faces.align import align_clip, template
from openmsra.ftcn.faces.detectors import Face
from openmsra.ftcn.faces.layouts import celebdf, dfdc, ffpp, plain_list
from openmsra.ftcn.faces.prepare import Preparation, clip_lines, prepare_video, require_space
from openmsra.ftcn.faces.tracking import loose_crop
from tests.references.face_tracks import track_faces

ASTRONAUT = data.astronaut()


def film(path, count=12, faces=1):
    """A pan over the astronaut (one face), twice beside each other, or over nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [np.ascontiguousarray(ASTRONAUT[0:240, 80 + 2 * k : 320 + 2 * k]) for k in range(count)]
    frames = [np.hstack([frame] * faces) if faces else 0 * frame for frame in frames]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 25, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def empty(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b'')


def square_faces(video, *lefts):
    """Given faces for all of the 12 frames."""
    return [[dict(box=[left - 2 * k, 60, left + 100 - 2 * k, 160]) for left in lefts] for k in range(12)]


def ids(rows, **wanted):
    return [row['video'].rpartition('/')[2] for row in rows if wanted.items() <= row.items()]


@pytest.fixture
def root(tmp_path):
    """FF++ with one pair a split; Deepfakes, FaceShifter and DeeperForensics are there."""
    (tmp_path / 'splits').mkdir()
    for split, pair in dict(train=['000', '003'], val=['010', '011'], test=['020', '021']).items():
        (tmp_path / 'splits' / f'{split}.json').write_text(json.dumps([pair]))
    return tmp_path


def test_ffpp_has_pairs_in_both_directions_and_only_what_is_there(root):
    fakes = 'manipulated_sequences'
    empty(
        root,
        f'{fakes}/Deepfakes/c23/videos/000_003.mp4',
        f'{fakes}/DeeperForensics/c23/videos/021_W004.mp4',
        f'{fakes}/DeeperForensics/c40/videos/020_W004.mp4',
        'original_sequences/youtube/c23/videos/000.mp4',
    )
    (root / f'{fakes}/FaceShifter/c23/frames/021_020').mkdir(parents=True)
    rows = ffpp(root)
    assert ids(rows, split='train') == ['000.mp4', '003.mp4', *(f'{name}.mp4' for name in ('000_003', '003_000'))] + [
        '000_003.mp4',
        '003_000.mp4',
    ]
    assert ids(rows, split='test', label=0) == ['020.mp4', '021.mp4']
    assert ids(rows, split='test', method='DeeperForensics') == ['021_W004.mp4']
    shifted = [row for row in rows if row['method'] == 'FaceShifter' and row['source'] == '021']
    assert [row['video'] for row in shifted] == [f'{fakes}/FaceShifter/c23/frames/021_020']
    assert {row['method'] for row in rows} == {'real', 'Deepfakes', 'FaceShifter', 'DeeperForensics'}
    (root / 'splits/test.json').write_text('[["003", "021"]]')
    with pytest.raises(ToolError, match='test and train share the ids 003'):
        ffpp(root)
    (root / 'splits/val.json').unlink()
    with pytest.raises(ToolError, match=r'val\.json: this list'):
        ffpp(root)


def test_celebdf_labels_are_turned_round(tmp_path):
    empty(tmp_path, 'Celeb-real/id0_0000.mp4', 'Celeb-synthesis/id0_id1_0000.mp4', 'Celeb-synthesis/id0_id2_0000.mp4')
    (tmp_path / 'List_of_testing_videos.txt').write_text('1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n')
    rows = celebdf(tmp_path)
    assert ids(rows, split='test', label=0) == ['00170.mp4'] and ids(rows, split='test', label=1) == ['id0_id1_0000.mp4']
    assert ids(rows, split='train') == ['id0_0000.mp4', 'id0_id2_0000.mp4']
    (tmp_path / 'List_of_testing_videos.txt').write_text('0 Celeb-real/id0_0000.mp4\n')
    with pytest.raises(ToolError, match='other class'):
        celebdf(tmp_path)


def test_dfdc_and_plain_lists(tmp_path):
    (tmp_path / 'metadata.json').write_text(json.dumps({'b.mp4': {'is_fake': 1}, 'a.mp4': {'is_fake': 0}}))
    assert [(row['video'], row['label'], row['method']) for row in dfdc(tmp_path)] == [
        ('test_videos/a.mp4', 0, 'real'),
        ('test_videos/b.mp4', 1, 'DFDC'),
    ]
    (tmp_path / 'labels.csv').write_text('filename,label\nc.mp4,1\n')
    assert ids(dfdc(tmp_path)) == ['c.mp4']
    (tmp_path / 'labels.csv').write_text('name,label\nc.mp4,1\n')
    with pytest.raises(ToolError, match=r'labels\.csv: not the labels of DFDC'):
        dfdc(tmp_path)
    (tmp_path / 'list.txt').write_text('x/a.mp4 0\nx/b.mp4 1 swap train\n')
    assert [(row['video'], row['method'], row['split']) for row in plain_list(tmp_path)] == [
        ('x/a.mp4', 'real', 'test'),
        ('x/b.mp4', 'swap', 'train'),
    ]
    (tmp_path / 'list.txt').write_text('x/a.mp4 fake\n')
    with pytest.raises(ToolError, match=r'list\.txt, line 1'):
        plain_list(tmp_path)
    (tmp_path / 'list.txt').write_text('x/a.mp4 0\nx/a.mp4 1\n')
    with pytest.raises(ToolError, match=r'line 2: x/a\.mp4 stands in the list already'):
        plain_list(tmp_path)


def test_prepared_clips_are_those_of_the_inferencer(tmp_path, monkeypatch):
    video = VideoFile(film(tmp_path / 'pan.mp4', 12))
    faces = [[face] for face in _boxes(tmp_path)]
    result = prepare_video(video, tmp_path / 'crops/pan', faces)
    assert [(track['first'], track['frames'], track['side']) for track in result['tracks']] == [(0, 12, 100)]
    line = dict(frames='crops/pan/0', video='pan', label=1, method='x', split='test')
    (tmp_path / 'clips.jsonl').write_text(json.dumps(line))
    clips = FaceClips('clips.jsonl', 'test', [PackClip()], clip_len=8, clip_stride=4, size=64, data_root=str(tmp_path))
    (track,) = track_faces(faces)
    crops, corners = zip(*(loose_crop(frame, box) for (frame, _), box in zip(video, track.boxes, strict=True)), strict=True)
    corners = np.array(corners)
    assert len(clips) == 2
    for item, start in zip(map(clips.__getitem__, range(2)), (0, 4), strict=True):
        part = slice(start, start + 8)
        expected = align_clip(crops[part], corners[part], track.landmarks[part], 64)
        np.testing.assert_array_equal(item['inputs'].numpy().transpose(1, 2, 3, 0), expected)
    (line,) = clip_lines(dict(video='pan', label=1, method='x', split='test'), result)
    assert (line['count'], line['suffix'], line['runs']) == (12, '.png', [[0, 12]])
    (tmp_path / 'clips.jsonl').write_text(json.dumps(line))
    with monkeypatch.context() as patch:
        patch.setattr('openmsra.ftcn.data.clips.images_of', None)  # nothing is listed
        stated = FaceClips('clips.jsonl', 'test', [PackClip()], clip_len=8, clip_stride=4, size=64, data_root=str(tmp_path))
        assert torch.equal(stated[1]['inputs'], clips[1]['inputs'])
    (tmp_path / 'crops/pan/0/000011.png').rename(tmp_path / 'last.png')
    with pytest.raises(ImageError, match=r'000011\.png: there is no such image file\. The list states it: run'):
        stated[1]
    (tmp_path / 'last.png').rename(tmp_path / 'crops/pan/0/000011.png')
    moved = FaceClips('clips.jsonl', 'test', [PackClip()], clip_len=8, size=64, jitter=4.0, data_root=str(tmp_path))
    assert not np.array_equal(moved[0]['inputs'], clips[0]['inputs'])


def test_runs_of_frames_are_kept_and_no_clip_crosses_their_ends(tmp_path, monkeypatch):
    """Frames k of a grey of 2 k; of every 10 frames the first 6 are kept, and of the last run, which is short, none."""
    monkeypatch.setattr('openmsra.ftcn.faces.prepare.SHORTEST_RUN', 5)
    video = [(np.full((200, 200, 3), 2 * k, np.uint8), k / 25) for k in range(33)]
    faces = [[]] + [[Face(np.array([50, 50, 150, 150.0]), template(100) + 50, 1.0)]] * 32
    result = prepare_video(video, tmp_path / 'crops/v', faces, suffix='.jpg', quality=100, keep=(6, 10))
    (line,) = clip_lines(dict(video='v', label=1, method='x', split='test'), result)
    assert line['runs'] == [[1, 6], [11, 6], [21, 6]] and (line['count'], line['first']) == (18, 1)
    names = [f'{k:06d}.jpg' for a in (1, 11, 21) for k in range(a, a + 6)]
    assert sorted(file.name for file in (tmp_path / 'crops/v/0').glob('*.jpg')) == names
    (tmp_path / 'clips.jsonl').write_text(json.dumps(line))
    options = dict(ann_file='clips.jsonl', split='test', pipeline=[], size=32, data_root=str(tmp_path))

    def clips(**settings):
        return [
            (item['frames'].tolist(), (item['clip'][:, 16, 16, 0] / 2).round().tolist())
            for item in FaceClips(**options, **settings)
        ]

    every = clips(clip_len=4, clip_stride=2)
    assert [frames[0] for frames, _ in every] == [1, 3, 11, 13, 21, 23]
    assert all(frames == list(range(frames[0], frames[0] + 4)) == shown for frames, shown in every)
    assert [frames[0] for frames, _ in clips(clip_len=4, clips_per_video=3)] == [1, 12, 23]
    mirrored = clips(clip_len=8, clip_stride=20)  # no run holds such a clip
    assert all(frames == shown for frames, shown in mirrored)
    assert all(set(frames) <= set(range(1, 7)) for frames, _ in mirrored)


def test_disk_is_asked_for_before_the_first_video(tmp_path, monkeypatch):
    film(tmp_path / 'a.mp4', 30)
    prepare = Preparation(tmp_path, tmp_path, 'haar', suffix='.jpg', keep=(48, 96))
    assert '1 videos, about 15 crops of 0.001 GB' in require_space(prepare, ['a.mp4', 'missing.mp4'])
    assert 'all videos are done' in require_space(prepare, [])
    monkeypatch.setattr('shutil.disk_usage', lambda path: SimpleNamespace(free=2e5))
    with pytest.raises(ToolError, match=r'0\.0002 GB are free\. Free some'):
        require_space(prepare, ['a.mp4'])


def _boxes(folder):
    from openmsra.ftcn.faces.detectors import boxes_from_json

    (folder / 'boxes.json').write_text(json.dumps(square_faces('', 90)))
    return [rows[0] for rows in boxes_from_json(folder / 'boxes.json')]


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path('tools/dataset_converters/ftcn_faces.py')['main']


def test_converter_goes_on_after_broken_videos_and_resumes(root, tool, capsys):
    originals, fakes = (root / f'{name}/c23/videos' for name in ('original_sequences/youtube', 'manipulated_sequences/Deepfakes'))
    for folder, name, faces in ((originals, '000', 1), (originals, '003', 0), (fakes, '000_003', 2)):
        film(folder / f'{name}.mp4', faces=faces)
        boxes = root / 'boxes' / folder.relative_to(root) / f'{name}.json'
        boxes.parent.mkdir(parents=True, exist_ok=True)
        boxes.write_text(json.dumps(square_faces('', *[90, 330][:faces])))
    (fakes / '003_000.mp4').write_bytes(b'no video')
    arguments = ['ffpp', str(root), '--split', 'train', '--detector', 'boxes', '--boxes', str(root / 'boxes')]
    (root / 'boxes' / fakes.relative_to(root) / '003_000.json').write_text('[]')
    with pytest.raises(DataError, match='1 of 4 videos were left out'):
        tool(arguments)
    assert '2 videos with 3 faces, 1 without a face, 1 not readable' in capsys.readouterr().out
    lines = [json.loads(line) for line in (root / 'clips.jsonl').read_text().splitlines()]
    assert [(line['method'], line['frames'] and line['frames'][-9:]) for line in lines] == [
        ('real', '000.mp4/0'),
        ('real', None),
        ('Deepfakes', '003.mp4/0'),
        ('Deepfakes', '003.mp4/1'),
    ]
    broken = json.loads((root / 'broken.json').read_text())
    assert [name[-11:] for name in broken] == ['003_000.mp4'] and 'cannot decode' in broken[next(iter(broken))]
    kept = root / lines[0]['frames'] / '000011.jpg'
    before, times = (root / 'clips.jsonl').read_text(), kept.stat().st_mtime_ns
    (originals / '000.mp4').unlink()  # what is done is not read again
    film(fakes / '003_000.mp4')
    (root / 'boxes' / fakes.relative_to(root) / '003_000.json').write_text(json.dumps(square_faces('', 90)))
    tool(arguments)
    assert '3 videos with 4 faces, 1 without a face, 0 not readable' in capsys.readouterr().out
    assert (root / 'clips.jsonl').read_text().startswith(before) and kept.stat().st_mtime_ns == times
    assert not list(root.rglob('*.part'))
    list_file = (root / 'clips.jsonl').read_text()
    for part in (1, 2):
        (root / 'clips.jsonl').unlink(missing_ok=True)
        tool([*arguments, '--shard', f'{part}/2'])
        assert f'part {part} of 2 is done' in capsys.readouterr().out and not (root / 'clips.jsonl').exists()
    tool(arguments)
    assert (root / 'clips.jsonl').read_text() == list_file
    with pytest.raises(ToolError, match='was made with the options'):
        tool([*arguments, '--min-face', '20'])
    boxes.write_text(json.dumps(square_faces('', 80, 330)))
    with pytest.raises(ToolError, match='000_003.mp4 was made with the options .*file: start of the SHA-256'):
        tool(arguments)
    options = dict(ann_file='clips.jsonl', split='train', pipeline=[PackClip()], clip_len=4, clips_per_video=1, size=32)
    clips = FaceClips(**options, data_root=str(root))
    assert len(clips) == 3 and clips.metainfo['faceless'][0][1:] == ('real', 0)  # one face of the video with two
    assert len(FaceClips(**options, faces='all', data_root=str(root))) == 4
    assert clips[0]['inputs'].shape == (3, 4, 32, 32) and clips[0]['inputs'].float().std() > 10


def test_converter_finds_faces_and_takes_aligned_ones(tmp_path, tool):
    film(tmp_path / 'in/a.mp4', 10)
    (tmp_path / 'list.txt').write_text('in/a.mp4 1 swap\n')
    for options, side in ((['--detector', 'haar'], None), (['--detector', 'none', '--size', '64', '--format', 'jpg'], 64)):
        out = tmp_path / f'out{side}'
        tool(['list', str(tmp_path), '--out', str(out), '--max-frames', '9', *options])
        line = json.loads((out / 'clips.jsonl').read_text().splitlines()[0])
        files = sorted((out / line['frames']).glob('*'))
        assert [file.stem for file in files if file.suffix != '.npz'] == [f'{k:06d}' for k in range(9)]
        assert (out / line['frames'] / 'track.npz').is_file() == (side is None)
        assert side is None or cv2.imread(str(files[0])).shape == (64, 64, 3)


def test_two_videos_of_one_stem_are_two_videos(tmp_path, tool):
    """clip.mp4 is real, clip.avi is the same in negative and fake: each keeps its pictures, its boxes and its label."""
    film(tmp_path / 'clip.mp4')
    writer = cv2.VideoWriter(str(tmp_path / 'clip.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 25, (240, 240))
    for frame, _ in VideoFile(tmp_path / 'clip.mp4'):
        writer.write(255 - cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    (tmp_path / 'list.txt').write_text('clip.mp4 0\nclip.avi 1\n')
    arguments = ['list', str(tmp_path), '--detector']
    tool([*arguments, 'none', '--out', str(tmp_path / 'whole')])
    lines = [json.loads(line) for line in (tmp_path / 'whole/clips.jsonl').read_text().splitlines()]
    means = {line['label']: cv2.imread(str(tmp_path / 'whole' / line['frames'] / '000003.jpg')).mean() for line in lines}
    assert means[0] + means[1] == pytest.approx(255, abs=3) and abs(means[0] - means[1]) > 10
    boxes = tmp_path / 'boxes'
    boxes.mkdir()
    (boxes / 'clip.json').write_text(json.dumps(square_faces('', 90)))
    with pytest.raises(DataError, match='2 of 2 videos were left out'):
        tool([*arguments, 'boxes', '--boxes', str(boxes), '--out', str(tmp_path / 'one')])
    assert 'have one stem; name their boxes clip.mp4.json' in (tmp_path / 'one/broken.json').read_text()
    for name, lefts in (('clip.mp4', (90,)), ('clip.avi', (20, 130))):
        (boxes / f'{name}.json').write_text(json.dumps(square_faces('', *lefts)))
    tool([*arguments, 'boxes', '--boxes', str(boxes), '--out', str(tmp_path / 'two'), '--min-face', '30'])
    lines = [json.loads(line) for line in (tmp_path / 'two/clips.jsonl').read_text().splitlines()]
    assert [line['frames'] for line in lines] == ['crops/clip.mp4/0', 'crops/clip.avi/0', 'crops/clip.avi/1']


def test_ffpp_refuses_two_files_of_one_name_and_leaves_out_what_is_no_video(root):
    videos = 'manipulated_sequences/Deepfakes/c23/videos'
    empty(root, f'{videos}/000_003.mp4', f'{videos}/._000_003.mp4', f'{videos}/000_003.json', f'{videos}/003_000.mp4')
    (root / 'manipulated_sequences/Deepfakes/c23/frames/003_000').mkdir(parents=True)
    paths = [row['video'] for row in ffpp(root) if row['split'] == 'train' and row['label']]
    assert paths == [f'{videos}/000_003.mp4', 'manipulated_sequences/Deepfakes/c23/frames/003_000']
    empty(root, f'{videos}/000_003.avi')
    with pytest.raises(ToolError, match=r'000_003\.mp4 and 000_003\.avi are one video'):
        ffpp(root)


def test_converter_says_what_is_missing(root, tool, tmp_path):
    for arguments, message in (
        (['ffpp', root], 'none of the 6 videos'),
        (['celebdf', root], 'List_of_testing_videos'),
        (['ffpp', root, '--detector', 'yunet', '--yunet', root / 'no.onnx'], 'no such YuNet model'),
        (['ffpp', root, '--only', root / 'no.txt'], 'there is no such annotation file'),
    ):
        with pytest.raises(UserError, match=message):
            tool([str(argument) for argument in arguments])
