"""Labelled folders and COCO boxes, through the real test configs."""

import json

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from mmengine.registry import DefaultScope
from PIL import Image

from openmsra.apis import init_model
from openmsra.engine.checkpoint.io import save_file
from openmsra.engine.config.files import load_config
from openmsra.errors import DataError
from openmsra.maskco import CocoRegions, LabelledFolder
from openmsra.registry import DATASETS, METRICS, MODELS


def _images(folder, label, count, rng):
    """Flat squares whose colour tells the label, on noise."""
    folder.mkdir(parents=True)
    names = []
    for i in range(count):
        pixels = rng.integers(100, 155, (60, 80, 3), np.uint8)
        pixels[10:50, 10:50] = (0, 0, 0) if label else (250, 250, 250)
        pixels[30:55, 55:75] = (250, 250, 250) if label else (0, 0, 0)
        names.append(f'{label}_{i}.png')
        Image.fromarray(pixels).save(folder / names[-1])
    return names


@pytest.fixture
def tiny(tmp_path):
    """Options that make the ResNet-50 configs small, and a checkpoint that fits them."""
    options = {'model.backbone.depth': 18, 'model.neck.in_channels': 512, 'model.mph.channels': 512, 'model.queue_len': 8}
    cfg = load_config('configs/maskco/maskco-knn_resnet50_1xb128_in1k.py', options)
    torch.manual_seed(0)
    save_file(dict(state_dict=MODELS.build(cfg.model).state_dict()), tmp_path / 'net.pth')
    return options


def _test(config, options, checkpoint):
    """What tools/test.py does, without the logs."""
    model = init_model(f'configs/maskco/{config}.py', checkpoint, cfg_options=options)
    with DefaultScope.overwrite_default_scope('openmsra'):
        dataset = DATASETS.build(model.cfg.test_dataloader.dataset)
        metric = METRICS.build(model.cfg.test_evaluator)
    for i in range(0, len(dataset), 4):
        with torch.no_grad():
            metric.process({}, model.test_step(default_collate([dataset[k] for k in range(i, min(i + 4, len(dataset)))])))
    return metric.compute_metrics(metric.results)


def test_neighbours_in_labelled_folders(tiny, tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (('train', 7), ('val', 3)):
        for label in range(2):
            _images(tmp_path / split / f'n{label}', label, count, rng)
    for split in ('train', 'val'):  # what an editor leaves behind is no class
        _images(tmp_path / split / '.ipynb_checkpoints', 0, 1, rng)
        if split == 'train':
            (tmp_path / split / '.ipynb_checkpoints/._0_0.png').touch()
    options = {
        'test_dataloader.dataset.datasets.0.data_root': str(tmp_path / 'train'),
        'test_dataloader.dataset.datasets.1.data_root': str(tmp_path / 'val'),
        'test_dataloader.dataset.datasets.1.classes': str(tmp_path / 'train'),
        'test_dataloader.dataset.datasets.0.per_class': 6,
        'test_evaluator.neighbours': 3,
    }
    figures = _test('maskco-knn_resnet50_1xb128_in1k', {**tiny, **options}, tmp_path / 'net.pth')
    assert figures == {'knn': 100}
    assert len(LabelledFolder(str(tmp_path / 'train'), pipeline=[], bank=True, per_class=6)) == 12


def test_both_parts_of_a_probe_number_their_classes_alike(tmp_path):
    rng = np.random.default_rng(0)
    for split, names in (('train', 'abc'), ('val', 'bc')):
        for name in names:
            _images(tmp_path / split / name, 0, 1, rng)

    def labels(**options):
        rows = LabelledFolder(str(tmp_path / 'val'), pipeline=[dict(type='PackProbe')], bank=False, **options)
        return rows, [int(row['regions']['label']) for row in rows]

    with DefaultScope.overwrite_default_scope('openmsra'):
        training = LabelledFolder(str(tmp_path / 'train'), pipeline=[dict(type='PackProbe')], bank=True)
        alone, shifted = labels()
        right = labels(classes=str(tmp_path / 'train'))[1]
        assert shifted == [0, 1] and right == [1, 2], 'b and c are the classes 1 and 2 of the training'
        (tmp_path / 'names.txt').write_text('c\nb\n')
        assert labels(classes=str(tmp_path / 'names.txt'))[1] == [0, 1]  # c is 0
        metric = METRICS.build(dict(type='FrozenProbe', probes=['knn'], neighbours=1))
        for dataset in (training, alone):
            metric.process({}, [dict(row['regions'], feature=torch.zeros(2)) for row in dataset])
        with pytest.raises(DataError, match='number their classes differently'):
            metric.compute_metrics(metric.results)
        (tmp_path / 'val/extra').mkdir()
        with pytest.raises(DataError, match=r'extra is none of the 3 classes of .*train'):
            labels(classes=str(tmp_path / 'train'))


def test_regions_of_a_coco_file(tiny, tmp_path):
    rng = np.random.default_rng(0)
    options = {}
    for part, (split, count) in enumerate((('train', 8), ('val', 4))):
        images, annotations = [], []
        for label in range(2):
            for name in _images(tmp_path / split / str(label), label, count, rng):
                identifier = len(images)
                images.append(dict(id=identifier, file_name=f'{label}/{name}', width=80, height=60))
                for box, category in (([10, 10, 40, 40], 3 + 4 * label), ([55, 30, 20, 25], 7 - 4 * label), ([0, 0, 2, 2], 3)):
                    annotations.append(dict(id=len(annotations), image_id=identifier, bbox=box, category_id=category, iscrowd=0))
                crowd = dict(id=len(annotations), image_id=identifier, bbox=[0, 0, 80, 60], category_id=7, iscrowd=1)
                annotations.append(crowd)
        content = dict(images=images, annotations=annotations, categories=[dict(id=7, name='a'), dict(id=3, name='b')])
        (tmp_path / f'{split}.json').write_text(json.dumps(content))
        prefix = f'test_dataloader.dataset.datasets.{part}.'
        options |= {f'{prefix}data_root': str(tmp_path / split), f'{prefix}ann_file': str(tmp_path / f'{split}.json')}
    row = CocoRegions(str(tmp_path / 'val'), str(tmp_path / 'val.json'), pipeline=[], bank=False, size=160)[4]
    np.testing.assert_allclose(row['gt_boxes'], [[20, 80 / 3, 100, 400 / 3], [110, 80, 150, 440 / 3]])
    assert row['gt_box_labels'] == [1, 0] and row['img'].shape == (160, 160, 3)
    figures = _test('maskco-regions_resnet50_1xb128_coco', {**tiny, **options}, tmp_path / 'net.pth')
    assert figures['region_linear'] == 100
    with pytest.raises(FileNotFoundError, match='no image has 5 boxes'):
        CocoRegions(str(tmp_path), str(tmp_path / 'val.json'), pipeline=[], bank=False, boxes=5)


def test_folders_that_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such folder of classes'):
        LabelledFolder(str(tmp_path / 'x'), pipeline=[], bank=True)
    with pytest.raises(FileNotFoundError, match='no class folders'):
        LabelledFolder(str(tmp_path), pipeline=[], bank=True)
