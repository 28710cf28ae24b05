"""Names, encodings and copies as users bring them, through readers, inferencers and tools of all papers."""

import json
import logging
import os
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from openmsra.common.outputs import why_unlistable
from openmsra.engine.checkpoint.hook import _moved, resumable_files
from openmsra.engine.data.broken import BrokenDataHook
from openmsra.engine.data.samples import Samples
from openmsra.engine.inferencer import append_row, numbered_name
from openmsra.errors import AnnotationError, DataError, SplitError, ToolError
from openmsra.ftcn.faces import detectors, layouts
from openmsra.ftcn.faces.prepare import Preparation
from openmsra.mcn.data import splits
from openmsra.mcn.data.videos import VideoClips

NOT_UTF8 = os.fsdecode(b'fen\xeatre.png')


def test_rows_of_files_whose_names_are_no_utf8_are_written(tmp_path):
    append_row(tmp_path / 'results.jsonl', dict(image=NOT_UTF8, score=1.5, feature=np.ones(2)))
    (line,) = (tmp_path / 'results.jsonl').read_text(encoding='utf-8').splitlines()
    assert r'fen\udcea' in line and line.endswith('"score": 1.5, "feature": [1.0, 1.0]}')


@pytest.mark.parametrize('stem', ['x' * 251, '猫' * 83, NOT_UTF8])
def test_drawings_of_long_names_have_names(tmp_path, stem):
    name = numbered_name(7, f'/photos/{stem}.jpg', '.png')
    (tmp_path / name).touch()
    assert name.startswith('00007_') and name.endswith('.png') and name != numbered_name(8, f'/photos/{stem}.jpg', '.png')


def test_copy_of_a_work_dir_goes_on_from_its_own_checkpoints(tmp_path):
    """last_checkpoint holds an absolute path; the original is still there and has gone on."""
    run, copy = tmp_path / 'run', tmp_path / 'copy'
    run.mkdir()
    (run / 'epoch_1.pth').touch()
    (run / 'last_checkpoint').write_text(str(run / 'epoch_1.pth'), encoding='utf-8')
    shutil.copytree(run, copy)
    assert next(resumable_files(copy)) == copy / 'epoch_1.pth'
    shutil.rmtree(run)
    assert list(resumable_files(copy)) == [copy / 'epoch_1.pth']
    (copy / 'best_top1_epoch_1.pth').touch()
    remembered = str(run / 'best_top1_epoch_1.pth')
    assert _moved(remembered, copy) == str(copy / 'best_top1_epoch_1.pth') and _moved(None, copy) is None
    assert _moved(dict(top1=remembered), copy) == dict(top1=str(copy / 'best_top1_epoch_1.pth'))


def test_hidden_folders_are_no_classes_of_mmpretrain_either(tmp_path):
    """AutoFormer's ImageNet and whatever else mmpretrain reads from folders: probe classes had the same fault."""
    from mmpretrain.datasets import CustomDataset

    import openmsra.autoformer  # noqa: F401 - bridges mmpretrain

    for name in ('.ipynb_checkpoints', 'blue', 'red', 'red/.ipynb_checkpoints'):
        (tmp_path / name).mkdir(parents=True)
    for name in (
        'blue/a.jpg',
        'red/b.jfif',
        'red/c.AVIF',
        'red/d.txt',
        'red/.ipynb_checkpoints/b-checkpoint.jpg',
        '.ipynb_checkpoints/e.jpg',
    ):
        (tmp_path / name).touch()
    dataset = CustomDataset(data_prefix=str(tmp_path), pipeline=[])
    rows = {row['img_path'].removeprefix(f'{tmp_path}/'): row['gt_label'] for row in dataset}
    assert rows == {'blue/a.jpg': 0, 'red/b.jfif': 1, 'red/c.AVIF': 1} and dataset.metainfo['classes'] == ('blue', 'red')


