"""Annotation files as users bring them: merged, incomplete, turned, in another order, with a byte-order mark."""

import copy
import json

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset
from mmengine.logging import MMLogger
from PIL import Image

from openmsra.common.coco import read_coco
from openmsra.errors import AnnotationError, ConfigError, DataError
from openmsra.registry import MODELS
from openmsra.soft_teacher.data.datasets import LabelledCoco, UnlabelledFolder
from openmsra.soft_teacher.data.transforms import LoadCheckedImage
from openmsra.soft_teacher.evaluation.metric import CheckedCocoMetric

CLASSES = ('kitten', 'puppy')
FILE = dict(
    images=[dict(id=10, file_name='a.png', width=60, height=40), dict(id=20, file_name='b.png', width=60, height=40)],
    categories=[dict(id=7, name='kitten'), dict(id=9, name='puppy')],
    annotations=[
        dict(id=1, image_id=10, category_id=7, bbox=[5, 6, 20, 10], area=200, iscrowd=0),
        dict(id=2, image_id=20, category_id=9, bbox=[1, 2, 30, 30], area=900, iscrowd=0),
    ],
)


@pytest.fixture
def content():
    return copy.deepcopy(FILE)


@pytest.fixture
def write(tmp_path):
    """Write a content and two images; returns the arguments of a data set."""
    for name in ('a.png', 'b.png'):
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / name)

    def make(content: dict, encoding: str = 'utf-8', **kwargs) -> dict:
        (tmp_path / 'boxes.json').write_text(json.dumps(content), encoding=encoding)
        return dict(data_root=str(tmp_path), ann_file='boxes.json', pipeline=[], metainfo=dict(classes=CLASSES), **kwargs)

    return make


def _boxes(dataset) -> list[tuple]:
    return [(row['img_id'], instance['bbox_label'], instance['bbox']) for row in dataset for instance in row['instances']]


BOXES = [(10, 0, [5, 6, 25, 16]), (20, 1, [1, 2, 31, 32])]


@pytest.mark.parametrize('missing', ['area', 'iscrowd'])
def test_fields_that_follow_from_others_may_be_missing(write, content, missing):
    for row in content['annotations']:
        row.pop(missing)
    assert _boxes(LabelledCoco(**write(content))) == BOXES


def test_sizes_that_the_file_does_not_state_are_read_from_the_images(write, content, tmp_path):
    for row in content['images']:
        row.pop('width')
        row.pop('height')
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((60, 40, 3), np.uint8)).save(tmp_path / 'b.png', exif=exif)  # 60 x 40 once it is turned
    rows = LabelledCoco(**write(content))
    assert _boxes(rows) == BOXES and [(row['width'], row['height']) for row in rows] == [(60, 40)] * 2
    (tmp_path / 'b.png').unlink()
    with pytest.raises(DataError, match='states no size of b.png'):
        LabelledCoco(**write(content))


def test_byte_order_mark_is_no_fault(write, content):
    assert _boxes(LabelledCoco(**write(content, 'utf-8-sig'))) == BOXES


def test_labels_follow_the_names_whatever_the_order_of_the_file(write, content):
    """mmdet numbers them in the order of the file: a validation file in another order would mean other classes."""
    content['categories'].reverse()
    assert _boxes(LabelledCoco(**write(content))) == BOXES


def test_text_in_the_place_of_names_is_refused(write, content):
    with pytest.raises(DataError, match=r"write \('kitten',\)"):
        LabelledCoco(**{**write(content), 'metainfo': dict(classes='kitten')})


@pytest.mark.parametrize('name, count', [('images', 2), ('annotations', 1), ('categories', 1)])
def test_ids_that_stand_twice_are_refused(write, content, name, count):
    content[name] += copy.deepcopy(content[name][:count])
    with pytest.raises(AnnotationError, match=rf'boxes.json: {count} ids of {name} stand more than once'):
        LabelledCoco(**write(content))


@pytest.mark.parametrize(
    'box', [[1, 2, 3], [1, 2, -3, 4], [1, 2, float('nan'), 4], [1, 2, float('inf'), 4], ['1', 2, 3, 4], [], [None] * 4]
)
def test_malformed_boxes_are_named(write, content, box):
    content['annotations'][1]['bbox'] = box
    with pytest.raises(AnnotationError, match=r'boxes.json.*1 annotations have a bbox that is not .*: 2 with'):
        LabelledCoco(**write(content))


