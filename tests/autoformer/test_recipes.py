"""The recipes on photographs: their pipelines build and prepare images as the official code does."""

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS
from PIL import Image
from skimage import data as photographs

from openmsra.apis import list_models
from openmsra.engine.config.files import load_config

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


@pytest.mark.parametrize('name', [name for name in RECIPES if 'cifar' in name])
def test_cifar_is_prepared_like_the_other_sets(name):
    loaders = _loaders(name)
    steps = [step.type for step in loaders['test_dataloader'].dataset.pipeline]
    assert steps == ['mmpretrain.ResizeEdge', 'mmpretrain.CenterCrop', 'mmpretrain.PackInputs']
    assert [loaders['test_dataloader'].dataset.pipeline[0].scale, loaders['test_dataloader'].batch_size] == [438, 64]
