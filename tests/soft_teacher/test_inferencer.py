"""Images in, boxes and COCO results out, which pycocotools reads."""

import copy
import json

import cv2
import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from openmsra.apis import list_models
from openmsra.engine.checkpoint.io import save_file
from openmsra.engine.config.files import as_config, load_config
from openmsra.errors import CheckpointError, DataError, MissingFileError
from openmsra.soft_teacher.inferencer import COCO_IDS, SoftTeacherInferencer
from tests.soft_teacher.conftest import CONFIG


@pytest.fixture
def weights(build, tmp_path):
    file = tmp_path / 'weights.pth'
    save_file(dict(state_dict=build().state_dict()), file)
    return file


@pytest.fixture
def folder(tmp_path):
    """Two images and a third that is none."""
    folder = tmp_path / 'images'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (('a.png', (60, 90, 3)), ('b.jpg', (90, 60, 3))):
        cv2.imwrite(str(folder / name), rng.integers(0, 255, shape, np.uint8))
    return folder


def _load(out: str) -> COCO:
    """What pycocotools makes of the two files."""
    return COCO(str(out / 'images.json')).loadRes(str(out / 'results.json'))


def test_rows_drawings_and_results(weights, folder, tmp_path):
    infer, out = SoftTeacherInferencer(CONFIG, weights), tmp_path / 'out'
    rows = infer(folder, score_thr=0.1, out_dir=out)
    assert [row['image'].rsplit('/')[-1] for row in rows] == ['a.png', 'b.jpg']
    assert set(rows[0]['names']) <= {'red', 'green', 'blue'} and len(rows[0]['boxes'])
    assert (rows[0]['boxes'][:, 2] <= 90).all() and (rows[0]['boxes'][:, 3] <= 60).all(), 'boxes are in pixels of the file'
    loaded = _load(out)
    for number, row in enumerate(rows, start=1):
        read = loaded.loadAnns(loaded.getAnnIds(number))
        boxes = np.array([result['bbox'] for result in read])
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_allclose(boxes, row['boxes'], atol=1e-3)
        assert [loaded.cats[result['category_id']]['name'] for result in read] == row['names']
    drawn, plain = (cv2.imread(str(file)) for file in (out / rows[0]['drawing'], folder / 'a.png'))
    assert drawn.shape == (60, 90, 3) and (drawn != plain).any()
    single = infer(cv2.imread(str(folder / 'a.png')))[0]
    np.testing.assert_allclose(single['boxes'], rows[0]['boxes'], atol=1e-3)


def test_category_ids_of_coco_are_the_official_ones(weights, folder, tmp_path):
    """80 of the numbers 1 to 90: 'person' is 1, 'stop sign' 13, 'toothbrush' 90; label + 1 is wrong for 69 of them."""
    cfg = load_config('configs/soft_teacher/soft-teacher_faster-rcnn-r50_8xb5-180k_coco-10pct.py')
    names = dict(zip(CocoDataset.METAINFO['classes'], COCO_IDS, strict=True))
    assert [names[name] for name in ('person', 'fire hydrant', 'stop sign', 'dining table', 'toothbrush')] == [1, 11, 13, 67, 90]
    assert sum(number != label + 1 for label, number in enumerate(COCO_IDS)) == 69
    infer = SoftTeacherInferencer(CONFIG, weights)
    infer.classes = CocoDataset.METAINFO['classes']
    data_root = cfg.test_dataloader.dataset.data_root
    categories = infer._categories(None, tmp_path / data_root / 'not there.json')
    assert {row['name']: row['id'] for row in categories} == names


