"""The front door to the inferencers."""

import pytest
import torch

from openmsra.apis import init_inferencer, init_model
from openmsra.engine.checkpoint.io import save_file
from openmsra.errors import CheckpointError
from tests.test_configs import INSTANT, _marked

OPTIONS = {'autoformer': dict(arch='largest')}


@pytest.mark.parametrize('path', _marked(INSTANT))
def test_each_paper_has_an_inferencer_with_the_given_weights(path, tmp_path):
    torch.manual_seed(1)
    model = init_model(path)
    save_file(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    paper = path.parent.name
    infer = init_inferencer(path.stem, tmp_path / 'weights.pth', **OPTIONS.get(paper, {}))
    assert type(infer).__module__ == f'openmsra.{paper}.inferencer'
    assert callable(infer)
    loaded = infer.model.state_dict()
    assert any(
        torch.equal(value, loaded[key])
        for key, value in model.state_dict().items()
        if key in loaded and value.is_floating_point() and value.std() > 0
    )
    with pytest.raises(CheckpointError, match='checkpoint'):
        init_inferencer(path.stem, None, **OPTIONS.get(paper, {}))


def test_building_a_model_prints_nothing(capfd):
    init_model('autoformer_supernet_1xb32-2e_digits_instant')
    assert 'init_weights' not in ''.join(capfd.readouterr())
