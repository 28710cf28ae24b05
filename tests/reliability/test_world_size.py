"""Metrics do not depend on the number of processes, also where it does not divide the number of samples."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.evaluator import BaseMetric
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import DefaultScope
from torch.utils.data import Dataset

from openmsra.apis import init_model
from openmsra.engine import rng
from openmsra.engine.config.files import load_config
from openmsra.registry import DATASETS
from tests.dist.gloo import run_on_processes
from tests.reliability.runs import build, each_instant

COUNTS = (1, 7, 8)
MASKCO = 'configs/maskco/maskco_r18-tiny_1xb32-2e_digits_instant.py'


class Collect(BaseMetric):
    """Returns what reaches the metric."""

    def process(self, data_batch, data_samples) -> None:
        self.results += data_samples

    def compute_metrics(self, results: list) -> dict:
        return dict(seen=results)


def _collected(rank: int, world_size: int) -> list[list[int]]:
    found = []
    for count in COUNTS:
        metric = Collect()
        metric.process(None, list(DefaultSampler(range(count), shuffle=False)))
        found.append(metric.evaluate(count)['seen'])
    return found


def test_padding_is_dropped():
    assert run_on_processes(_collected, 2) == [[list(range(count)) for count in COUNTS]] * 2


def _gradients(rank: int, world_size: int) -> dict[str, np.ndarray]:
    """Mean gradients of MaskCo over the processes, and its queue; BatchNorm, whose statistics are of one process, is frozen."""
    cfg = load_config(MASKCO)
    torch.manual_seed(0)
    model = init_model(cfg)
    with DefaultScope.overwrite_default_scope('openmsra'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    samples = []
    for index in range(8):
        rng.seed_sample(index)
        samples.append(dataset[index])
    batch = default_collate(samples[rank * 8 // world_size : (rank + 1) * 8 // world_size])
    network = MMDistributedDataParallel(model, broadcast_buffers=False) if world_size > 1 else model
    torch.manual_seed(0)
    losses = network(**model.data_preprocessor(batch, training=True), mode='loss')
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    found = {name: value.grad.numpy() for name, value in model.named_parameters() if value.grad is not None}
    return dict(found, queue=model.queue.numpy())


def test_contrast_has_the_same_gradient_and_queue_on_two_processes():
    one = _gradients(0, 1)
    for two in run_on_processes(_gradients, 2):
        assert two.keys() == one.keys() and len(one) > 20
        for name, value in one.items():
            np.testing.assert_allclose(two[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    assert max(np.abs(value).max() for value in one.values()) > 1e-3


@DATASETS.register_module()
class OddNumber(Dataset):
    """A data set without its first sample if their number is even."""

    def __init__(self, dataset: dict) -> None:
        self.dataset = DATASETS.build(dataset)
        self.metainfo, self.first = self.dataset.metainfo, 1 - len(self.dataset) % 2

    def __len__(self) -> int:
        return len(self.dataset) - self.first

    def __getitem__(self, index: int) -> dict:
        return self.dataset[self.first + index]

    def get_data_info(self, index: int) -> dict:
        return self.dataset.get_data_info(self.first + index)


def _metrics(rank: int, world_size: int, path: Path, work_dir: Path) -> dict[str, float]:
    cfg = load_config(path)
    cfg.work_dir, cfg.launcher, cfg.experiment_name, cfg.log_level = str(work_dir), 'none', f'{path.stem}{world_size}', 'ERROR'
    cfg.test_dataloader.dataset = dict(type='OddNumber', dataset=cfg.test_dataloader.dataset)
    cfg.visualizer = dict(type='Visualizer', vis_backends=[])
    cfg.default_hooks.pop('visualization', None)
    runner = build(cfg)
    metrics = runner.test()
    assert len(runner.test_dataloader.dataset) % 2
    return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}


@pytest.mark.reliability
@each_instant
def test_metrics_on_two_processes_equal_those_on_one(path, tmp_path):
    (one,) = run_on_processes(_metrics, 1, path, tmp_path / '1', timeout=600)
    for two in run_on_processes(_metrics, 2, path, tmp_path / '2', timeout=600):
        assert two == pytest.approx(one, rel=1e-5, abs=1e-6, nan_ok=True)
    assert one
