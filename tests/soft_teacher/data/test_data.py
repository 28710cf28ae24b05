"""Augmentations and their matrices, data sets, and data that cannot be trained on."""

import json
import runpy

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmdet.structures.bbox import HorizontalBoxes

from openmsra.engine.config.files import load_config
from openmsra.errors import AnnotationError, DataError, MissingFileError
from openmsra.miniatures.shape_scenes import draw_scene
from openmsra.soft_teacher.data.datasets import LabelledCoco, UnlabelledCoco, UnlabelledFolder
from openmsra.soft_teacher.data.transforms import COLOUR_OPS, GEOMETRIC_OPS, EraseSquares, OneColourOp, OneGeometricOp
from openmsra.soft_teacher.data.views import ViewBranches
from openmsra.soft_teacher.geometry import project_boxes

META = ('img_id', 'img_shape', 'homography_matrix')
PACK = dict(type='mmdet.PackDetInputs', meta_keys=META)
RESIZE = dict(type='RandomResize', resize_type='mmdet.Resize', scale=[(200, 80), (200, 160)], keep_ratio=True)
FLIP = dict(type='mmdet.RandomFlip', prob=0.5)


def _picture(box: tuple[int, int, int, int], shape=(120, 150)) -> dict:
    image = np.zeros((*shape, 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    return dict(
        img=image,
        img_shape=shape,
        ori_shape=shape,
        height=shape[0],
        width=shape[1],
        img_id=0,
        gt_bboxes=HorizontalBoxes(np.array([box], np.float32)),
        gt_bboxes_labels=np.zeros(1, np.int64),
        gt_ignore_flags=np.zeros(1, bool),
    )


def test_drawn_rectangles_land_where_the_matrix_says():
    """200 draws of the whole strong pipeline: pixels of a white rectangle against its projected corners."""
    np.random.seed(0)
    pipeline = Compose([RESIZE, FLIP, dict(type='OneGeometricOp', fill=0)])
    box, checked = (60, 45, 90, 80), 0
    for _ in range(200):
        results = pipeline(_picture(box))
        height, width = results['img'].shape[:2]
        matrix = torch.from_numpy(results['homography_matrix'])
        expected = project_boxes(torch.tensor([box]).float(), matrix, (height, width))[0]
        rows, columns = np.nonzero(results['img'][..., 0] > 127)
        drawn = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
        assert (drawn - expected).abs().max() < 1.5
        torch.testing.assert_close(results['gt_bboxes'].tensor[0], expected, atol=0.01, rtol=0)
        checked += 1
    assert checked == 200


@pytest.mark.parametrize('op', GEOMETRIC_OPS)
def test_geometric_ranges(op):
    transform = OneGeometricOp((op,))
    drawn = np.array([transform.matrix(*transform._draw(), 100, 200) for _ in range(400)])
    angles = np.rad2deg(np.arcsin(drawn[:, 1, 0].clip(-1, 1)))
    low, high = dict(
        translate_x=(drawn[:, 0, 2], 20),
        translate_y=(drawn[:, 1, 2], 10),
        rotate=(angles, 30),
        shear=(drawn[:, 0, 1], np.tanh(np.pi / 6)),
    )[op]
    assert len(np.unique(low.round(6))) > 100
    assert 0.9 * high < np.abs(low).max() <= high + 1e-6 and low.min() < 0 < low.max()
    if op == 'shear':
        assert np.abs(drawn[:, 1, 0]).max() > 0.4, 'both axes are sheared'


def test_colours_by_hand():
    grey = np.full((4, 4, 3), 100, np.uint8)
    assert (OneColourOp(('identity',)).transform(dict(img=grey))['img'] == 100).all()
    from PIL import Image

    image = Image.fromarray(np.full((4, 4, 3), 200, np.uint8))
    assert np.asarray(COLOUR_OPS['solarize'](image, 1)).max() == 55  # threshold 25
    assert np.asarray(COLOUR_OPS['solarize'](image, 9)).max() == 200  # threshold 230
    assert np.asarray(COLOUR_OPS['posterize'](image, 9)).max() == 128  # one bit
    assert np.asarray(COLOUR_OPS['posterize'](image, 1)).max() == 192  # four bits
    assert np.asarray(COLOUR_OPS['brightness'](image, 9)).max() == 255
    assert np.asarray(COLOUR_OPS['brightness'](image, 1)).max() == 56  # 0.28


def test_colour_order_is_bgr_outside_and_nothing_is_black():
    np.random.seed(0)
    blue = np.zeros((4, 4, 3), np.uint8)
    blue[..., 0] = 255
    assert OneColourOp(('identity',)).transform(dict(img=blue))['img'][0, 0].tolist() == [255, 0, 0]
    noise = np.random.randint(0, 255, (32, 32, 3), np.uint8)
    transform = OneColourOp(('posterize',))
    assert all(transform.transform(dict(img=noise))['img'].any() for _ in range(100))


def test_erased_patches():
    np.random.seed(0)
    shares, counts, erase = [], set(), EraseSquares()
    for _ in range(300):
        drawn = erase._draw()
        counts.add(len(drawn))
        shares += drawn[:, 0].tolist()
    assert counts == {1, 2, 3, 4} and 0.18 < max(shares) < 0.2
    white = np.full((100, 200, 3), 255, np.uint8)
    erased = EraseSquares(ratio=(0.19, 0.2)).transform(dict(img=white))['img']
    assert set(np.unique(erased)) == {125, 255} and white.min() == 255


def _views(strong: list) -> ViewBranches:
    return ViewBranches(['sup', 'unsup_teacher', 'unsup_student'], unsup_teacher=[RESIZE, FLIP, PACK], unsup_student=strong)


def test_views_of_an_image_share_its_id_and_have_their_own_matrices():
    np.random.seed(1)
    results = _views([RESIZE, FLIP, dict(type='OneGeometricOp'), PACK])(_picture((60, 45, 90, 80)))
    weak, strong = (results['data_samples'][branch] for branch in ('unsup_teacher', 'unsup_student'))
    assert results['inputs']['sup'] is None and weak.img_id == strong.img_id == 0
    assert not np.allclose(weak.homography_matrix, strong.homography_matrix)


@pytest.mark.parametrize(
    'guilty',
    [
        dict(type='mmdet.RandomShift', prob=1.0, max_shift_px=32, filter_thr_px=1),
        dict(type='mmdet.Expand', prob=1.0),
        dict(type='mmdet.RandomAffine', max_rotate_degree=20.0),
        dict(type='mmdet.RandomOrder', transforms=[dict(type='OneColourOp'), dict(type='mmdet.RandomAffine')]),
        dict(type='Resize', scale=(100, 100)),
        dict(type='mmdet.Mosaic'),
    ],
    ids=lambda transform: transform['type'],
)
def test_transform_without_a_matrix_is_refused(guilty):
    with pytest.raises(ValueError, match='does not record its homography_matrix'):
        _views([guilty, PACK])


def test_trial_draws_no_random_number_and_packing_is_checked():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    _views([RESIZE, FLIP, dict(type='OneGeometricOp'), PACK])
    assert (np.random.get_state()[1] == before).all()
    with pytest.raises(ValueError, match='does not pack homography_matrix'):
        _views([RESIZE, dict(type='mmdet.PackDetInputs', meta_keys=('img_id', 'img_shape'))])


def test_weak_views_of_the_recipes_keep_their_colours():
    for name in ('_base_coco', '_base_shapes'):
        cfg = load_config(f'configs/soft_teacher/{name}.py')
        weak = cfg.train_dataloader.dataset.datasets[1].pipeline[-1].unsup_teacher
        assert [transform.type for transform in weak] == ['RandomResize', 'mmdet.RandomFlip', 'mmdet.PackDetInputs']


@pytest.fixture
def coco(tmp_path):
    """A COCO file with one labelled and one empty image, its folder and its classes."""
    for name in ('a.png', 'b.png'):
        cv2.imwrite(str(tmp_path / name), np.zeros((40, 60, 3), np.uint8))
    content = dict(
        images=[dict(id=i, file_name=name, width=60, height=40) for i, name in enumerate(('a.png', 'b.png'))],
        categories=[dict(id=7, name='kitten'), dict(id=9, name='puppy')],
        annotations=[dict(id=1, image_id=0, category_id=7, bbox=[5, 6, 20, 10], area=200, iscrowd=0)],
    )
    (tmp_path / 'boxes.json').write_text(json.dumps(content))
    return dict(data_root=str(tmp_path), ann_file='boxes.json', pipeline=[], metainfo=dict(classes=('kitten', 'puppy')))


def test_labels_are_hidden_from_the_network(coco):
    row = UnlabelledCoco(hidden=True, **coco)[0]
    assert row['instances'] == [] and row['hidden_bboxes'].tolist() == [[5, 6, 25, 16]] and row['hidden_labels'].tolist() == [0]
    assert 'hidden_bboxes' not in UnlabelledCoco(**coco)[0]


def test_class_that_the_file_does_not_know_is_named(coco):
    coco['metainfo'] = dict(classes=('kiten',))
    with pytest.raises(DataError, match="'kiten'.*Did you mean kitten"):
        LabelledCoco(**coco)


@pytest.mark.parametrize(
    ('content', 'fault'),
    [
        (dict(images=[dict(id=1, file_name='../a.jpg')], annotations=[], categories=[]), 'leads out of'),
        (dict(images=[dict(id=1, file_name='/a.jpg')], annotations=[], categories=[]), 'leads out of'),
        (dict(images=[dict(id=1)], annotations=[], categories=[]), 'not in the COCO format'),
        (dict(images=3, annotations=[], categories=[]), "'images' must be list"),
        ([], 'holds a list where an object is expected'),
    ],
)
def test_strange_annotation_file_is_refused(coco, content, fault, tmp_path):
    (tmp_path / 'strange.json').write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match=fault):
        LabelledCoco(**dict(coco, ann_file=str(tmp_path / 'strange.json')))


def test_filter_that_leaves_nothing_is_named(coco):
    with pytest.raises(DataError, match='none of its 2 images is left'):
        LabelledCoco(filter_cfg=dict(filter_empty_gt=True, min_size=50), **coco)
    assert len(LabelledCoco(filter_cfg=dict(filter_empty_gt=True), **coco)) == 1


def test_folder_of_unlabelled_images(tmp_path):
    (tmp_path / 'inner').mkdir()
    cv2.imwrite(str(tmp_path / 'one.jpg'), np.zeros((40, 60, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'inner' / 'two.PNG'), np.zeros((70, 30, 3), np.uint8))
    (tmp_path / 'notes.txt').write_text('no image')
    rows = UnlabelledFolder(str(tmp_path), pipeline=[])
    assert sorted((row['width'], row['height']) for row in rows) == [(30, 70), (60, 40)]
    assert len(UnlabelledFolder(str(tmp_path), recursive=False, pipeline=[])) == 1
    (tmp_path / 'list.txt').write_text('inner/two.PNG\n')
    assert len(UnlabelledFolder(str(tmp_path), list_file='list.txt', pipeline=[])) == 1


def test_list_that_states_sizes_is_believed_and_no_image_opened(tmp_path, monkeypatch):
    for name in ('one.jpg', 'inner/two.PNG'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((40, 60, 3), np.uint8))
    main = runpy.run_path('tools/dataset_converters/image_sizes.py')['main']
    main([str(tmp_path)])
    assert (tmp_path / 'image_sizes.txt').read_text() == 'inner/two.PNG\t60\t40\none.jpg\t60\t40\n'
    monkeypatch.setattr('openmsra.soft_teacher.data.datasets.upright_size', None)
    rows = list(UnlabelledFolder(str(tmp_path), list_file='image_sizes.txt', pipeline=[]))
    facts = [(row['img_path'], row['img_id'], row['width'], row['height']) for row in rows]
    assert facts == [(str(tmp_path / name), str(tmp_path / name), 60, 40) for name in ('inner/two.PNG', 'one.jpg')]
    for line in ('one.jpg\t60', 'one.jpg\t60\t0', 'one.jpg\t60\tx', 'one.jpg\t60\t40\t3'):
        (tmp_path / 'list.txt').write_text(f'inner/two.PNG\n{line}\n')
        with pytest.raises(AnnotationError, match=r'list\.txt, line 2: behind the name come a width and a height'):
            UnlabelledFolder(str(tmp_path), list_file='list.txt', pipeline=[])
    (tmp_path / 'bad.jpg').write_bytes(b'not a picture')
    with pytest.raises(DataError, match=r'1 of 3 images were left out.*\n.*bad\.jpg: .*not an image'):
        main([str(tmp_path), '--processes', '2'])
    assert len((tmp_path / 'image_sizes.txt').read_text().splitlines()) == 2


def test_empty_folders_and_broken_images_are_named(tmp_path):
    with pytest.raises(MissingFileError, match='no images'):
        UnlabelledFolder(str(tmp_path), pipeline=[])
    with pytest.raises(MissingFileError, match='nowhere: there is no such file or folder'):
        UnlabelledFolder(str(tmp_path / 'nowhere'), pipeline=[])
    cv2.imwrite(str(tmp_path / 'good.png'), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / 'bad.jpg').write_bytes(b'not a picture')
    with pytest.raises(DataError, match=r'1 of 2 images cannot be read: .*bad\.jpg'):
        UnlabelledFolder(str(tmp_path), pipeline=[])
    assert len(UnlabelledFolder(str(tmp_path), skip_broken=True, pipeline=[])) == 1


def test_scenes_are_the_same_each_time_and_boxes_hold_their_shapes():
    first, shapes = draw_scene(np.random.default_rng([1, 0, 5]))
    again, _ = draw_scene(np.random.default_rng([1, 0, 5]))
    assert (first == again).all() and 1 <= len(shapes) <= 3
    assert all((shape.outline >= -1).all() and (shape.outline <= 97).all() for shape in shapes)