@pytest.mark.parametrize(
    'change, fault',
    [
        (lambda c: c['annotations'][0].pop('id'), 'id of entry 0 of annotations is missing'),
        (lambda c: c['annotations'][0].update(image_id=None), 'image_id of entry 0 of annotations is None'),
        (lambda c: c['annotations'][0].update(bbox='1,2,3,4'), "bbox of entry 0 of annotations is '1,2,3,4'"),
        (lambda c: c['images'].append(5), 'images must be a list of objects'),
        (lambda c: c.update(annotations={}), 'annotations must be a list of objects'),
        (lambda c: c['categories'][0].pop('name'), 'name of entry 0 of categories is missing'),
        (lambda c: c['images'].clear(), 'it lists no images'),
    ],
)
def test_other_faults_are_named(write, content, change, fault, tmp_path):
    change(content)
    write(content)
    with pytest.raises(AnnotationError, match=fault):
        read_coco(tmp_path / 'boxes.json')


def test_labelled_file_and_unlabelled_folder_make_one_data_set(write, content, tmp_path):
    """The example of the page: only the classes are given, and for both."""
    labelled = write(content)
    folder = UnlabelledFolder(folders=[str(tmp_path)], metainfo=dict(classes=CLASSES), pipeline=[])
    joined = ConcatDataset([LabelledCoco(**labelled), folder])
    assert len(joined) == 4 and joined.metainfo['classes'] == CLASSES
    content['categories'] = [dict(id=k, name=name) for k, name in enumerate(LabelledCoco.METAINFO['classes'])]
    labelled = write(content)
    del labelled['metainfo']
    assert len(ConcatDataset([LabelledCoco(**labelled), UnlabelledFolder(str(tmp_path), pipeline=[])])) == 4


def test_folder_leaves_out_what_is_no_image_and_finds_every_kind(tmp_path):
    picture = Image.fromarray(np.zeros((40, 60, 3), np.uint8))
    for name in ('a.jpg', 'b.jfif', 'c.jpe', 'd.gif', 'e.ppm', 'f.avif'):
        picture.save(tmp_path / name, format={'.jfif': 'JPEG', '.jpe': 'JPEG'}.get(name[1:]))
    (tmp_path / '._a.jpg').write_bytes(b'macOS')
    (tmp_path / '.ipynb_checkpoints').mkdir()
    picture.save(tmp_path / '.ipynb_checkpoints' / 'a.jpg')
    (tmp_path / 'elsewhere').mkdir()
    picture.save(tmp_path / 'elsewhere' / 'g.png')
    (tmp_path / 'link').symlink_to(tmp_path / 'elsewhere')
    names = {row['img_path'].rsplit('/')[-1] for row in UnlabelledFolder(str(tmp_path), pipeline=[])}
    assert names == {'a.jpg', 'b.jfif', 'c.jpe', 'd.gif', 'e.ppm', 'f.avif', 'g.png'}


