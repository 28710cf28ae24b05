"""A checkpoint is resumed from the CPU, whatever device the training is on."""

import pytest
import torch

from openmsra.engine import rng, runner
from tests.reliability.killing import heavy_config
from tests.reliability.runs import build, train


def _trained(folder) -> dict:
    cfg = heavy_config(folder, 0.01)
    cfg.resume, cfg.train_cfg.max_iters = False, 2
    train(cfg)
    return cfg


def test_checkpoint_is_read_on_the_cpu_whatever_the_device(tmp_path, monkeypatch):
    cfg, devices = _trained(tmp_path), []
    read = runner.load_file

    def noted(path, map_location='cpu', trust=False):
        devices.append(map_location)
        return read(path, 'cpu', trust)

    monkeypatch.setattr(runner, 'load_file', noted)
    cfg.train_cfg.max_iters, cfg.resume, cfg.load_from = 4, True, str(tmp_path / 'iter_2.pth')
    resumed = build(cfg)
    monkeypatch.setattr('mmengine.runner.runner.get_device', lambda: 'cuda')  # what mmengine's resume would ask
    resumed.train()
    assert devices == ['cpu']
    assert resumed.iter == 4 and resumed.model.count.item() == 4


def test_random_numbers_are_restored_from_tensors_of_a_device(monkeypatch):
    """A tensor that is not on the CPU refuses ``numpy()``."""

    class OnDevice(torch.Tensor):
        def numpy(self, *_, **__):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")

        def cpu(self):
            return self.as_subclass(torch.Tensor)

    state = rng.capture()
    expected = torch.rand(3)
    name, keys, *rest = state['numpy']
    state['numpy'] = (name, keys.as_subclass(OnDevice), *rest)
    state['torch'] = state['torch'].as_subclass(OnDevice)
    with pytest.raises(TypeError):
        state['numpy'][1].numpy()
    rng.restore(state)
    assert torch.equal(torch.rand(3), expected)
