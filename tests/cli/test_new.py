"""``openmsra new``: data that look like what people have become a config that loads; what is wrong with them is said."""

import csv
import json
import re

import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image

from openmsra.cli.main import main
from openmsra.cli.new import ftcn, looking, soft_teacher
from openmsra.cli.new.main import parser_of
from openmsra.cli.new.text import MOST_LINES
from openmsra.errors import AnnotationError, DataError, MissingFileError

RNG = np.random.default_rng(0)


def _image(file, size=(48, 40)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 255, (size[1], size[0], 3), np.uint8)).save(file)


def _video(file, frames=20, side=64, fps=12):
    file.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*'MJPG'), fps, (side, side))
    for _ in range(frames):
        writer.write(RNG.integers(0, 255, (side, side, 3), np.uint8))
    writer.release()


def _new(paper, *arguments, out, capsys=None):
    """The config that the command writes, loaded; its lines."""
    from openmsra.engine.config.files import load_config

    main(['new', paper, *map(str, arguments), '--out', str(out), '--size', 'small', '--overwrite'])
    lines = out.read_text().splitlines()
    assert len(lines) <= MOST_LINES and max(map(len, lines)) < 200 + len(str(out.parent)) * 2
    return load_config(out), lines


def _refused(error, match, paper, *arguments, out):
    args = parser_of(paper).parse_args([*map(str, arguments), '--out', str(out), '--size', 'small'])
    args.files = out.with_name(f'{out.stem}_data')
    module = __import__(f'openmsra.cli.new.{paper}', fromlist=['build'])
    with pytest.raises(error, match=match):
        module.build(args, looking.Report())


def test_autoformer_on_a_folder_for_each_class(tmp_path, capsys):
    photos = tmp_path / 'photos'
    for label in ('cat', 'dog'):
        for number in range(20):
            _image(photos / label / f'{number}.png')
    (photos / 'cat' / 'broken.png').write_bytes(b'no image')
    cfg, _ = _new('autoformer', '--images', photos, '--latency-ms', '5', out=tmp_path / 'mine.py')
    said = capsys.readouterr().out
    assert '1 of 41 images cannot be used and are left out' in said and 'openmsra train' in said
    assert cfg.model.num_classes == cfg.model.loss.num_classes == 2
    train, val = ((tmp_path / 'mine_data' / f'{part}.txt').read_text().splitlines() for part in ('train', 'val'))
    assert len(train) == 34 and len(val) == 6 and not set(train) & set(val)
    assert {line[-1] for line in val} == {'0', '1'} and 'cat/broken.png 0' not in train
    from openmsra.engine.config.files import load_config

    assert load_config(tmp_path / 'mine_search.py').train_cfg.budgets.latency == (None, 5)


def test_autoformer_on_a_table_with_parts_and_copies(tmp_path, capsys):
    for number in range(8):
        _image(tmp_path / 'images' / f'{number}.png', (200, 160))
    (tmp_path / 'images' / '7.png').write_bytes((tmp_path / 'images' / '0.png').read_bytes())
    with (tmp_path / 'table.csv').open('w', newline='') as stream:
        rows = [(f'{n}.png', 'ab'[n % 2], 'val' if n > 5 else 'train') for n in range(8)]
        csv.writer(stream).writerows([('image', 'label', 'split'), *rows])
    cfg, _ = _new('autoformer', '--images', tmp_path / 'images', '--csv', tmp_path / 'table.csv', out=tmp_path / 'c.py')
    assert cfg.model.img_size == 96
    assert '1 files are in two parts' in capsys.readouterr().out


def test_autoformer_refuses_one_class(tmp_path):
    for number in range(4):
        _image(tmp_path / 'photos' / 'cat' / f'{number}.png')
    _refused(DataError, 'one class only', 'autoformer', '--images', tmp_path / 'photos', out=tmp_path / 'c.py')


def test_maskco_queue_is_shorter_than_the_set(tmp_path):
    for number in range(70):
        _image(tmp_path / 'photos' / f'{number % 3}' / f'{number}.png', (80, 72))
    cfg, _ = _new('maskco', '--images', tmp_path / 'photos', out=tmp_path / 'c.py')
    assert cfg.model.queue_len == 32 and cfg.val_dataloader is None
    assert len((tmp_path / 'c_data' / 'images.txt').read_text().splitlines()) == 70
    (tmp_path / 'few').mkdir()
    _image(tmp_path / 'few' / 'a.png')
    _refused(DataError, 'too few to contrast', 'maskco', '--images', tmp_path / 'few', out=tmp_path / 'd.py')


