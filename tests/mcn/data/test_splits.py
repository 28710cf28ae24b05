"""Official splits on small trees in the published layout, with real videos."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from openmsra.errors import DataError
from openmsra.mcn.data import splits
from tests.mcn.tools import ROOT, call, load


def write_video(path, frames=6):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 25, (32, 24))
    for number in range(frames):
        writer.write(np.full((24, 32, 3), 20 * number, np.uint8))
    writer.release()


@pytest.fixture
def ucf(tmp_path):
    """Two classes; the folder of one is spelled otherwise than the lists, one video is broken, one missing."""
    names = ['v_Archery_g01_c01', 'v_Archery_g01_c02', 'v_Archery_g02_c01']
    for name in names:
        write_video(tmp_path / 'videos/Archery' / f'{name}.avi')
    for name in ('g01_c01', 'g02_c01'):
        write_video(tmp_path / 'videos/HandstandPushups' / f'v_HandStandPushups_{name}.avi')
    (tmp_path / 'videos/Archery/v_Archery_g03_c01.avi').write_bytes(b'broken')
    lists = tmp_path / 'ucfTrainTestlist'
    lists.mkdir()
    (lists / 'classInd.txt').write_text('1 Archery\n2 HandstandPushups\n')
    for split in splits.SPLITS:
        (lists / f'trainlist0{split}.txt').write_text(
            'Archery/v_Archery_g01_c01.avi 1\nArchery/v_Archery_g01_c02.avi 1\nArchery/v_Archery_g03_c01.avi 1\n'
            'HandstandPushups/v_HandStandPushups_g01_c01.avi 2\n'
        )
        (lists / f'testlist0{split}.txt').write_text(
            'Archery/v_Archery_g02_c01.avi\nHandStandPushups/v_HandStandPushups_g02_c01.avi\nArchery/v_Archery_g09_c01.avi\n'
        )
    return tmp_path


def test_ucf101(ucf, capsys):
    with pytest.raises(DataError, match=r'2 of 7 videos were left out, .*ucf101_..._videos.txt:\n.*g09_c01.*missing'):
        call('tools/dataset_converters/video_lists.py', 'ucf101', ucf / 'ucfTrainTestlist', ucf / 'videos')
    assert (ucf / 'ucf101_train_split_1_videos.txt').read_text().splitlines() == [
        'Archery/v_Archery_g01_c01.avi 0',
        'Archery/v_Archery_g01_c02.avi 0',
        'HandstandPushups/v_HandStandPushups_g01_c01.avi 1',
    ]
    assert (ucf / 'ucf101_test_split_3_videos.txt').read_text().splitlines() == [
        'Archery/v_Archery_g02_c01.avi 0',
        'HandstandPushups/v_HandStandPushups_g02_c01.avi 1',
    ]
    assert (ucf / 'ucf101_classes.txt').read_text() == 'Archery\nHandstandPushups\n'
    faults = dict(line.split('\t') for line in (ucf / 'ucf101_broken.txt').read_text().splitlines())
    assert faults['Archery/v_Archery_g09_c01.avi'] == 'missing' and 'g03' in faults['Archery/v_Archery_g03_c01.avi']
    printed = capsys.readouterr().out
    assert '1 videos are missing, 1 are broken' in printed and 'other capitals' in printed


def test_ucf101_refuses_a_group_on_both_sides_and_a_leak(ucf):
    lists = ucf / 'ucfTrainTestlist'
    (lists / 'testlist01.txt').write_text('Archery/v_Archery_g01_c09.avi\n')
    with pytest.raises(splits.SplitError, match=r'one upload in training and test \(Archery/v_Archery_g01'):
        splits.ucf101(lists, 1)
    (lists / 'testlist01.txt').write_text('Diving/v_Diving_g01_c09.avi\n')
    with pytest.raises(splits.SplitError, match='Diving'):
        splits.ucf101(lists, 1)
    with pytest.raises(splits.SplitError, match='first is a.avi'):
        splits.refuse_leak([('a.avi', 0)], [('a.avi', 0)], lists)


def test_hmdb51(tmp_path):
    odd = 'A#B (x) & [y]; z! 1_f_nm.avi'
    (tmp_path / 'cartwheel_test_split1.txt').write_text(f'{odd} 1 \nplain.avi 2 \n')
    (tmp_path / 'brush hair_test_split1.txt').write_text('unused.avi 0 \n')
    training, test, classes = splits.hmdb51(tmp_path, 1)
    assert (training, test, classes) == ([(f'cartwheel/{odd}', 1)], [('cartwheel/plain.avi', 1)], ['brush hair', 'cartwheel'])
    with pytest.raises(FileNotFoundError, match='_test_split2'):
        splits.hmdb51(tmp_path, 2)
    (tmp_path / '._cartwheel_test_split1.txt').write_bytes(b'what macOS leaves beside a file')
    assert splits.hmdb51(tmp_path, 1)[2][0] != '._cartwheel'
    (tmp_path / 'cartwheel_test_split1.txt').write_text('plain.avi 3\n')
    with pytest.raises(splits.SplitError, match='does not end in 0, 1 or 2'):
        splits.hmdb51(tmp_path, 1)


def test_kinetics(tmp_path):
    table = tmp_path / 'train.csv'
    table.write_text('label,youtube_id,time_start,time_end,split\nski jump,-x_1,5,15,train\nabseiling,y,0,10,train\n')
    rows, classes = splits.kinetics(table)
    assert rows == [('ski jump/-x_1_000005_000015.mp4', 1), ('abseiling/y_000000_000010.mp4', 0)]
    assert classes == ['abseiling', 'ski jump']
    write_video(tmp_path / 'videos/abseiling/y_000000_000010.avi')
    found, missing, inexact = splits.locate(rows, tmp_path / 'videos')
    assert found == [('abseiling/y_000000_000010.avi', 0)] and missing == ['ski jump/-x_1_000005_000015.mp4'] and not inexact
    table.write_text('label,youtube_id,time_start,time_end,split\nski jump,-x_1,5,15,val\n')
    assert splits.kinetics(table)[0][0][1] == 0 and splits.kinetics(table, classes)[0][0][1] == 1, 'the number of the training'
    with pytest.raises(splits.SplitError, match='ski jump is none of the 1 classes'):
        splits.kinetics(table, ['abseiling'])
    table.write_text('youtube_id,time_start,time_end\ny,0,10\n')
    with pytest.raises(splits.SplitError, match='no column label'):
        splits.kinetics(table)


def test_another_split_of_a_linear_probe(ucf, run_tool):
    """Lists of the converter, training and test."""
    with pytest.raises(DataError, match='2 of 7 videos were left out'):
        call('tools/dataset_converters/video_lists.py', 'ucf101', ucf / 'ucfTrainTestlist', ucf / 'videos')
    config = ucf / 'linear.py'
    config.write_text(f"""_base_ = '{ROOT}/configs/_base_/default_runtime.py'
