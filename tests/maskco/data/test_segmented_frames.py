"""Maps of classes, cut into cells, and the probe of cells."""

import cv2
import numpy as np
import pytest
import torch

from openmsra.errors import DataError, MissingFileError
from openmsra.maskco import CellProbe, PackProbe, SegmentedFrames
from openmsra.maskco.evaluation.cell_probe import figures_of

CLASSES, PALETTE = ['sky', 'road', 'car'], [[128, 128, 128], [128, 64, 128], [64, 0, 128]]


def _frames(folder, mask, **options):
    for name, pixels in (('images', np.zeros((*mask.shape[:2], 3), np.uint8)), ('masks', mask)):
        (folder / name).mkdir(exist_ok=True)
        assert cv2.imwrite(str(folder / name / 'a.png'), pixels)
    prefix = dict(img_path='images', seg_map_path='masks')
    options = dict(dict(metainfo=dict(classes=CLASSES, palette=PALETTE), size=(8, 4), cell=4), **options)
    return SegmentedFrames(str(folder), prefix, pipeline=[PackProbe()], bank=True, **options)


def test_indices_and_colours_give_the_same_map(tmp_path):
    labels = np.random.default_rng(0).integers(-1, 3, (6, 10))
    colours = np.array([*PALETTE, [0, 0, 0]])[labels]
    for number, mask in enumerate((np.where(labels < 0, 255, labels), np.where(labels < 0, 3, labels), colours[..., ::-1])):
        (tmp_path / str(number)).mkdir()
        frames = _frames(tmp_path / str(number), mask.astype(np.uint8))
        assert (frames.class_map(str(tmp_path / str(number) / 'masks/a.png')) == labels).all()


def test_cell_has_the_class_of_its_majority(tmp_path):
    """Of 16 pixels 12 are enough, 11 are not; pixels of no class count as pixels."""
    mask = np.full((4, 8), 1, np.uint8)
    mask[:2, :2] = 0  # 12 of 16 are road
    mask[0, 4:8] = 255
    mask[1, 4] = 2  # 11 of 16 are road
    frames = _frames(tmp_path, mask)
    assert frames.cell_labels(str(tmp_path / 'masks/a.png')).tolist() == [[1, -1]]
    item = frames[0]
    assert item['regions']['cell_labels'].tolist() == [[1, -1]] and item['inputs'].shape == (3, 4, 8)


def test_map_is_resized_as_the_image(tmp_path):
    mask = np.zeros((8, 16), np.uint8)
    mask[:, 8:] = 2
    assert _frames(tmp_path, mask).cell_labels(str(tmp_path / 'masks/a.png')).tolist() == [[0, 2]]


def test_faults_of_maps_are_named(tmp_path):
    with pytest.raises(DataError, match='palette'):
        _frames(tmp_path, np.full((4, 8, 3), 90, np.uint8), metainfo=dict(classes=CLASSES))[0]
    with pytest.raises(DataError, match='no multiple'):
        _frames(tmp_path, np.zeros((4, 8), np.uint8), size=(9, 4))
    (tmp_path / 'masks/a.png').unlink()
    with pytest.raises(MissingFileError, match='map of classes is not there'):
        SegmentedFrames(
            str(tmp_path),
            dict(img_path='images', seg_map_path='masks'),
            dict(classes=CLASSES),
            [],
            bank=True,
            size=(8, 4),
            cell=4,
        )


def _sample(bank, labels, features):
    return dict(bank=torch.tensor(bank), cell_labels=torch.tensor(labels), cell_features=torch.tensor(features))


def test_probe_counts_cells_by_class():
    """Features tell the classes 0 and 1 apart; the test image has one wrong cell and one without a label."""
    rng = np.random.default_rng(0)
    labels = np.array([[0, 1, 0, 1], [1, 0, 1, 0]])
    maps = np.stack([labels * 2.0 - 1, rng.normal(0, 0.1, labels.shape)]).astype(np.float32)
    test = np.array([[0, 1, 0, -1], [1, 0, 1, 1]])  # the last one looks like class 0
    metric = CellProbe()
    metric.process({}, [_sample(True, labels, maps), _sample(False, test, maps)])
    assert metric.confusions(metric.results).tolist() == [[[3, 0], [1, 3]]]
    figures = metric.compute_metrics(metric.results)
    assert figures == pytest.approx(dict(mean_class_accuracy=87.5, miou=100 * (3 / 4 + 3 / 4) / 2, accuracy=100 * 6 / 7))


def test_balanced_probe_finds_a_rare_class_that_the_other_gives_up():
    """Two classes that overlap, ten times as many cells of one."""
    rng, count = np.random.default_rng(0), (40, 11)
    labels = np.zeros(count, int)
    labels[:, 0] = 1
    recalls = {}
    for balanced in (False, True):
        metric = CellProbe(balanced=balanced)
        for bank in (True, False):
            metric.process({}, [_sample(bank, labels, (labels + rng.normal(0, 0.7, count))[None].astype(np.float32))])
        (table,) = metric.confusions(metric.results)
        recalls[balanced] = np.diag(table) / table.sum(1)
    assert recalls[True][1] > recalls[False][1] + 0.3 and recalls[True][0] < recalls[False][0]


def test_figures_leave_out_classes_that_the_test_lacks():
    confusion = np.array([[4, 0, 1], [0, 0, 0], [2, 0, 3]])
    classes = [0, 2]
    recalls = [confusion[c, c] / confusion[c].sum() for c in classes]
    unions = [confusion[c, c] / (confusion[c].sum() + confusion[:, c].sum() - confusion[c, c]) for c in classes]
    expected = dict(mean_class_accuracy=100 * np.mean(recalls), miou=100 * np.mean(unions), accuracy=70.0)
    assert figures_of(confusion) == pytest.approx(expected)


def test_probe_names_faults():
    metric, cells = CellProbe(), np.zeros((2, 1, 1), np.float32)
    with pytest.raises(DataError, match='stride'):
        metric.process({}, [_sample(True, [[0, 1]], cells)])
    metric.process({}, [_sample(True, [[0]], cells)])
    with pytest.raises(DataError, match='1 images to fit on and 0 to test on'):
        metric.compute_metrics(metric.results)


def test_model_gives_its_map_to_the_probe():
    from openmsra.apis import init_model

    model = init_model('configs/maskco/maskco_r18-w16_1xb64-1000i_camvid.py').eval()
    images = torch.rand(1, 3, 144, 192)
    with torch.no_grad():
        (sample,) = model.predict(images, dict(cell_labels=torch.zeros(1, 18, 24)))
        assert torch.equal(sample['cell_features'], model.backbone(images)[-1][0])