def test_mcn_takes_the_interval_from_the_frame_rate_and_classes_from_the_folders(tmp_path):
    for label in ('run', 'walk'):
        for number in range(10):
            _video(tmp_path / 'clips' / label / f'{number}.avi', fps=25, frames=40)
    cfg, _ = _new('mcn', '--videos', tmp_path / 'clips', out=tmp_path / 'c.py')
    data = cfg.train_dataloader.dataset
    assert data.clip_len == 9 and data.interval == 2  # 0.7 s of 25 frames a second
    assert len((tmp_path / 'c_data' / 'val.txt').read_text().splitlines()) == 4
    assert [part.role for part in cfg.val_dataloader.dataset.datasets] == ['gallery', 'query']


def test_ftcn_cuts_the_faces_and_keeps_people_apart(tmp_path, capsys):
    for number in range(8):
        _video(tmp_path / 'a' / f'{number:03d}.avi')
        _video(tmp_path / 'b' / 'swap' / f'{number:03d}_{(number + 1) % 8:03d}.avi')
    cfg, _ = _new('ftcn', '--real', tmp_path / 'a', '--fake', tmp_path / 'b', out=tmp_path / 'c.py')
    rows = [json.loads(line) for line in (tmp_path / 'c_data' / 'clips.jsonl').read_text().splitlines()]
    assert len(rows) == 16 and {row['method'] for row in rows} == {'real', 'swap'}
    people = {}
    for row in rows:
        people.setdefault(row['video'].split('/')[-1][:3], set()).add(row['split'])
    assert all(len(parts) == 1 for parts in people.values())
    assert {row['split'] for row in rows} == {'train', 'val', 'test'}
    assert cfg.train_dataloader.dataset.methods == ['swap'] and cfg.model.clip_len == 16
    assert 'small and square' in capsys.readouterr().out
    with pytest.raises(DataError, match='too few people'):
        ftcn.split_by_person([(tmp_path / '000.avi', 'real', 'real'), (tmp_path / '000_1.avi', 'fake', 'x')])


@pytest.fixture
def scores(tmp_path):
    rows = [('image', 'lq', 'mos', 'content')]
    for scene in range(5):
        _image(tmp_path / f'in{scene}.png', (64, 64))
        for version in range(3):
            _image(tmp_path / f'out{scene}_{version}.png', (64, 64))
            rows.append((f'out{scene}_{version}.png', f'in{scene}.png', str(1 + version * 2), f's{scene}'))
    with (tmp_path / 'scores.csv').open('w', newline='') as stream:
        csv.writer(stream).writerows(rows)
    return tmp_path / 'scores.csv'


def test_ckdn_finds_the_columns_and_splits_by_scene(scores, tmp_path):
    from openmsra.registry import DATASETS

    DefaultScope.get_instance('test_new', scope_name='openmsra')
    cfg, _ = _new('ckdn', '--pairs', scores, out=tmp_path / 'c.py')
    options = cfg.val_dataloader.dataset
    assert options.score_range == (1.0, 5.0) and options.columns.score == 'mos' and not cfg.model.distil
    val = DATASETS.build(options)
    assert len(val) == 3
    assert sorted(val.get_data_info(k)['gt_score'] for k in range(3)) == [0.0, 0.5, 1.0]
    assert {val.get_data_info(k)['scene'] for k in range(3)} == {'s4'}
    train = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(train) == 12 and train.roles == ('restored', 'degraded', 'other')


def test_ckdn_says_what_is_wrong_with_a_table(scores, tmp_path):
    text = scores.read_text()
    for old, new, error, match in (
        ('mos', 'points', AnnotationError, "no column for 'score'.*--columns score=NAME"),
        (',5,', ',high,', AnnotationError, "the score 'high' is no number"),
        ('in0.png', '../in0.png', AnnotationError, 'leads out of'),
        ('out0_0.png', 'nowhere.png', FileNotFoundError, 'nowhere.png'),
    ):
        scores.write_text(text.replace(old, new))
        _refused(error, match, 'ckdn', '--pairs', scores, out=tmp_path / 'c.py')


def _coco(folder, count, names=('cell', 'plate'), boxes=3):
    images, rows = [], []
    for number in range(count):
        _image(folder / f'{number}.png', (96, 64))
        images.append(dict(id=number, file_name=f'{number}.png', width=96, height=64))
        for k in range(boxes):
            side = 12 if k else 30
            box = [4 + 20 * k, 5, side, side]
            rows.append(dict(id=len(rows), image_id=number, category_id=5 + k % 2, bbox=box, area=side**2, iscrowd=0))
    categories = [dict(id=5 + k, name=name) for k, name in enumerate(names)]
    return dict(images=images, annotations=rows, categories=categories)


