"""The comparison of data loaders: both sides of every row give a sample."""

import pytest

from benchmarks import loading
from openmsra import compat

SLOW = ('autoformer', 'soft_teacher', 'mcn', 'ftcn')  # they import a library each, write videos or cut faces first


@pytest.mark.parametrize('paper', [pytest.param(p, marks=pytest.mark.reliability if p in SLOW else ()) for p in loading.PAPERS])
def test_both_sides_load(paper, tmp_path, monkeypatch):
    compat.bridge_torchvision()
    compat.bridge_mmaction()
    monkeypatch.setitem(loading.SAMPLES, paper, 1)
    rows = loading.measured(paper, tmp_path, repeats=1)
    assert rows and all(row['ours_per_second'] > 0 and row['peer_per_second'] > 0 for row in rows.values())