def test_results_for_an_annotation_file_can_be_evaluated_with_it(weights, folder, tmp_path):
    """Its image and category ids, in another order: boxes that are taken from the results themselves give an AP of 1."""
    infer = SoftTeacherInferencer(CONFIG, weights)
    rows = infer(folder)
    categories = [dict(id=40, name='blue'), dict(id=7, name='red'), dict(id=5, name='green')]
    images = [dict(id=900, file_name='b.jpg', height=90, width=60), dict(id=33, file_name='a.png', height=60, width=90)]
    ids, numbers = {'a.png': 33, 'b.jpg': 900}, {row['name']: row['id'] for row in categories}
    annotations = []
    for row in rows:
        for (x1, y1, x2, y2), name in zip(row['boxes'].tolist(), row['names']):
            box, image = [x1, y1, x2 - x1, y2 - y1], ids[row['image'].rsplit('/')[-1]]
            entry = dict(image_id=image, category_id=numbers[name], bbox=box, area=box[2] * box[3], iscrowd=0)
            annotations.append(dict(entry, id=len(annotations) + 1))
    file = tmp_path / 'truth.json'
    file.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    SoftTeacherInferencer(CONFIG, weights, ann_file=file)(folder, out_dir=tmp_path / 'out')
    truth = COCO(str(file))
    evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / 'out' / 'results.json')), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[1] == pytest.approx(1, abs=1e-3)
    cv2.imwrite(str(folder / 'c.png'), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(DataError, match='c.png: the ann_file has no image of this name'):
        SoftTeacherInferencer(CONFIG, weights, ann_file=file)(folder)
    file.write_text(json.dumps(dict(images=images, annotations=[], categories=categories[:2])))
    with pytest.raises(DataError, match="no category is called 'green'"):
        SoftTeacherInferencer(CONFIG, weights, ann_file=file)


def test_show_dir_draws_every_image_of_the_test(weights, tmp_path):
    """``tools/test.py --show-dir`` with the config as it is; two images of one name do not overwrite each other."""
    from argparse import Namespace

    from openmsra.engine.launch import build_runner
    from tools.test import apply_test_arguments

    cfg = load_config(CONFIG)
    cfg.work_dir, cfg.launcher, cfg.load_from = str(tmp_path / 'run'), 'none', str(weights)
    apply_test_arguments(cfg, Namespace(out=None, allow_broken=False, show_dir=str(tmp_path / 'pictures')))
    build_runner(cfg).test()
    pictures = sorted((tmp_path / 'pictures').iterdir())
    assert len(pictures) == len({file.name for file in pictures}) == cfg.test_dataloader.dataset.indices
    drawn, plain = (cv2.imread(str(file)) for file in (pictures[0], 'data/shape_scenes/val/0000.png'))
    assert drawn.shape == plain.shape and (drawn != plain).any()


@pytest.mark.parametrize('name', [*list_models('soft-teacher*'), *list_models('supervised_*')])
def test_every_config_can_draw(name):
    assert as_config(name).default_hooks.visualization.type == 'DetectionPictures'


def test_an_image_that_cannot_be_read_spoils_nothing(weights, folder, tmp_path):
    infer = SoftTeacherInferencer(CONFIG, weights)
    (folder / 'aa.png').write_bytes(b'broken')
    (folder / 'half.jpg').write_bytes((folder / 'b.jpg').read_bytes()[:800])
    rows = infer(folder, out_dir=tmp_path / 'out')
    assert [row['image'].rsplit('/')[-1] for row in rows if 'error' in row] == ['aa.png', 'half.jpg']
    assert len(_load(tmp_path / 'out').imgs) == 2
    grey = np.full((30, 40), 90, np.uint8)
    arrays = infer([grey, grey[..., None], grey.astype(np.float32), np.zeros((30, 40, 4), np.uint8)])
    assert ['error' in row for row in arrays] == [False, False, True, True]
    np.testing.assert_array_equal(arrays[0]['boxes'], arrays[1]['boxes'])
    with pytest.raises(MissingFileError, match='no such file'):
        infer(tmp_path / 'nowhere.png')
    with pytest.raises(CheckpointError, match='give a checkpoint'):
        SoftTeacherInferencer(CONFIG, '')


def test_masks_are_written_as_coco_writes_them(build, batch, tiny_cfg, folder, tmp_path):
    from pycocotools import mask as rle

    from tests.soft_teacher.test_heads import MASK_EXTRACTOR, MASK_HEAD, TEST

    cfg = load_config(CONFIG)
    detector = cfg.model.detector
    detector.type = 'MaskRCNN'
    detector.roi_head.update(mask_roi_extractor=MASK_EXTRACTOR, mask_head=dict(type='FCNMaskHead', **MASK_HEAD))
    detector.train_cfg.rcnn.mask_size = 14
    detector.test_cfg.rcnn = TEST
    save_file(dict(state_dict=build(copy.deepcopy(detector)).state_dict()), tmp_path / 'masks.pth')
    rows = SoftTeacherInferencer(cfg, tmp_path / 'masks.pth')(folder, out_dir=tmp_path / 'out')
    masks = [rle.decode(code) for code in rows[0]['masks']]
    assert len(masks) == len(rows[0]['boxes']) > 0 and masks[0].shape == (60, 90)
    loaded = _load(tmp_path / 'out')
    read = loaded.loadAnns(loaded.getAnnIds(1))
    assert all((loaded.annToMask(result) == mask).all() for result, mask in zip(read, masks, strict=True))
