"""Real videos of a face that moves: a pan over a photograph of a person, written with OpenCV."""

import csv
import hashlib
import json
import os
import runpy
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from openmsra import __version__
from openmsra.apis import init_model
from openmsra.common.video import VideoFile
from openmsra.errors import CheckpointError, ToolError, UserError, VideoError
from openmsra.ftcn import FTCNInferencer, report
from openmsra.ftcn.faces.align import landmarks_of_box
from openmsra.ftcn.faces.detectors import Face, HaarDetector
from tests.references.face_tracks import score_video

CONFIG = 'configs/ftcn/ftcn-tt_tiny_1xb16-4e_flicker_instant.py'


def pan(count, step=2):
    """Windows (240, 240) of the astronaut; the face moves left."""
    image = data.astronaut()
    return [(np.ascontiguousarray(image[0:240, 80 + step * k : 320 + step * k]), k / 25) for k in range(count)]


def write(path, frames):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 25, frames[0][0].shape[1::-1])
    for frame, _ in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    model = init_model(CONFIG)
    path = tmp_path_factory.mktemp('weights') / 'tiny.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def given(count, *lefts):
    boxes = [np.array([left, 60, left + 100, 160], float) for left in lefts]
    return [[Face(box, landmarks_of_box(box), 1.0) for box in boxes] for _ in range(count)]


def test_haar_track_covers_the_video(checkpoint, tmp_path):
    frames = VideoFile(write(tmp_path / 'pan.avi', pan(20)))
    result = FTCNInferencer(CONFIG, checkpoint, HaarDetector(), stride=4)(frames, 'pan')
    best = max(result.tracks, key=lambda one: len(one.track.boxes))
    assert (best.track.start, len(best.track.boxes)) == (0, 20)
    assert best.track.boxes[-1, 0] < best.track.boxes[0, 0] - 20
    assert best.starts.tolist() == [0, 4, 8, 12] and best.frame_scores.shape == (20,)
    assert 0 < result.score < 1 and result.times[-1] == pytest.approx(19 / 25, abs=1e-3)


def test_clip_scores_are_those_of_the_model_on_aligned_clips(checkpoint):
    inferencer = FTCNInferencer(CONFIG, checkpoint, None, stride=3)
    frames = [(cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA), time) for frame, time in pan(13)]
    (one,) = inferencer(frames).tracks
    assert one.starts.tolist() == [0, 3, 5]
    video = torch.from_numpy(np.stack([frame for frame, _ in frames])).permute(3, 0, 1, 2)
    with torch.no_grad():
        for start, score in zip(one.starts, one.clip_scores, strict=True):
            (sample,) = inferencer.model.test_step(dict(inputs=video[None, :, start : start + 8]))
            assert score == pytest.approx(sample.pred_score, rel=1e-5)
    expected = [
        np.mean([score for start, score in zip(one.starts, one.clip_scores, strict=True) if start <= k < start + 8])
        for k in range(13)
    ]
    np.testing.assert_allclose(one.frame_scores, expected)


def test_a_stream_gives_the_scores_of_the_whole_video(checkpoint):
    """Two faces, one of which comes late, is lost for two frames and goes early, and one that is seen for 10 frames only."""
    frames, faces = pan(45), given(45, 5, 120)
    for k, row in enumerate(faces):
        if k < 9 or k in (20, 21) or k > 33:
            del row[1]
        if k < 10:
            row += given(1, 230)[0]
    for stride, batch_size in ((1, 5), (3, 4)):
        inferencer = FTCNInferencer(CONFIG, checkpoint, faces, stride=stride, batch_size=batch_size)
        read = [0]

        def counted(read=read):
            for read[0], frame in enumerate(frames, start=1):
                yield frame

        clips, reads = [], []
        for item in inferencer.stream(counted()):
            clips.append(item)
            reads.append(read[0])
        result = clips.pop()
        assert reads[0] == 8  # the first score needs the frames of one clip
        expected = sorted(
            score_video(inferencer.model, frames, faces, stride), key=lambda row: (row[0].start, row[0].boxes[0, 0])
        )
        assert sorted(len(score.track.boxes) for score in result.tracks) == [10, 25, 45]
        tracks = sorted(result.tracks, key=lambda score: (score.track.start, score.track.boxes[0, 0]))
        for score, (track, starts, scores, frame_scores) in zip(tracks, expected, strict=True):
            assert score.track.start == track.start and score.starts.tolist() == starts.tolist()
            np.testing.assert_allclose(score.clip_scores, scores, rtol=1e-5)
            np.testing.assert_allclose(score.frame_scores, frame_scores, rtol=1e-5)
        assert sorted(clip.score for clip in clips) == sorted(np.concatenate([s.clip_scores for s in result.tracks]))
        late = [clip for clip in clips if clip.frame == 9]
        assert {clip.box[0] for clip in late} >= {120} and {clip.seconds for clip in late} == {16 / 25}


