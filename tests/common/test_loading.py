"""The first step of a pipeline against mmcv's."""

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile as MMCVLoadImageFromFile
from mmengine.registry import DefaultScope

from openmsra.common.loading import LoadImageFromFile
from openmsra.errors import ImageError
from openmsra.registry import TRANSFORMS


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('float32', [False, True])
def test_ordinary_files_are_what_mmcv_reads_and_half_ones_are_refused(tmp_path, suffix, float32):
    file = tmp_path / f'a{suffix}'
    cv2.imwrite(str(file), np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))
    ours, theirs = (load(to_float32=float32)(dict(img_path=str(file))) for load in (LoadImageFromFile, MMCVLoadImageFromFile))
    np.testing.assert_array_equal(ours.pop('img'), theirs.pop('img'))
    assert ours == theirs
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ImageError, match='truncated'):
        LoadImageFromFile()(dict(img_path=str(file)))


def test_configs_of_ours_mean_it():
    with DefaultScope.overwrite_default_scope('openmsra'):
        assert type(TRANSFORMS.build(dict(type='LoadImageFromFile'))) is LoadImageFromFile
    with pytest.raises(ValueError, match='grayscale'):
        LoadImageFromFile('unchanged')
