"""Splits of a data set: sizes, disjointness, reproducibility, nesting, strata, and the command."""

import json

import numpy as np
import pytest

from openmsra.common.coco import read_coco
from openmsra.errors import AnnotationError, DataError
from openmsra.soft_teacher.data.splits import draw, id_hash, read_voc
from tools.dataset_converters import split_coco_semi


def _content(images: int, categories: int = 4) -> dict:
    rows = [
        dict(id=i, image_id=i, category_id=0 if i % 50 else 1 + i // 50 % (categories - 1), bbox=[0, 0, 5, 5], area=25)
        for i in range(images)
    ]
    return dict(
        images=[dict(id=i, file_name=f'{i}.jpg', width=8, height=8) for i in range(images)],
        annotations=rows,
        categories=[dict(id=k, name=f'c{k}') for k in range(categories)],
    )


def test_sizes_of_coco_without_replacement():
    content = dict(images=[dict(id=i) for i in range(118287)])
    for percent, size in ((1, 1182), (5, 5914), (10, 11828)):
        ids = draw(content, int(percent / 100 * 118287), fold=1)
        assert len(ids) == len(set(ids)) == size
    assert draw(content, 1182, 1) == draw(content, 1182, 1) != draw(content, 1182, 2)


def test_splits_are_nested_unless_independent():
    content = _content(1000)
    assert set(draw(content, 10, 3)) < set(draw(content, 100, 3))
    assert not set(draw(content, 10, 3, nested=False)) < set(draw(content, 100, 3, nested=False))


@pytest.mark.parametrize('fold, percent', [(1, 10), (2, 10), (3, 1)])
def test_draw_is_the_official_one(fold, percent):
    """The official script, restated: it seeds numpy and chooses *positions* of the file, whose ids are in no order."""
    content = _content(300)
    np.random.default_rng(5).shuffle(content['images'])
    np.random.seed(fold)
    size = int(percent / 100.0 * len(content['images']))
    positions = set(np.random.choice(range(len(content['images'])), size=size, replace=False))
    expected = {image['id'] for position, image in enumerate(content['images']) if position in positions}
    assert draw(content, size, fold) == sorted(expected)


def test_strata_show_each_category():
    content = _content(600, categories=5)
    ids = set(draw(content, 8, 1, stratified=True))
    assert {row['category_id'] for row in content['annotations'] if row['image_id'] in ids} == set(range(5))
    plain = set(draw(content, 8, 1))
    assert {row['category_id'] for row in content['annotations'] if row['image_id'] in plain} != set(range(5))
    with pytest.raises(DataError, match='cannot show all 5 categories'):
        draw(content, 3, 1, stratified=True)


def test_command_writes_pairs_and_a_manifest(run_tool, tmp_path):
    source = tmp_path / 'boxes.json'
    source.write_text(json.dumps(_content(200)))
    run_tool('tools/dataset_converters/split_coco_semi.py', source, '--percent', '5', '10', '--folds', '2')
    out = tmp_path / 'semi_supervised'
    labelled, rest = (read_coco(out / f'boxes.1@10{suffix}.json') for suffix in ('', '-unlabeled'))
    ids = [{image['id'] for image in part['images']} for part in (labelled, rest)]
    assert len(ids[0]) == 20 and not ids[0] & ids[1] and ids[0] | ids[1] == set(range(200))
    assert {row['image_id'] for row in labelled['annotations']} == ids[0] and len(labelled['categories']) == 4
    manifest = json.loads((out / 'manifest.json').read_text())
    assert len(manifest['splits']) == 8 and manifest['nested']
    row = next(row for row in manifest['splits'] if row['file'] == 'boxes.1@10.json')
    assert row['sha256'] == id_hash(ids[0])


def test_command_names_what_is_no_annotation_file(run_tool, tmp_path):
    (tmp_path / 'bad.json').write_text('{"images": []}')
    done = run_tool('tools/dataset_converters/split_coco_semi.py', tmp_path / 'bad.json', check=False)
    assert done.returncode == 2 and 'lists no images' in done.stderr


def test_voc_folders_become_coco(tmp_path):
    (tmp_path / 'a.xml').write_text(
        '<annotation><filename>a.jpg</filename><size><width>60</width><height>40</height></size><object><name>dog</name>'
        '<difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>10</xmax><ymax>21</ymax></bndbox></object></annotation>'
    )
    content = read_voc(tmp_path)
    assert content['annotations'][0]['bbox'] == [0, 1, 10, 20] and content['categories'] == [dict(id=1, name='dog')]
    with pytest.raises(DataError, match='no VOC xml'):
        read_voc(tmp_path / 'nowhere')


VOC = (
    '<annotation><filename>b.jpg</filename><size><width>60</width><height>40</height></size><object><name>dog</name>'
    '<difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>10</xmax><ymax>21</ymax></bndbox></object></annotation>'
)


@pytest.mark.parametrize(
    'text, fault',
    [
        (VOC[:150], 'no XML, or cut off'),
        (VOC.replace('<xmax>10</xmax>', ''), '<bndbox/xmax> is missing'),
        (VOC.replace('<xmax>10', '<xmax>ten'), "<bndbox/xmax> is 'ten' where a number"),
        (VOC.replace('<xmax>10', '<xmax>nan'), "<bndbox/xmax> is 'nan' where a number"),
        (VOC.replace('<xmax>10', '<xmax>0'), 'no positive width and height'),
        (VOC.replace('<name>dog</name>', '<name/>'), '<name> is missing or empty'),
        (VOC.replace('<width>60</width>', ''), '<size/width> is missing'),
        (VOC.replace('<filename>b.jpg</filename>', ''), '<filename> is missing'),
    ],
)
def test_malformed_voc_file_is_named(tmp_path, text, fault):
    (tmp_path / 'b.xml').write_text(text)
    with pytest.raises(AnnotationError, match=fault) as raised:
        read_voc(tmp_path)
    assert 'b.xml' in str(raised.value)


@pytest.mark.parametrize('difficult', ['Unspecified', '', '0'])
def test_difficulty_that_is_not_stated_is_none(tmp_path, difficult):
    (tmp_path / 'b.xml').write_text(VOC.replace('<difficult>0', f'<difficult>{difficult}'))
    (tmp_path / '._b.xml').write_bytes(b'\0\5\x16\7 not a VOC file but what macOS leaves')
    assert [row['iscrowd'] for row in read_voc(tmp_path)['annotations']] == [0]
    (tmp_path / 'b.xml').write_text(VOC.replace('<difficult>0', '<difficult>1'))
    assert [row['iscrowd'] for row in read_voc(tmp_path)['annotations']] == [1]


def test_command_refuses_ids_that_stand_twice(run_tool, tmp_path):
    """Merged files: a part would hold images of which the other part has the boxes."""
    content = _content(20)
    content['images'] += [dict(image, file_name=f'other/{image["file_name"]}') for image in content['images'][:5]]
    (tmp_path / 'merged.json').write_text(json.dumps(content))
    done = run_tool('tools/dataset_converters/split_coco_semi.py', tmp_path / 'merged.json', '--percent', '10', check=False)
    assert done.returncode == 2 and '5 ids of images stand more than once (0, 1, 2, 3, 4)' in done.stderr
    assert not (tmp_path / 'semi_supervised').exists()


def test_voc_image_sets_are_kept_apart(tmp_path):
    """A draw from all xml files would have put test images among the labelled ones."""
    voc = tmp_path / 'voc'
    (voc / 'Annotations').mkdir(parents=True)
    for number in range(12):
        text = f'<annotation><filename>{number}.jpg</filename><size><width>8</width><height>8</height></size></annotation>'
        (voc / 'Annotations' / f'{number:02d}.xml').write_text(text)
    lists = voc / 'ImageSets' / 'Main'
    lists.mkdir(parents=True)
    (lists / 'train.txt').write_text(''.join(f'{number:02d}\n' for number in range(8)))
    (lists / 'test.txt').write_text(''.join(f'{number:02d}\n' for number in range(8, 12)))
    (lists / 'cat_train.txt').write_text('00 1\n')
    arguments = [str(voc), '--voc', '--count', '4', '--folds', '2', '--out', str(tmp_path / 'out')]
    split_coco_semi.main(arguments)
    for fold in (1, 2):
        parts = [
            {
                int(image['file_name'][:-4])
                for image in read_coco(tmp_path / 'out' / f'voc_train.{fold}@4img{suffix}.json')['images']
            }
            for suffix in ('', '-unlabeled')
        ]
        assert len(parts[0]) == 4 and parts[0] | parts[1] == set(range(8))
    assert len(read_coco(tmp_path / 'out' / 'test.json')['images']) == 4
    with pytest.raises(DataError, match='there are train, test'):
        read_voc(voc, 'val')
    (lists / 'test.txt').write_text('00\n')
    with pytest.raises(DataError, match='1 images are in ImageSets/Main/train.txt and test.txt'):
        split_coco_semi.main(arguments)
