"""COCO files that would be misread without a word are refused, for Soft Teacher and for MaskCo's probes alike."""

import copy
import json

import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image

from openmsra.common.coco import read_coco
from openmsra.common.images import read_annotated, upright_size
from openmsra.errors import AnnotationError, ImageError
from openmsra.maskco.data.probe_data import CocoRegions

FILE = dict(
    images=[dict(id=1, file_name='a.png', width=60, height=40), dict(id=2, file_name='b.png', width=60, height=40)],
    categories=[dict(id=7, name='kitten'), dict(id=9, name='puppy')],
    annotations=[
        dict(id=1, image_id=1, category_id=7, bbox=[0, 0, 30, 40]),
        dict(id=2, image_id=2, category_id=9, bbox=[0, 0, 60, 20]),
    ],
)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c['images'][1].update(id=1), '1 ids of images stand more than once'),
        (lambda c: c['images'][1].update(file_name='a.png'), '1 file_names of images stand more than once'),
        (lambda c: c['categories'][1].update(name='kitten'), '1 names of categories stand more than once'),
        (lambda c: c['annotations'][1].update(category_id=8), 'no categories with these ids'),
        (lambda c: [row.update(image_id=str(row['image_id'])) for row in c['annotations']], 'a number in one place and a text'),
        (lambda c: c['images'][0].update(width='60'), "width of image 1 is '60'"),
        (lambda c: c['annotations'][0].update(bbox=[0, 0, 'x', 1]), 'bbox that is not'),
    ],
)
def test_ambiguous_files_are_refused_by_every_reader(tmp_path, change, message):
    content = copy.deepcopy(FILE)
    change(content)
    (tmp_path / 'boxes.json').write_text(json.dumps(content), encoding='utf-8')
    with pytest.raises(AnnotationError, match=message):
        read_coco(tmp_path / 'boxes.json')
    with pytest.raises(AnnotationError, match=message):
        CocoRegions(str(tmp_path), str(tmp_path / 'boxes.json'), [], bank=True, boxes=1)


def test_annotations_of_unknown_images_are_counted(tmp_path, monkeypatch):
    content = copy.deepcopy(FILE)
    content['annotations'][1]['image_id'] = 3
    (tmp_path / 'boxes.json').write_text(json.dumps(content), encoding='utf-8')
    said = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'log', lambda level, message: said.append(message))
    read_coco(tmp_path / 'boxes.json')
    assert '1 of 2 annotations are of images that it does not list, such as 3; they are left out' in said[0]


@pytest.mark.parametrize('orientation', range(1, 9))
def test_pixels_fit_the_boxes_that_were_drawn_on_them(tmp_path, orientation):
    """Whether the file states the size of the stored or of the upright pixels, region probes see what was boxed."""
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[:, :30] = 200  # the left half, as stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / 'a.png', exif=exif)
    upright = (40, 60) if orientation > 4 else (60, 40)
    assert upright_size(tmp_path / 'a.png') == upright
    assert read_annotated(tmp_path / 'a.png', upright).shape[:2] == upright[::-1]
    if orientation > 4:
        assert (read_annotated(tmp_path / 'a.png', (60, 40)) == stored).all()
    with pytest.raises(AnnotationError, match='30x20'):
        read_annotated(tmp_path / 'a.png', (30, 20))


def test_regions_of_turned_images(tmp_path):
    """The left half of the stored pixels is bright and boxed; the probe's region must be bright too."""
    content = copy.deepcopy(FILE)
    content['images'], content['annotations'] = content['images'][:1], content['annotations'][:1]
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[:, :30] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / 'a.png', exif=exif)
    (tmp_path / 'boxes.json').write_text(json.dumps(content), encoding='utf-8')
    dataset = CocoRegions(str(tmp_path), str(tmp_path / 'boxes.json'), [], bank=True, boxes=1, size=32)
    row = dataset[0]
    x1, y1, x2, y2 = np.round(row['gt_boxes'][0]).astype(int)
    assert (x1, y1, x2, y2) == (0, 0, 16, 32) and row['img'][:, :15].min() == 200 and row['img'][:, 17:].max() == 0


def test_size_of_what_is_no_image(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'\x89PNG\r\n\x1a\n' + bytes(30))
    with pytest.raises(ImageError, match='a.png'):
        upright_size(tmp_path / 'a.png')
    with pytest.raises(ImageError, match='no such image'):
        upright_size(tmp_path / 'b.png')


def test_what_the_format_leaves_open_is_filled_in(tmp_path):
    rows = [
        dict(id=k, image_id=1, category_id=1, bbox=[1, 2, 20, 30], **more) for k, more in enumerate([{}, dict(area=5, iscrowd=1)])
    ]
    content = dict(images=[dict(id=1, file_name='a.png')], categories=[dict(id=1, name='cat')], annotations=rows)
    (tmp_path / 'boxes.json').write_text(json.dumps(content))
    read = read_coco(tmp_path / 'boxes.json')['annotations']
    assert [(row['area'], row['iscrowd']) for row in read] == [(600, 0), (5, 1)]
