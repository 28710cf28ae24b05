"""Scores of one's own in a table, and squares cut out of pairs."""

import numpy as np
import pytest
from PIL import Image

from openmsra.ckdn.data.table import ScoredTable
from openmsra.ckdn.data.transforms import RandomCropPair
from openmsra.errors import AnnotationError, DataError, ImageError

ROWS = 'restored,degraded,score,pristine,split\na.png,d.png,1,p.png,train\nb.png,d.png,3,,train\nb.png,d.png,2,p.png,val\n'


def table(folder, rows=ROWS, **options):
    for name in 'abdp':
        Image.new('RGB', (16, 16)).save(folder / f'{name}.png')
    (folder / 'scores.csv').write_text(rows)
    options = dict(split='train', score_range=(1, 5)) | options
    return ScoredTable(str(folder / 'scores.csv'), str(folder), pipeline=[], **options)


def test_rows_without_a_pristine_image_are_left_out_only_when_asked(tmp_path):
    assert len(table(tmp_path)) == 2
    with pytest.raises(AnnotationError, match=r"pristine=False, or skip_without=\['pristine'\]"):
        table(tmp_path, pristine=True)
    left = table(tmp_path, skip_without=['pristine'])
    assert [left.get_data_info(i)['gt_score'] for i in range(len(left))] == [0.0]
    assert 'pristine' in left.roles


def test_nothing_left_and_unknown_columns_are_errors(tmp_path):
    with pytest.raises(DataError, match='no row has pristine'):
        table(tmp_path, ROWS.replace('p.png', ''), skip_without=['pristine'])
    with pytest.raises(ValueError, match='skip_without takes'):
        table(tmp_path, skip_without=['score'])


def test_one_square_of_all_roles():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    np.random.seed(0)
    places = set()
    for _ in range(20):
        images = {role: Image.fromarray(pixels) for role in ('restored', 'degraded', 'pristine')}
        cut = RandomCropPair(crop=24).transform(images)
        parts = [np.asarray(cut[role]) for role in ('restored', 'degraded', 'pristine')]
        assert parts[0].shape == (24, 24, 3) and all(np.array_equal(part, parts[0]) for part in parts)
        found = [
            (top, left, mirrored)
            for top in range(17)
            for left in range(7)
            for mirrored in (1, -1)
            if np.array_equal(pixels[top : top + 24, left : left + 24][:, ::mirrored], parts[0])
        ]
        places.update(found)
    assert len(places) > 12 and {mirrored for _, _, mirrored in places} == {1, -1}


@pytest.mark.parametrize('sizes', [((20, 20), (20, 20)), ((30, 30), (15, 15))])
def test_squares_that_cannot_be_cut_are_named(sizes):
    images = dict(zip(('restored', 'degraded'), (Image.new('RGB', size) for size in sizes), strict=True))
    with pytest.raises(ImageError, match='ResizeCropPair'):
        RandomCropPair(crop=24).transform(dict(images, restored_path='a.png'))
