"""Against other implementations: pyiqa's on the same weights, and the published scores of the released weights."""

import os
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch

from benchmarks.ckdn_speed import pyiqa_network
from openmsra.ckdn import CKDN, CKDNInferencer

CONFIG = 'configs/ckdn/ckdn_r50_8xb8-30e_pipal.py'
PUBLISHED = dict(I03=0.2833, I04=0.5767, I06=0.6367, I08=0.6580, I19=0.5999)  # official code, pyiqa's calibration file
WEIGHTS = os.environ.get('OPENMSRA_CKDN_WEIGHTS', '')


@pytest.fixture(scope='module')
def images() -> Path:
    try:
        return Path(distribution('pyiqa').locate_file('ResultsCalibra'))
    except PackageNotFoundError:
        pytest.skip('pyiqa is not installed (requirements/benchmarks-nodeps.txt)')


@torch.no_grad()
def test_pyiqa_gives_the_same_scores_on_the_same_weights(images):
    torch.manual_seed(0)
    model = CKDN(imagenet_weights=None)
    model.init_weights()
    model.eval().prepare_inference()
    restored, degraded = torch.randn(2, 2, 3, 288, 288) * torch.tensor([1.0, 0.1]).view(2, 1, 1, 1)
    theirs = pyiqa_network(model)(restored, degraded).flatten()
    assert (theirs[0] - theirs[1]).abs() > 1e-2
    torch.testing.assert_close(model(dict(restored=restored, degraded=degraded)), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not WEIGHTS, reason='set OPENMSRA_CKDN_WEIGHTS to the converted released weights')
def test_released_weights_give_the_published_scores(images):
    pairs = [(images / 'dist_dir' / f'{name}.bmp', images / 'ref_dir' / f'{name}.bmp') for name in PUBLISHED]
    scores = [row['score'] for row in CKDNInferencer(CONFIG, WEIGHTS)(pairs)]
    assert scores == pytest.approx(list(PUBLISHED.values()), abs=1e-3)