def test_two_files_of_one_stem_are_not_guessed_between(tmp_path):
    for name in ('a/x.avi', 'a/x.mkv', 'a/y.mp4', 'b/Z.mp4', 'b/z.mp4'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert splits.locate([('a/x.avi', 0), ('a/y.avi', 1)], tmp_path) == ([('a/x.avi', 0), ('a/y.mp4', 1)], [], 0)
    with pytest.raises(SplitError, match=r'a/x.mp4 .* could be a/x.avi, a/x.mkv'):
        splits.locate([('a/x.mp4', 0)], tmp_path)
    with pytest.raises(SplitError, match='could be b/Z.mp4, b/z.mp4'):
        splits.locate([('B/Z.avi', 0)], tmp_path)


def test_one_video_has_one_label_and_one_place(tmp_path):
    (tmp_path / 'list.txt').write_text('clip.mp4 0\n./clip.mp4 1\n', encoding='utf-8')
    with pytest.raises(ToolError, match='line 2: clip.mp4 stands in the list already'):
        layouts.plain_list(tmp_path)
    (tmp_path / 'list.txt').write_text('../clip.mp4 0\n', encoding='utf-8')
    with pytest.raises(AnnotationError, match='leads out of'):
        layouts.plain_list(tmp_path)
    (tmp_path / 'labels.csv').write_text('filename,label\na.mp4,0\na.mp4,1\n', encoding='utf-8')
    with pytest.raises(ToolError, match='a.mp4 is called real in one line and fake in another'):
        layouts.dfdc(tmp_path)
    (tmp_path / 'videos.txt').write_text('a/x.avi 0\na/x.avi 1\n', encoding='utf-8')
    with pytest.raises(AnnotationError, match='a/x.avi stands in it with the labels 0 and 1'):
        VideoClips(str(tmp_path / 'videos.txt'), str(tmp_path), [])


def test_names_with_blanks_and_byte_order_marks(tmp_path):
    (tmp_path / 'list.txt').write_text('my clip.mp4 1 Deepfakes train\nb.mp4 0\n', encoding='utf-8-sig')
    rows = layouts.plain_list(tmp_path)
    assert [(row['video'], row['label'], row['method'], row['split']) for row in rows] == [
        ('my clip.mp4', 1, 'Deepfakes', 'train'),
        ('b.mp4', 0, 'real', 'test'),
    ]
    (tmp_path / 'labels.csv').write_text('filename,label\na.mp4,1\n', encoding='utf-8-sig')
    assert [(row['video'], row['label']) for row in layouts.dfdc(tmp_path)] == [('test_videos/a.mp4', 1)]
    (tmp_path / 'faces.json').write_text('[[{"box": [1, 2, 31, 42]}]]', encoding='utf-8-sig')
    assert detectors.boxes_from_json(tmp_path / 'faces.json')[0][0].box.tolist() == [1, 2, 31, 42]
    (tmp_path / 'kinetics.csv').write_text('label,youtube_id,time_start,time_end\nski,x,1,11\n', encoding='utf-8-sig')
    assert splits.kinetics(tmp_path / 'kinetics.csv') == ([('ski/x_000001_000011.mp4', 0)], ['ski'])


def test_embedding_tells_by_its_exit_code_what_it_left_out_and_boxes_are_not_shared(tmp_path):
    from openmsra.apis import init_model, list_models
    from tests.test_rules import load_tool

    (config,) = list_models('maskco*_instant')
    torch.save(dict(state_dict=init_model(config).state_dict(), meta={}), tmp_path / 'weights.pth')
    for folder in ('a', 'b'):
        (tmp_path / 'photos' / folder).mkdir(parents=True)
        Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(tmp_path / 'photos' / folder / 'x.png')
    (tmp_path / 'photos/cut.jpg').write_bytes(b'\xff\xd8\xff')
    boxes, tool = tmp_path / 'boxes.json', load_tool('maskco_embed')
    arguments = [
        config,
        str(tmp_path / 'weights.pth'),
        str(tmp_path / 'photos'),
        str(tmp_path / 'out.npz'),
        '--boxes',
        str(boxes),
    ]
    boxes.write_text('{"x.png": [[1, 2, 10, 12]]}', encoding='utf-8')
    with pytest.raises(ToolError, match='x.png could be .*a/x.png, .*b/x.png'):
        tool.main(arguments)
    boxes.write_text('{"a/x.png": [[1, 2, 10]]}', encoding='utf-8')
    with pytest.raises(AnnotationError, match='a/x.png: not a list of boxes'):
        tool.main(arguments)
    boxes.write_text('{"b/x.png": [[1, 2, 10, 12]]}', encoding='utf-8')
    with pytest.raises(DataError, match='1 of 3 images were left out, the others are in .*out.npz:\n.*cut.jpg: not an image'):
        tool.main(arguments)
    with np.load(tmp_path / 'out.npz') as stored:
        assert stored['region_images'].tolist() == [str(tmp_path / 'photos/b/x.png')] and len(stored['images']) == 2
    assert not (tmp_path / 'out.partial').exists()


def test_results_of_ckdn_come_one_by_one(tmp_path, monkeypatch):
    from openmsra.apis import init_inferencer, init_model, list_models

    (config,) = list_models('ckdn*_instant')
    torch.save(dict(state_dict=init_model(config).state_dict(), meta={}), tmp_path / 'weights.pth')
    for number in range(3):
        Image.fromarray(np.full((40, 40, 3), 60 * number, np.uint8)).save(tmp_path / f'{number}.png')
    score, pairs = (
        init_inferencer(config, tmp_path / 'weights.pth'),
        [(tmp_path / f'{k}.png', tmp_path / '0.png') for k in range(3)],
    )
    done, calls = score._score, []

    def killed_at_the_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return done(*arguments)

    monkeypatch.setattr(score, '_score', killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        score(pairs, batch_size=1, out_file=tmp_path / 'scores.jsonl')
    rows = [json.loads(line) for line in (tmp_path / 'scores.jsonl').read_text(encoding='utf-8').splitlines()]
    assert [row['restored'] for row in rows] == [str(pair[0]) for pair in pairs[:2]]


def test_names_that_cannot_stand_in_a_list_are_left_out_and_told(tmp_path):
    from tests.test_rules import load_tool

    assert why_unlistable('a b/c,d.png') is None
    assert all(why_unlistable(name) for name in (NOT_UTF8, 'a\tb', 'a\nb', 'a\u2028b', ' a', 'a/b\x0c.png'))
    for name in ('fine one.png', 'two.png', 'new\nline.png', NOT_UTF8):
        (tmp_path / 'train/cat').mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / 'train/cat' / name)
    with pytest.raises(DataError, match=r'(?s)2 of 4 images were left out, .*fen.*not UTF-8.*a line break'):
        load_tool('dataset_converters.image_sizes').main([str(tmp_path / 'train')])
    listed = (tmp_path / 'train/image_sizes.txt').read_text(encoding='utf-8')
    assert listed == 'cat/fine one.png\t9\t8\ncat/two.png\t9\t8\n'
    with pytest.raises(DataError, match='2 of 4 images were left out'):
        load_tool('dataset_converters.imagenet_search_split').main([str(tmp_path), '--per-class', '1'])
    lines = [(tmp_path / f'meta/search_{side}.txt').read_text(encoding='utf-8') for side in ('train', 'val')]
    assert sorted(lines) == ['cat/fine one.png 0\n', 'cat/two.png 0\n']


def test_faces_of_a_video_with_the_longest_of_names(tmp_path):
    name = 'x' * 246 + '.avi'
    writer = cv2.VideoWriter(str(tmp_path / 'short.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 25, (64, 64))
    for number in range(8):
        writer.write(np.full((64, 64, 3), 20 * number, np.uint8))
    writer.release()
    (tmp_path / 'short.avi').rename(tmp_path / name)
    prepared = Preparation(tmp_path, tmp_path, 'none', size=32)(name)
    assert prepared['tracks'][0]['frames'] == 8 and len(list((tmp_path / 'crops' / name / '0').iterdir())) == 8


def test_the_list_of_broken_samples_holds_names_that_are_no_utf8(tmp_path, caplog):
    (tmp_path / 'journal').write_text(json.dumps(dict(path=NOT_UTF8, reason='cut')) + '\n', encoding='utf-8')
    dataset = Samples([0] * 100, tmp_path / 'journal')
    runner = SimpleNamespace(
        logger=logging.getLogger('broken'), log_dir=tmp_path, train_dataloader=SimpleNamespace(dataset=dataset)
    )
    BrokenDataHook(interval=1).after_train_epoch(runner)
    assert (tmp_path / 'broken_train.txt').read_text(encoding='utf-8').splitlines()[1] == r'fen\udceatre.png' + '\t1\tcut'
    assert r'fen\udceatre.png cannot be read' in caplog.text