custom_imports = dict(imports=['openmsra.mcn'], allow_failed_imports=False)
tiny = dict(type='TinyVideoNet', widths=(4, 4), strides=((2, 4, 4), (1, 2, 2)))
model = dict(type='VideoClassifier', backbone=tiny, num_classes=2, frozen=True)
clips = dict(type='VideoClips', data_root='{ucf}/videos', clips=1, clip_len=4, interval=1, pipeline=[])
sampler = dict(type='DefaultSampler', shuffle=False)
train_dataloader = dict(batch_size=2, num_workers=0, sampler=sampler,
                        dataset=dict(ann_file='{ucf}/ucf101_train_split_1_videos.txt', **clips))
test_dataloader = dict(batch_size=2, num_workers=0, sampler=sampler,
                       dataset=dict(ann_file='{ucf}/ucf101_test_split_1_videos.txt', **clips))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
train_cfg = dict(by_epoch=True, max_epochs=1)
test_cfg = dict()
test_evaluator = dict(type='VideoAccuracy')
""")
    tool = load('tools/mcn_splits.py')
    tool.subprocess = SimpleNamespace(run=lambda command: run_tool(*command[1:]))  # forked, which saves the imports
    tool.main([str(config), '--splits', '3', '--work-dir', str(ucf / 'runs'), '--cfg-options', 'log_level=ERROR'])
    report = json.loads((ucf / 'runs/splits.json').read_text())
    assert list(report) == ['split 3', 'mean'] and report['mean']['accuracy/top1'] in (0, 50, 100)
    used = max((ucf / 'runs/split_3').glob('*/vis_data/config.py')).read_text()
    assert 'train_split_3' in used and 'split_1' not in used


def test_mean_over_splits():
    tool = load('tools/mcn_splits.py')
    figures = {'split 1': {'a/R@1': 10.0, 'time': 3.0}, 'split 2': {'a/R@1': 20.0, 'time': 5.0}}
    assert tool.summary(figures)['mean'] == {'a/R@1': 15.0}
    nested = dict(test=dict(datasets=[dict(ann_file='x_split_1.txt', other='split_1'), dict(ann_file='y.txt')]))
    assert list(tool.lists_of(nested, 2)) == [('test.datasets.0.ann_file', 'x_split_2.txt')]