@pytest.mark.full
def test_soft_teacher_on_coco(tmp_path, capsys):
    photos = tmp_path / 'photos'
    content = _coco(photos, 14)
    for number in range(5):
        _image(tmp_path / 'more' / f'{number}.png', (96, 64))
    (tmp_path / 'boxes.json').write_text(json.dumps(content))
    data = ('--labelled', tmp_path / 'boxes.json', '--images', photos, '--unlabelled', tmp_path / 'more')
    cfg, lines = _new('soft_teacher', *data, out=tmp_path / 'c.py')
    assert (
        '11 labelled images with 33 boxes of 2 classes (cell, plate), 5 unlabelled, 3 for validation' in capsys.readouterr().out
    )
    assert cfg.model.detector.roi_head.bbox_head.num_classes == 2
    sets = cfg.train_dataloader.dataset.datasets
    assert [part.type for part in sets] == ['LabelledCoco', 'UnlabelledFolder'] and sets[0].metainfo.classes == ('cell', 'plate')
    assert cfg.model.semi_train_cfg.class_thresholds == 'prior' and cfg.model.semi_train_cfg.burn_in_iters > 0
    scales = cfg.model.detector.rpn_head.anchor_generator.scales
    assert 8 * min(scales) <= 14 and 16 * max(scales) >= 28, 'the anchors meet boxes of 12 and of 30 pixels'
    from openmsra.registry import DATASETS

    DefaultScope.get_instance('test_new', scope_name='openmsra')
    assert len(DATASETS.build(sets[1])) == 5 and len(DATASETS.build(sets[0])) == 11

    _refused(DataError, 'no unlabelled images', 'soft_teacher', *data[:4], out=tmp_path / 'd.py')
    content['annotations'] = []
    (tmp_path / 'boxes.json').write_text(json.dumps(content))
    _refused(DataError, 'no image has a box', 'soft_teacher', *data, out=tmp_path / 'd.py')


@pytest.mark.full
def test_soft_teacher_says_where_the_images_of_a_file_are(tmp_path):
    """Names such as images/0.png are relative to the folder above, which is easily mistaken."""
    content = _coco(tmp_path / 'images', 2)
    for image in content['images']:
        image['file_name'] = f'images/{image["file_name"]}'
    file = tmp_path / 'annotations' / 'train.json'
    file.parent.mkdir()
    file.write_text(json.dumps(content))
    given = ('--labelled', file, '--images', tmp_path / 'images')
    _refused(MissingFileError, f'; --images {tmp_path} has it', 'soft_teacher', *given, out=tmp_path / 'c.py')
    (tmp_path / 'images' / '0.png').unlink()
    _refused(MissingFileError, 'give that folder with --images', 'soft_teacher', *given, out=tmp_path / 'c.py')
    nowhere = ('--labelled', tmp_path / 'nowhere.json')
    _refused(MissingFileError, 'nowhere.json: there is no such file or folder', 'soft_teacher', *nowhere, out=tmp_path / 'c.py')


VOC = """<annotation><filename>{name}.png</filename><size><width>96</width><height>64</height></size><object><name>{label}</name>
<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object></annotation>"""


def _voc(folder):
    for number in range(8):
        _image(folder / 'JPEGImages' / f'{number}.png', (96, 64))
        (folder / 'Annotations').mkdir(exist_ok=True)
        (folder / 'Annotations' / f'{number}.xml').write_text(VOC.format(name=number, label='ab'[number % 2]))
    lists = folder / 'ImageSets' / 'Main'
    lists.mkdir(parents=True)
    (lists / 'train.txt').write_text('0\n1\n2\n')
    (lists / 'test.txt').write_text('6\n7\n')
    (lists / 'a_train.txt').write_text('0 1\n1 -1\n')
    return folder


@pytest.mark.full
def test_soft_teacher_on_voc_keeps_its_image_sets(tmp_path):
    cfg, _ = _new('soft_teacher', '--labelled', _voc(tmp_path / 'voc'), out=tmp_path / 'c.py')
    names = {
        part: {image['file_name'] for image in json.loads((tmp_path / 'c_data' / f'{part}.json').read_text())['images']}
        for part in ('labelled', 'val')
    }
    assert names == dict(labelled={'0.png', '1.png', '2.png'}, val={'6.png', '7.png'})
    assert (tmp_path / 'c_data' / 'unlabelled.txt').read_text().split() == ['3.png', '4.png', '5.png']