def test_batch_size_changes_nothing_and_faces_are_combined(checkpoint):
    frames, faces = pan(16), given(16, 5, 120)
    results = [FTCNInferencer(CONFIG, checkpoint, faces, stride=1, batch_size=size)(frames) for size in (1, 5)]
    for one, other in zip(results[0].tracks, results[1].tracks, strict=True):
        np.testing.assert_allclose(one.clip_scores, other.clip_scores, rtol=1e-5)
    first, second = results[0].tracks
    assert results[0].score == max(first.score, second.score) and first.score != second.score
    mean = FTCNInferencer(CONFIG, checkpoint, faces, stride=1, aggregate='mean')(frames).score
    assert mean == pytest.approx((first.score + second.score) / 2)


def test_overlapping_clips_score_as_videos_of_their_own(checkpoint):
    frames, faces = pan(12), given(12, 20)
    (one,) = FTCNInferencer(CONFIG, checkpoint, faces, stride=1, batch_size=3)(frames).tracks
    alone = [FTCNInferencer(CONFIG, checkpoint, faces[k : k + 8])(frames[k : k + 8]).score for k in range(5)]
    np.testing.assert_allclose(one.clip_scores, alone, rtol=1e-5)


@pytest.mark.parametrize('count', [1, 2, 5, 7])
def test_short_videos_are_mirrored_and_said_so(checkpoint, count):
    inferencer = FTCNInferencer(CONFIG, checkpoint, None, stride=1, min_frames=1)
    result = inferencer(pan(count))
    assert len(result.tracks[0].starts) == count + 7
    assert any('mirrored' in warning for warning in result.warnings)
    assert np.isfinite(result.tracks[0].frame_scores).all()


def test_no_face_small_face_and_short_track_give_no_score_and_a_reason(checkpoint):
    blank = [(np.zeros((120, 120, 3), np.uint8), k / 25) for k in range(10)]
    for faces, options, reason in (
        (HaarDetector(), {}, 'no face found'),
        (given(10, 5), dict(min_face=101), 'smaller than 101 pixels'),
        (given(4, 5) + [[]] * 6, {}, 'less than 8 frames'),
    ):
        result = FTCNInferencer(CONFIG, checkpoint, faces, **options)(blank)
        assert result.score is None and result.tracks == []
        assert reason in ' '.join(result.warnings)


def test_variable_frame_rate_is_reported(checkpoint):
    frames = [(frame, time + (0.2 if k > 5 else 0)) for k, (frame, time) in enumerate(pan(10))]
    inferencer = FTCNInferencer(CONFIG, checkpoint, None)
    assert any('frame rate varies' in warning for warning in inferencer(frames).warnings)
    assert inferencer(pan(10)).warnings == []


def test_no_weights_no_judgement(checkpoint, tmp_path):
    for missing in (None, '', tmp_path / 'none.pth'):
        with pytest.raises(CheckpointError, match=r'checkpoint'):
            FTCNInferencer(CONFIG, missing)
    state = torch.load(checkpoint)['state_dict']
    del state['resnet.head.time_T.cls_token']
    torch.save(state, tmp_path / 'part.pth')
    with pytest.raises(CheckpointError, match='cls_token'):
        FTCNInferencer(CONFIG, tmp_path / 'part.pth')
    with pytest.raises(ValueError, match='aggregate'):
        FTCNInferencer(CONFIG, checkpoint, aggregate='median')
    with pytest.raises(ValueError, match='the video has 10'):
        FTCNInferencer(CONFIG, checkpoint, given(9, 5))(pan(10))


