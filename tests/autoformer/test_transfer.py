"""Fine-tuning at another size with another head, the pipelines of the transfer sets, the held-out split."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from skimage import data as photographs

from openmsra.apis import init_model, list_models
from openmsra.autoformer.vit import resize_pos_embed
from openmsra.engine.checkpoint.io import save_file
from openmsra.errors import CheckpointError
from openmsra.registry import DATASETS, TRANSFORMS

SMALL = dict(embed_dim=16, depth=1, num_heads=[2], mlp_ratio=[1.0])
SPLIT = 'tools/dataset_converters/imagenet_search_split.py'
TRANSFER = list_models('autoformer-small_finetune-384_*')


def _options(**more):
    return {'model.arch': SMALL, 'model.pretrained': None, **{f'model.{key}': value for key, value in more.items()}}


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    config = 'autoformer-small_finetune-384_8xb64-30e_in1k'
    net = init_model(config, cfg_options=_options(img_size=224))
    file = tmp_path_factory.mktemp('transfer') / 'small.pth'
    save_file(dict(state_dict=net.state_dict(), meta=dict(arch=SMALL, grid=[14, 14])), file)
    return net, file


@pytest.mark.parametrize('config', TRANSFER)
def test_starts_from_the_searched_network(source, config):
    net, file = source
    tuned = init_model(config, cfg_options={**_options(), 'model.pretrained': str(file)})
    assert tuned.img_size == (384, 384)
    torch.testing.assert_close(tuned.pos_embed, resize_pos_embed(net.pos_embed, (14, 14), (24, 24)))
    torch.testing.assert_close(tuned.blocks[0].attn.qkv.weight, net.blocks[0].attn.qkv.weight)
    same_head = tuned.num_classes == 1000
    assert same_head == (tuned.head.weight.shape == net.head.weight.shape and torch.equal(tuned.head.weight, net.head.weight))
    pixels = photographs.astronaut() if 'cifar' not in config else photographs.astronaut()[::16, ::16]
    sample = _image_through(tuned.cfg.train_dataloader.dataset.pipeline, np.ascontiguousarray(pixels[..., ::-1]))
    assert sample['inputs'].shape == (3, 384, 384)
    sample = _image_through(tuned.cfg.test_dataloader.dataset.pipeline, np.ascontiguousarray(pixels[..., ::-1]))
    assert torch.isfinite(tuned.test_step(dict(inputs=[sample['inputs']], data_samples=None))[0].pred_score).all()


def _image_through(pipeline, pixels):
    steps = [step for step in pipeline if step['type'] != 'LoadImageFromFile']
    return Compose([TRANSFORMS.build(step) for step in steps])(dict(img=pixels, img_shape=pixels.shape[:2], gt_label=1))


def test_without_its_start_no_fine_tuning():
    with pytest.raises(CheckpointError, match='no such checkpoint file'):
        init_model(TRANSFER[0], cfg_options={'model.arch': SMALL})


@pytest.fixture
def imagenet(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in dict(n01=7, n02=5, n03=6).items():
        (tmp_path / 'train' / name).mkdir(parents=True)
        for i in range(count):
            image = rng.integers(0, 255, (8, 8, 3), np.uint8)
            cv2.imwrite(str(tmp_path / 'train' / name / f'{name}_{i}.JPEG'), image)
    return tmp_path


def test_search_split_is_balanced_disjoint_complete_and_read_by_the_dataset(imagenet, run_tool):
    run_tool(SPLIT, imagenet, '--per-class', 2)
    lists = {name: (imagenet / 'meta' / f'search_{name}.txt').read_text().splitlines() for name in ('train', 'val')}
    assert [line.split()[1] for line in lists['val']] == ['0', '0', '1', '1', '2', '2']
    assert not set(lists['train']) & set(lists['val']) and len(lists['train'] + lists['val']) == 18
    val = DATASETS.build(
        dict(
            type='mmpretrain.ImageNet',
            data_root=str(imagenet),
            split='train',
            ann_file='meta/search_val.txt',
            metainfo=dict(classes=['a', 'b', 'c']),
        )
    )
    assert [val.get_data_info(i)['gt_label'] for i in range(len(val))] == [0, 0, 1, 1, 2, 2]
    assert cv2.imread(val.get_data_info(5)['img_path']) is not None
    run_tool(SPLIT, imagenet, '--per-class', 2, '--out', imagenet / 'again')
    assert (imagenet / 'again' / 'search_val.txt').read_text().splitlines() == lists['val']
    run_tool(SPLIT, imagenet, '--per-class', 2, '--seed', 1, '--out', imagenet / 'other')
    assert (imagenet / 'other' / 'search_val.txt').read_text().splitlines() != lists['val']


def test_search_split_refuses(imagenet, run_tool, tmp_path):
    done = run_tool(SPLIT, imagenet, '--per-class', 5, check=False)
    assert done.returncode == 2 and 'class n02 has 5 image(s)' in done.stderr
    assert not (imagenet / 'meta').exists()
    done = run_tool(SPLIT, tmp_path / 'nothing', check=False)
    assert done.returncode == 2 and 'nothing: there is no such folder' in done.stderr
    (tmp_path / 'empty').mkdir()
    done = run_tool(SPLIT, tmp_path / 'empty', check=False)
    assert done.returncode == 2 and 'no class folders' in done.stderr
