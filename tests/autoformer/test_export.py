"""Exported files give the supernet's logits, for another batch size too."""

import json

import numpy as np
import pytest
import torch

from openmsra.apis import init_model
from openmsra.engine.checkpoint.io import load_file, save_file

CONFIG = 'configs/autoformer/autoformer_supernet_1xb32-2e_digits_instant.py'
TOOL = 'tools/model_converters/autoformer_export.py'
ARCH = dict(embed_dim=24, depth=3, num_heads=[2, 4, 3], mlp_ratio=[1.0, 2.0, 1.0])


@pytest.fixture(scope='module')
def supernet(tmp_path_factory):
    folder = tmp_path_factory.mktemp('export')
    net = init_model(CONFIG)
    save_file(dict(state_dict=net.state_dict()), folder / 'supernet.pth')
    (folder / 'arch.json').write_text(json.dumps(ARCH))
    net.set_subnet(ARCH)
    return net, folder


@torch.no_grad()
def _run(path, images):
    if path.suffix == '.onnx':
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path))
        return session.run(None, dict(images=images.numpy()))[0]
    if path.suffix == '.pt':
        return torch.jit.load(str(path))(images).numpy()
    options = {'model.arch': ARCH}
    return init_model('autoformer_vit_1xb32-45e_digits_mini', path, cfg_options=options)(images).numpy()


@pytest.mark.parametrize('suffix', ['.pth', '.pt', '.onnx'])
def test_export_equals_the_supernet(supernet, run_tool, suffix):
    net, folder = supernet
    target = folder / f'net{suffix}'
    done = run_tool(TOOL, CONFIG, folder / 'supernet.pth', folder / 'arch.json', target)
    assert f'{net.count_params(ARCH):,} parameters' in done.stdout
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        np.testing.assert_allclose(_run(target, images), net(images).numpy(), atol=2e-5)


def test_exported_weights_name_their_architecture(supernet, run_tool):
    _, folder = supernet
    run_tool(TOOL, CONFIG, folder / 'supernet.pth', folder / 'arch.json', folder / 'named.pth')
    assert load_file(folder / 'named.pth')['meta']['arch'] == ARCH


def test_bad_requests_are_named(supernet, run_tool, tmp_path):
    _, folder = supernet
    done = run_tool(TOOL, CONFIG, folder / 'supernet.pth', folder / 'arch.json', tmp_path / 'net.h5', check=False)
    assert done.returncode == 2 and 'must end in .pth' in done.stderr
    (tmp_path / 'wide.json').write_text(json.dumps({**ARCH, 'embed_dim': 40}))
    done = run_tool(TOOL, CONFIG, folder / 'supernet.pth', tmp_path / 'wide.json', tmp_path / 'net.pth', check=False)
    assert done.returncode == 2 and 'embed_dim=40 does not fit' in done.stderr
    (tmp_path / 'torn.json').write_text('{"embed_dim": 24, ')
    done = run_tool(TOOL, CONFIG, folder / 'supernet.pth', tmp_path / 'torn.json', tmp_path / 'net.pth', check=False)
    assert done.returncode == 2 and 'torn.json: no JSON' in done.stderr