def _picture() -> np.ndarray:
    """Red 40 x 60 with a white rectangle at x 5..25, y 6..16."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 0] = 200
    image[6:16, 5:25] = 255
    return image


UNTURNED = {1: lambda x: x, 3: lambda x: x[::-1, ::-1], 6: np.rot90, 8: lambda x: np.rot90(x, -1), 5: lambda x: x.swapaxes(0, 1)}


@pytest.mark.parametrize('orientation', list(UNTURNED))
def test_boxes_fit_turned_images_whichever_pixels_they_were_drawn_on(tmp_path, orientation):
    upright = _picture()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(UNTURNED[orientation](upright))
    Image.fromarray(stored).save(tmp_path / 'a.png', exif=exif)
    load, path = LoadCheckedImage(), str(tmp_path / 'a.png')
    for expected in (upright, stored) if orientation != 3 else (upright,):
        results = load(dict(img_path=path, height=expected.shape[0], width=expected.shape[1]))
        assert np.array_equal(results['img'][..., ::-1], expected) and results['img_shape'] == expected.shape[:2]
    assert np.array_equal(load(dict(img_path=path))['img'][..., ::-1], upright)
    with pytest.raises(AnnotationError, match='a.png: the image has 60x40 pixels, its annotation file says 120x80'):
        load(dict(img_path=path, height=80, width=120))


def test_loaded_pixels_are_those_of_mmcv(tmp_path):
    from mmcv.transforms import LoadImageFromFile

    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    for name in ('a.png', 'a.jpg'):
        Image.fromarray(pixels).save(tmp_path / name)
        ours, theirs = (load(dict(img_path=str(tmp_path / name))) for load in (LoadCheckedImage(), LoadImageFromFile()))
        assert np.array_equal(ours['img'], theirs['img']) and ours['img_shape'] == theirs['img_shape'] == ours['ori_shape']


def _evaluate(path, labels: tuple[int, int]) -> dict:
    metric = CheckedCocoMetric(ann_file=str(path), metric='bbox')
    metric.dataset_meta = dict(classes=CLASSES)
    samples = [
        dict(
            img_id=image,
            ori_shape=(40, 60),
            pred_instances=dict(
                bboxes=torch.tensor([box], dtype=torch.float), scores=torch.ones(1), labels=torch.tensor([label])
            ),
        )
        for (image, _, box), label in zip(BOXES, labels)
    ]
    metric.process({}, samples)
    return metric.evaluate(2)


def test_a_network_that_finds_nothing_has_ap_0(write, content, tmp_path):
    """mmdet gives no figure then, and save_best would end the run."""
    write(content)
    metric = CheckedCocoMetric(ann_file=str(tmp_path / 'boxes.json'), metric='bbox')
    metric.dataset_meta = dict(classes=CLASSES)
    nothing = dict(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.long))
    metric.process({}, [dict(img_id=image, ori_shape=(40, 60), pred_instances=nothing) for image, _, _ in BOXES])
    figures = metric.evaluate(len(BOXES))
    assert figures['coco/bbox_mAP'] == figures['coco/bbox_mAP_50'] == 0.0


@pytest.mark.parametrize('change', ['nothing', 'no area', 'reversed', 'byte-order mark'])
def test_metric_of_perfect_boxes_is_1(write, content, tmp_path, change):
    MMLogger.get_current_instance()
    if change == 'no area':
        content['annotations'] = [
            {k: v for k, v in row.items() if k not in ('area', 'iscrowd')} for row in content['annotations']
        ]
    if change == 'reversed':
        content['categories'].reverse()
    write(content, 'utf-8-sig' if change == 'byte-order mark' else 'utf-8')
    assert _evaluate(tmp_path / 'boxes.json', (0, 1))['coco/bbox_mAP'] == pytest.approx(1)
    assert _evaluate(tmp_path / 'boxes.json', (1, 0))['coco/bbox_mAP'] == pytest.approx(0)


def test_metric_refuses_a_malformed_file_before_the_network_runs(write, content, tmp_path):
    content['annotations'][0]['bbox'] = [1]
    write(content)
    with pytest.raises(AnnotationError, match='bbox'):
        CheckedCocoMetric(ann_file=str(tmp_path / 'boxes.json'))


def test_head_with_too_few_classes_is_refused(tiny_cfg, batch):
    """Labels beyond the head would be its background: two classes, a head of one, sup_loss_bbox 0 and not a word."""
    cfg = copy.deepcopy(tiny_cfg)
    cfg.detector.roi_head.bbox_head.num_classes = 2
    model = MODELS.build(cfg)
    samples = dict(sup=batch[1]['sup'])
    raw = dict(inputs=dict(sup=[torch.zeros(3, 96, 96, dtype=torch.uint8)] * 2), data_samples=samples)
    with pytest.raises(DataError, match='class number 2 .* num_classes=2'):
        model.data_preprocessor(raw, True)
    cfg.detector.roi_head.bbox_head.num_classes = 3
    assert MODELS.build(cfg).data_preprocessor(raw, True)['inputs']['sup'].shape == (2, 3, 96, 96)


@pytest.mark.parametrize('phase', ['train', 'val', 'test'])
def test_head_with_another_number_of_classes_is_refused_before_the_run(build, phase):
    from types import SimpleNamespace

    from openmsra.soft_teacher.hooks import NumClassesHook

    def runner(classes: tuple) -> SimpleNamespace:
        loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=classes)))
        return SimpleNamespace(model=model, **{f'{phase}_dataloader': loader})

    model, check = build(), getattr(NumClassesHook(), f'before_{phase}')
    check(runner(('a', 'b', 'c')))
    with pytest.raises(ConfigError, match=r'2 classes \(a, b\).*num_classes=3'):
        check(runner(('a', 'b')))
