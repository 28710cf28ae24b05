"""The recipes on photographs: their pipelines build and prepare images as the official code does."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS, DefaultScope
from mmpretrain.structures import DataSample
from PIL import Image
from skimage import data as photographs

from benchmarks.memory import saved_bytes
from openmsra.apis import list_models
from openmsra.autoformer.space import KEYS, SearchSpace
from openmsra.engine.config.files import load_config
from openmsra.registry import MODELS

RECIPES = [name for name in list_models('autoformer*') if not name.endswith(('_mini', '_instant'))]


@pytest.fixture(scope='module')
def imagenet(tmp_path_factory):
    """A photograph in the published layout of ImageNet: train/, val/, and the list that the search scores on."""
    root = tmp_path_factory.mktemp('imagenet')
    for split in ('train', 'val'):
        for name in ('n01', 'n02'):
            (root / split / name).mkdir(parents=True)
            Image.fromarray(photographs.chelsea()).save(root / split / name / f'{name}.JPEG', quality=95)
    (root / 'meta').mkdir()
    (root / 'meta' / 'search_val.txt').write_text('n01/n01.JPEG 0\nn02/n02.JPEG 1\n')
    return root


def _loaders(name: str) -> dict:
    cfg = load_config(f'configs/autoformer/{name}.py')
    return {key: cfg[key] for key in ('train_dataloader', 'val_dataloader', 'test_dataloader') if cfg.get(key)}


@pytest.mark.parametrize('name', [name for name in RECIPES if name.endswith('_in1k')])
def test_images_of_imagenet_pass_the_pipelines(imagenet, name):
    for key, loader in _loaders(name).items():
        with DefaultScope.overwrite_default_scope('openmsra'):  # as a run has it
            dataset = DATASETS.build({**loader.dataset, 'data_root': str(imagenet), 'metainfo': dict(classes=['a', 'b'])})
        side = 384 if '384' in name else 224
        torch.manual_seed(0), np.random.seed(0)
        samples = [dataset[1] for _ in range(6)]
        assert all(sample['inputs'].shape == (3, side, side) and sample['inputs'].dtype == torch.uint8 for sample in samples), key
        assert [int(sample['data_samples'].gt_label) for sample in samples] == [1] * 6
        varied = any(not torch.equal(sample['inputs'], samples[0]['inputs']) for sample in samples[1:])
        assert varied == (key == 'train_dataloader' and 'search' not in name), f'{key}: augmentation'


@pytest.mark.parametrize(
    ('name', 'resized', 'side'), [(RECIPES[0], 256, 224), ('autoformer-small_finetune-384_8xb64-30e_in1k', 438, 384)]
)
def test_test_images_are_the_pixels_of_the_official_transform(imagenet, name, resized, side):
    """Bicubic resize of the short edge to int(256 / 224 * side), then a centre crop."""
    loader = _loaders(name)['test_dataloader']
    dataset = DATASETS.build({**loader.dataset, 'data_root': str(imagenet), 'metainfo': dict(classes=['a', 'b'])})
    from torchvision.transforms import functional  # openmsra has made it importable by now

    picture = Image.open(imagenet / 'val' / 'n01' / 'n01.JPEG')
    picture = functional.resize(picture, resized, functional.InterpolationMode.BICUBIC)
    expected = functional.pil_to_tensor(functional.center_crop(picture, side)).float()
    ours = dataset[0]['inputs'].flip(0).float()  # BGR, until the preprocessor
    assert ours.shape == expected.shape
    # two JPEG decoders differ by a grey level here and there
    assert (ours - expected).abs().mean() < 0.5 and (ours - expected).abs().max() <= 24


@pytest.mark.parametrize('name', [name for name in RECIPES if 'finetune' in name and 'cifar' in name])
def test_cifar_is_prepared_like_the_other_sets(name):
    loaders = _loaders(name)
    steps = [step.type for step in loaders['test_dataloader'].dataset.pipeline]
    assert steps == ['mmpretrain.ResizeEdge', 'mmpretrain.CenterCrop', 'mmpretrain.PackInputs']
    assert [loaders['test_dataloader'].dataset.pipeline[0].scale, loaders['test_dataloader'].batch_size] == [438, 64]


PAGE = Path('configs/autoformer/README.md')
ROWS = re.findall(r'^\| `(autoformer-\S+)` \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$', PAGE.read_text(encoding='utf-8'), re.MULTILINE)


def _saved_bytes(net: torch.nn.Module, images: int) -> int:
    """What autograd keeps of a training step in 16 bit, weights and constants aside."""
    if hasattr(net, 'space'):
        net.space = SearchSpace(**{key: (max(getattr(net.space, key)),) for key in KEYS}, **_super_sizes(net.space))
    samples = [DataSample().set_gt_score(torch.full((net.num_classes,), 1 / net.num_classes)) for _ in range(images)]
    with saved_bytes((*net.parameters(), *net.buffers())) as saved, torch.autocast('cpu', torch.bfloat16):
        net.train()(torch.randn(images, 3, *net.img_size), samples, mode='loss')
    return sum(storage.nbytes() for storage in saved.values())


def _super_sizes(space: SearchSpace) -> dict:
    return {f'super_{key}': getattr(space, f'super_{key}') for key in KEYS}


@pytest.mark.parametrize(
    ('name', 'images', 'activations', 'weights'),
    [pytest.param(*row, marks=() if 'tiny' in row[0] else pytest.mark.reliability, id=row[0]) for row in ROWS],
)
def test_memory_of_a_step_is_that_on_the_page(name, images, activations, weights):
    cfg = load_config(f'configs/autoformer/{name}.py', {'model.pretrained': None} if 'finetune' in name else {})
    assert cfg.train_dataloader.batch_size == int(images)
    with DefaultScope.overwrite_default_scope('openmsra'):
        net = MODELS.build(cfg.model)
    one, two = (_saved_bytes(net, count) for count in (1, 2))
    counted = (two - one) * int(images) + (2 * one - two)  # a part for each image, and casts of the weights
    assert counted / 2**30 == pytest.approx(float(activations), abs=0.06)
    assert sum(parameter.numel() for parameter in net.parameters()) * 16 / 2**30 == pytest.approx(float(weights), abs=0.006)
    assert counted + 16 * sum(parameter.numel() for parameter in net.parameters()) < 0.8 * 24e9


def test_page_has_the_memory_of_all_recipes():
    measured = {row[0] for row in ROWS}
    assert {name for name in RECIPES if name.endswith('in1k') and 'search' not in name} == measured
