"""Precise statistics of the batch norms."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import BaseDataElement

from openmsra.ftcn import FTCN, PreciseBNHook


@pytest.fixture
def runner():
    """A tiny network in training, three batches of two clips, and the second epoch at its end."""
    torch.manual_seed(0)
    model = FTCN(dict(depths=(1, 1, 1), channels=4), dict(kind='average'), clip_len=4, size=32)
    model.init_weights()
    clips = torch.randint(256, (3, 2, 3, 4, 32, 32), dtype=torch.uint8)
    batches = [dict(inputs=list(pair), data_samples=[BaseDataElement(gt_label=k) for k in (0, 1)]) for pair in clips]
    return SimpleNamespace(model=model.train(), train_dataloader=batches, epoch=1)


def test_statistics_are_means_over_the_batches_with_the_weights_at_rest(runner):
    model, norm = runner.model, runner.model.resnet.s1.pathway0_stem.bn[0]
    weights = {name: value.clone() for name, value in model.named_parameters()}
    with torch.no_grad():
        model.resnet.features(torch.full((1, 3, 4, 32, 32), 9.0))  # statistics of other clips must leave no trace
    PreciseBNHook(num_batches=2).after_train_epoch(runner)
    seen = []
    for batch in runner.train_dataloader[:2]:
        x = model.resnet.s1.pathway0_stem.conv(model.data_preprocessor(batch)['inputs']).transpose(0, 1).flatten(1)
        seen.append((x.mean(1), x.var(1)))
    mean, variance = (torch.stack(values).mean(0) for values in zip(*seen, strict=True))
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert all(torch.equal(value, weights[name]) for name, value in model.named_parameters())
    assert model.training and norm.momentum == 0.1


def test_only_every_interval(runner):
    before = {name: value.clone() for name, value in runner.model.named_buffers()}
    PreciseBNHook(interval=3).after_train_epoch(runner)
    assert all(torch.equal(value, before[name]) for name, value in runner.model.named_buffers())
    with pytest.raises(ValueError, match='at least 1'):
        PreciseBNHook(num_batches=0)
