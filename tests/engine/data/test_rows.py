"""Long lists are kept as mmengine keeps them; only the way there is shorter."""

import gc

import numpy as np
import pytest
from mmengine.dataset import BaseDataset

from openmsra.engine.data.rows import LongList

ROWS = [dict(img_path=f'images/{number}.jpg', label=number % 3, boxes=[[0.5 * number, 1]]) for number in range(50)]


class Mine(LongList):
    def load_data_list(self) -> list[dict]:
        assert not gc.isenabled(), 'it would look at all rows, again and again'
        return [dict(row) for row in ROWS]


class Theirs(BaseDataset):
    def load_data_list(self) -> list[dict]:
        return [dict(row) for row in ROWS]


@pytest.mark.parametrize('options', [{}, dict(indices=20), dict(serialize_data=False)])
def test_rows_are_kept_as_in_mmengine(options):
    mine, theirs = Mine(**options), Theirs(**options)
    assert gc.isenabled()
    assert [mine.get_data_info(index) for index in range(len(mine))] == [theirs.get_data_info(i) for i in range(len(theirs))]
    assert mine.get_data_info(-1) == theirs.get_data_info(-1)
    if options.get('serialize_data', True):
        np.testing.assert_array_equal(mine.data_bytes, theirs.data_bytes)
        np.testing.assert_array_equal(mine.data_address, theirs.data_address)
        assert mine.data_list == []
    assert [row['img_path'] for row in mine.get_subset([3, 1])] == ['images/3.jpg', 'images/1.jpg']


def test_positions_by_key_are_arrays():
    positions = Mine(indices=7).positions(lambda row: row['label'])
    assert {key: value.tolist() for key, value in positions.items()} == {0: [0, 3, 6], 1: [1, 4], 2: [2, 5]}
    assert all(isinstance(value, np.ndarray) for value in positions.values()), 'lists are copied by each worker that reads them'


def test_garbage_is_collected_again_after_a_fault():
    class Broken(LongList):
        def load_data_list(self):
            raise ValueError

    with pytest.raises(ValueError):
        Broken()
    assert gc.isenabled()