def test_tool_writes_everything_and_goes_on_after_a_broken_video(checkpoint, tmp_path, run_tool):
    folder = tmp_path / 'videos'
    folder.mkdir()
    write(folder / 'b.avi', pan(24))
    (folder / 'a.mp4').write_text('broken')
    done = run_tool(
        'tools/ftcn_video.py',
        checkpoint,
        folder,
        '--detector',
        'haar',
        '--config',
        CONFIG,
        '--out',
        tmp_path / 'out',
        '--annotate',
        '--stride',
        '4',
        '--threshold',
        '0.3',
        check=False,
    )
    assert 'a.mp4: skipped' in done.stdout
    assert done.returncode == 2 and '1 of 2 videos were left out' in done.stderr
    broken, good = json.loads((tmp_path / 'out/summary.json').read_text())
    assert broken['score'] is None and 'a.mp4' in broken['error'] and 0 < good['score'] < 1
    details = json.loads((tmp_path / 'out/00001_b.json').read_text())
    assert details['score'] == good['score'] and details['fake'] == (good['score'] >= 0.3)
    rows = list(csv.DictReader((tmp_path / 'out/00001_b.csv').open()))
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    live = [json.loads(line) for line in (tmp_path / 'out/00001_b.jsonl').read_text().splitlines()]
    assert sorted(row['score'] for row in live) == sorted(clip['score'] for track in details['tracks'] for clip in track['clips'])
    custody = dict(checkpoint='tiny.pth', sha256=digest, config=Path(CONFIG).name, version=__version__, detector='haar', stride=4)
    for facts in (details, good, broken, *({**row, 'stride': int(row['stride'])} for row in rows)):
        assert custody.items() <= facts.items()
    assert len(rows) == sum(track['frames'] for track in details['tracks'])
    assert cv2.imread(str(tmp_path / 'out/00001_b.png')).std() > 5
    annotated = np.stack([frame for frame, _ in VideoFile(tmp_path / 'out/00001_b.mp4')])
    assert annotated.shape == (24, 240, 240, 3)
    plain = np.stack([frame for frame, _ in pan(24)])
    x, y = map(int, details['tracks'][0]['boxes'][5][:2])
    edge = annotated[details['tracks'][0]['first_frame'] + 5, y + 8 : y + 60, x].astype(int)
    assert (edge[:, 0] - edge[:, 2]).mean() > 60 or (edge[:, 1] - edge[:, 0]).mean() > 40  # red or green line
    assert np.abs(annotated.astype(int) - plain).mean() < 12


def test_frames_of_several_sizes_all_reach_the_annotated_video(checkpoint, tmp_path):
    frames = [(cv2.resize(frame, (240, 240) if k % 2 else (180, 200)), time) for k, (frame, time) in enumerate(pan(20))]
    result = FTCNInferencer(CONFIG, checkpoint, None, stride=8)(frames, 'sizes')
    report.write_annotated(result, frames, tmp_path / 'sizes.mp4', 0.5)
    written = np.stack([frame for frame, _ in VideoFile(tmp_path / 'sizes.mp4')])
    assert written.shape == (20, 200, 180, 3)
    assert np.abs(written[9].astype(int) - cv2.resize(frames[9][0], (180, 200))).mean() < 20


def test_a_name_that_is_no_utf8_and_a_folder_that_is_not_there_cost_nothing(checkpoint, tmp_path):
    name = os.fsdecode(bytes(tmp_path) + b'/caf\xe9.avi')
    shutil.copy(write(tmp_path / 'plain.avi', pan(10)), name)
    tool, out = runpy.run_path('tools/ftcn_video.py')['main'], tmp_path / 'deep/er/out'
    arguments = [str(checkpoint), name, '--config', CONFIG, '--detector', 'none', '--out']
    tool([*arguments, str(out)])
    (row,) = json.loads((out / 'summary.json').read_text())
    assert os.fsencode(row['video']).endswith(b'/caf\xe9.avi') and 0 < row['score'] < 1
    assert len(list(out.glob('00000_*'))) == 4
    (tmp_path / 'file').touch()
    with pytest.raises(ToolError, match='file/out: no folder for results'):
        tool([*arguments, str(tmp_path / 'file/out')])


def test_nothing_readable_is_an_error_and_the_reasons_are_kept(checkpoint, tmp_path):
    (tmp_path / 'a.mp4').write_text('broken')
    tool = runpy.run_path('tools/ftcn_video.py')['main']
    with pytest.raises(VideoError, match='none of the 1 videos could be read'):
        tool([str(checkpoint), str(tmp_path / 'a.mp4'), '--config', CONFIG, '--out', str(tmp_path / 'out')])
    assert 'a.mp4' in json.loads((tmp_path / 'out/summary.json').read_text())[0]['error']


def test_tool_refuses_what_it_cannot_use(checkpoint, tmp_path, capsys):
    tool = runpy.run_path('tools/ftcn_video.py')['main']
    for arguments, message in (
        ((checkpoint, tmp_path / 'none.mp4'), 'none.mp4'),
        ((checkpoint, tmp_path), 'no videos'),
        ((checkpoint, '--camera', '99'), 'camera 99'),
        ((checkpoint,), '--camera'),
        ((checkpoint, tmp_path, '--detector', 'yunet'), '--yunet'),
        ((tmp_path / 'none.pth', tmp_path), 'none.pth'),
    ):
        with pytest.raises((SystemExit, UserError)) as caught:
            tool([*map(str, arguments), '--config', CONFIG, '--out', str(tmp_path / 'out')])
        assert message in f'{caught.value} {capsys.readouterr().err}'