@pytest.mark.full
def test_soft_teacher_on_yolo(tmp_path):
    root = tmp_path / 'yolo'
    for part, numbers in (('train', range(4)), ('val', range(4, 6))):
        for number in numbers:
            _image(root / 'images' / part / f'{number}.png', (96, 64))
            file = root / 'labels' / part / f'{number}.txt'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text('1 0.5 0.5 0.25 0.5\n0 0.1 0.1 0.2 0.1 0.2 0.3 0.1 0.3\n')
    (root / 'data.yaml').write_text('names:\n  0: cat\n  1: dog\ntrain: images/train\n')
    _image(tmp_path / 'more' / 'x.png', (96, 64))
    cfg, _ = _new('soft_teacher', '--labelled', root, '--unlabelled', tmp_path / 'more', out=tmp_path / 'c.py')
    content = json.loads((tmp_path / 'c_data' / 'labelled.json').read_text())
    assert [row['bbox'] for row in content['annotations'][:2]] == [[36, 16, 24, 32], pytest.approx([9.6, 6.4, 9.6, 12.8])]
    assert [row['name'] for row in content['categories']] == ['cat', 'dog'] and content['annotations'][0]['category_id'] == 2
    (root / 'labels' / 'train' / '0.txt').write_text('1 48 32 24 32\n')
    _refused(AnnotationError, '0.txt, line 1: coordinates are shares', 'soft_teacher', '--labelled', root, out=tmp_path / 'd.py')


def test_a_config_that_is_there_is_not_written_over(tmp_path, capsys):
    (tmp_path / 'c.py').write_text('mine')
    with pytest.raises(SystemExit):
        main(['new', 'maskco', '--images', str(tmp_path), '--out', str(tmp_path / 'c.py')])
    assert 'is there already' in capsys.readouterr().err and (tmp_path / 'c.py').read_text() == 'mine'


def test_what_is_held_out_is_the_same_each_time_and_of_each_group():
    rows = [f'{label}{number}' for label in 'ab' for number in range(10)]
    first, second = (
        looking.hold_out(rows, 0.2, group=lambda row: row[0]),
        looking.hold_out(rows[::-1], 0.2, group=lambda row: row[0]),
    )
    assert set(first[1]) == set(second[1]) and len(first[1]) == 4 and not set(first[0]) & set(first[1])
    assert sum(row.startswith('a') for row in first[1]) == 2


def test_copies_are_found_by_content(tmp_path):
    for name, content in (('a', b'1234'), ('b', b'5678'), ('c', b'1234'), ('d', b'12345')):
        (tmp_path / name).write_bytes(content)
    pairs = looking.copies({'train': [tmp_path / 'a', tmp_path / 'b'], 'val': [tmp_path / 'c', tmp_path / 'd']})
    assert [(part, file.name, other, place.name) for part, file, other, place in pairs] == [('val', 'c', 'train', 'a')]


def test_anchors_meet_small_and_large_boxes():
    boxes = [[[0, 0, 10, 10]] * 5, [[0, 0, 100, 90]] * 5]
    figures = soft_teacher.Figures(320, 320, boxes, 7)
    scales = figures.anchors(1.0, (8, 16))
    assert 8 * scales[0] == pytest.approx(10, abs=1) and 16 * scales[-1] == pytest.approx(95, abs=2)
    assert figures.ratios() == [1.0] and soft_teacher.Figures(320, 320, [[[0, 0, 10, 40]] * 5], 7).ratios() == [0.5, 1.0, 2.0]


def test_full_size_configs_load_too(tmp_path):
    """On a machine with a GPU: the paper's own network, whose rate follows from the batch."""
    from openmsra.engine.config.files import load_config

    for number in range(70):
        _image(tmp_path / 'photos' / 'ab'[number % 2] / f'{number}.png', (60, 50))
    for paper in ('autoformer', 'maskco'):
        out = tmp_path / f'{paper}.py'
        main(['new', paper, '--images', str(tmp_path / 'photos'), '--out', str(out), '--size', 'full'])
        cfg = load_config(out)
        total = cfg.auto_scale_lr.base_batch_size
        base = dict(autoformer=(1e-3, 1024), maskco=(0.03, 256))[paper]
        assert cfg.optim_wrapper.optimizer.lr == pytest.approx(base[0] * total / base[1], rel=1e-2)
        assert re.search(r'# .*are in a batch', out.read_text())
