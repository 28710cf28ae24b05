"""Checkpoints are read without executing anything and loaded whole or not at all."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from openmsra.engine.checkpoint.io import ALLOWED, PlainStateHook, compact, load_file, load_weights, save_file
from openmsra.errors import CheckpointError


class _Gadget:
    def __reduce__(self):
        return os.system, ('touch executed',)


def test_training_checkpoint_with_log_buffers_is_read(tmp_path):
    buffer = HistoryBuffer()
    buffer.update(1.5)
    checkpoint = dict(state_dict={}, message_hub=dict(log_scalars=dict(loss=buffer)))
    PlainStateHook().before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, tmp_path / 'a.pth')
    loaded = load_file(tmp_path / 'a.pth')
    PlainStateHook().after_load_checkpoint(None, loaded)
    assert loaded['message_hub']['log_scalars']['loss'].current() == 1.5


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict={}, meta=_Gadget()), 'evil.pth')
    with pytest.raises(CheckpointError, match=r'evil\.pth: refused.*Nothing in it was executed'):
        load_file('evil.pth')
    assert not (tmp_path / 'executed').exists()


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', b'PK\x03\x04truncated'])
def test_damaged_file_is_named(tmp_path, content):
    (tmp_path / 'bad.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match=r'bad\.pth'):
        load_file(tmp_path / 'bad.pth')


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match='no such checkpoint'):
        load_file(tmp_path / 'nothing.pth')


def test_a_view_is_written_without_what_it_is_a_view_of(tmp_path):
    table, tied = torch.arange(2_000_000.0).reshape(2, -1), nn.Parameter(torch.ones(3))
    save_file(dict(state_dict=dict(row=table[0, :5], a=tied, b=tied), meta=dict(rows=[table[:, 7]])), tmp_path / 'a.pth')
    assert (tmp_path / 'a.pth').stat().st_size < 10_000
    loaded = load_file(tmp_path / 'a.pth')
    assert loaded['state_dict']['row'].tolist() == [0, 1, 2, 3, 4] and loaded['meta']['rows'][0].tolist() == [7, 1_000_007]
    assert loaded['state_dict']['a'].data_ptr() == loaded['state_dict']['b'].data_ptr(), 'tied weights stay tied'
    state = nn.BatchNorm1d(2).state_dict()
    assert compact(state)._metadata == state._metadata


def test_weights_load_whole_or_not_at_all():
    model = nn.Linear(2, 3)
    before = model.weight.clone()
    state = dict(weight=torch.zeros(3, 3), extra=torch.zeros(1))
    with pytest.raises(CheckpointError) as error:
        load_weights(model, dict(state_dict=state), 'x.pth')
    message = str(error.value)
    assert 'missing in the file: bias' in message
    assert 'unknown to the model: extra' in message
    assert 'weight: file (3, 3), model (3, 2)' in message
    assert torch.equal(model.weight, before)
    load_weights(model, dict(weight=torch.ones(3, 2), bias=torch.ones(3)), 'y.pth')
    assert model.weight.sum() == 6


def test_threads_do_not_take_each_others_permission(tmp_path, monkeypatch):
    """torch keeps one list of what is allowed for all threads; a load that ends must not end the permission of another."""
    file, load = tmp_path / 'training.pth', torch.load
    torch.save(dict(state_dict={}, norm=np.float64(1.0)), file)

    def slow(*args, **kwargs):
        time.sleep(0.02)
        return load(*args, **kwargs)

    monkeypatch.setattr(torch, 'load', slow)
    with ThreadPoolExecutor(4) as pool:
        assert [row['norm'] for row in pool.map(load_file, [file] * 12)] == [1.0] * 12
    assert not set(ALLOWED) & set(torch.serialization.get_safe_globals())
