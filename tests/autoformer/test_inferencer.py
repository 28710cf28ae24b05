"""Images in, classes out: the inferencer agrees with the network and refuses what it cannot do."""

import json

import cv2
import numpy as np
import pytest
import torch
from skimage import data as photographs

from openmsra.apis import init_model
from openmsra.autoformer import AutoFormerInferencer, extract_subnet
from openmsra.engine.checkpoint.io import save_file
from openmsra.errors import CheckpointError, ConfigError, DataError

SUPERNET = 'autoformer_supernet_1xb32-2e_digits_instant'
ALONE = 'autoformer_vit_1xb32-45e_digits_mini'
ARCH = dict(embed_dim=24, depth=3, num_heads=[2, 4, 3], mlp_ratio=[1.0, 2.0, 1.0])


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp('inferencer')
    net = init_model(SUPERNET)
    save_file(dict(state_dict=net.state_dict()), folder / 'supernet.pth')
    save_file(dict(state_dict=extract_subnet(net, ARCH).state_dict()), folder / 'alone.pth')
    (folder / 'arch.json').write_text(json.dumps(ARCH))
    return folder


def _digits(count):
    from sklearn.datasets import load_digits

    return [image.astype(np.uint8) for image in load_digits().images[:count]]


def test_supernet_and_exported_network_agree_with_the_forward_pass(weights):
    digits = _digits(5)
    supernet = AutoFormerInferencer(SUPERNET, weights / 'supernet.pth', arch=str(weights / 'arch.json'))
    alone = AutoFormerInferencer(ALONE, weights / 'alone.pth', cfg_options={'model.arch': ARCH})
    inputs = (torch.from_numpy(np.stack(digits))[:, None].float() - 4.8) / 6.08
    with torch.no_grad():
        expected = supernet.model(inputs).softmax(-1).sort(-1, descending=True)
    for inferencer in (supernet, alone):
        rows = inferencer(digits, topk=3, batch_size=2)
        assert [row['image'] for row in rows] == [0, 1, 2, 3, 4]
        np.testing.assert_allclose([row['scores'] for row in rows], expected.values[:, :3], atol=2e-6)
    assert [row['labels'] for row in supernet(digits, topk=3)] == expected.indices[:, :3].tolist()
    assert len(supernet(digits[0], topk=99)[0]['labels']) == 10


def test_folder_of_photographs_in_an_image_network(tmp_path):
    config = 'autoformer-tiny_supernet_8xb128-500e_in1k'
    save_file(dict(state_dict=init_model(config).state_dict()), tmp_path / 'net.pth')
    (tmp_path / 'images').mkdir()
    for name, image in dict(a=photographs.astronaut(), b=photographs.camera()).items():
        cv2.imwrite(str(tmp_path / 'images' / f'{name}.png'), image)
    infer = AutoFormerInferencer(config, tmp_path / 'net.pth', 'smallest', classes=[f'class {i}' for i in range(1000)])
    rows = infer(tmp_path / 'images')
    assert [row['image'].rpartition('/')[2] for row in rows] == ['a.png', 'b.png']
    assert all(len(row['classes']) == 5 and row['scores'] == sorted(row['scores'], reverse=True) for row in rows)
    # an array means what cv2.imread gives
    assert infer(cv2.imread(rows[0]['image']))[0]['scores'] == pytest.approx(rows[0]['scores'], abs=1e-6)


def test_refusals(weights, tmp_path):
    supernet = weights / 'supernet.pth'
    with pytest.raises(CheckpointError, match='random weights'):
        AutoFormerInferencer(SUPERNET, None, arch='largest')
    with pytest.raises(ConfigError, match='which sub-network'):
        AutoFormerInferencer(SUPERNET, supernet)
    with pytest.raises(ConfigError, match='names 2 sub-networks'):
        AutoFormerInferencer(SUPERNET, supernet, arch='random:2')
    with pytest.raises(ConfigError, match='embed_dim'):
        AutoFormerInferencer(SUPERNET, supernet, arch={**ARCH, 'embed_dim': 999})
    with pytest.raises(ConfigError, match='leave out arch'):
        AutoFormerInferencer(ALONE, weights / 'alone.pth', arch='largest', cfg_options={'model.arch': ARCH})
    with pytest.raises(ConfigError, match='3 class names'):
        AutoFormerInferencer(SUPERNET, supernet, arch='largest', classes=['a', 'b', 'c'])
    with pytest.raises(CheckpointError):
        AutoFormerInferencer(ALONE, supernet)
    infer = AutoFormerInferencer(SUPERNET, supernet, arch='largest')
    (tmp_path / 'text.png').write_text('no image')
    (tmp_path / 'empty.png').touch()
    for name in ('text.png', 'empty.png'):
        with pytest.raises(DataError, match=f'{name}: not an image'):
            infer(tmp_path / name)
    with pytest.raises(DataError, match=r"makes 16x12 pixels of 1 channel of it, .* takes 8x8 .*Resize', scale=\(8, 8\)"):
        infer(np.zeros((16, 12), np.uint8))
    rows = infer([tmp_path / 'text.png', *_digits(1)])
    assert 'not an image' in rows[0]['error'] and rows[1]['labels'] == infer(_digits(1))[0]['labels']
    with pytest.raises(FileNotFoundError, match='no such file or folder of images'):
        infer(tmp_path / 'gone.png')
    (tmp_path / 'none').mkdir()
    with pytest.raises(FileNotFoundError, match='no images in this folder'):
        infer(tmp_path / 'none')
    with pytest.raises(ValueError, match='topk=0'):
        infer(_digits(1), topk=0)
