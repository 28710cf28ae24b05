"""The shared inferencer on numbers: order, batches, results as they come, no input that spoils the others."""

import json

import cv2
import numpy as np
import pytest
import torch

from openmsra.engine.inferencer import Inferencer
from openmsra.errors import CheckpointError, DataError, ImageError


class Doubler(Inferencer):
    """Doubles numbers; 13 cannot be read."""

    key = 'number'

    def load_model(self, config, checkpoint, device, cfg_options):
        self.batches = []
        return torch.nn.Identity()

    def list_inputs(self, inputs):
        return [(str(number), number) for number in inputs]

    def preprocess(self, item, *, offset=0):
        if item == 13:
            raise ImageError('13: bad luck')
        if item == 14:
            raise OSError('14: gone')
        return item + offset

    def forward(self, batch):
        self.batches.append(list(batch))
        return torch.tensor(batch) * 2

    def postprocess(self, prediction, *, digits=1):
        return dict(double=np.array(prediction) / digits)

    def draw(self, item, row):
        return np.full((4, 5, 3), item, np.uint8)


def test_rows_come_in_order_and_one_bad_input_spoils_nothing():
    infer = Doubler('config', 'weights')
    rows = infer([1, 13, 2, 14, 3], batch_size=2, offset=10, digits=2)
    assert [row['number'] for row in rows] == ['1', '13', '2', '14', '3']
    assert [float(row['double']) if 'double' in row else row['error'] for row in rows] == [11, '13: bad luck', 12, '14: gone', 13]
    assert infer.batches == [[11], [12], [13]]
    infer.batches.clear()
    assert [float(row['double']) for row in infer([1, 2, 3], batch_size=2)] == [2, 4, 6]
    assert infer.batches == [[1, 2], [3]]
    assert infer([1], return_datasamples=True)[0]['data_sample'] == 2 and 'data_sample' not in infer([1])[0]


def test_results_are_written_as_they_come(tmp_path, monkeypatch):
    infer = Doubler('config', 'weights')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/results.jsonl').write_text('of an earlier run\n')

    def stop(batch):
        if 4 in batch:
            raise KeyboardInterrupt
        return torch.tensor(batch) * 2

    monkeypatch.setattr(infer, 'forward', stop)
    with pytest.raises(KeyboardInterrupt):
        infer([1, 13, 3, 4], out_dir=tmp_path / 'out')
    lines = [json.loads(line) for line in (tmp_path / 'out/results.jsonl').read_text().splitlines()]
    assert lines == [
        dict(number='1', double=2.0, drawing='00000_1.png'),
        dict(number='13', error='13: bad luck'),
        dict(number='3', double=6.0, drawing='00002_3.png'),
    ]
    assert sorted(path.name for path in (tmp_path / 'out').glob('*.png')) == ['00000_1.png', '00002_3.png']


@pytest.mark.parametrize('step', ['preprocess', 'forward', 'postprocess'])
@pytest.mark.parametrize('fault', [TypeError, AttributeError, NameError, KeyError, NotImplementedError, AssertionError])
def test_faults_of_the_program_are_not_taken_for_faults_of_an_input(step, fault, monkeypatch):
    infer = Doubler('config', 'weights')

    def wrong(*arguments):
        raise fault('a typing error')

    monkeypatch.setattr(infer, step, wrong)
    with pytest.raises(fault, match='a typing error'):
        infer([1, 2], batch_size=2)


@pytest.mark.parametrize('fault', [ValueError, ZeroDivisionError, MemoryError, RuntimeError, UnicodeError, cv2.error])
def test_what_an_input_can_cause_is_its_own_row(fault, monkeypatch):
    infer = Doubler('config', 'weights')
    double = infer.forward

    def odd(batch):
        if 2 in batch:
            raise fault('a side of length 0')
        return double(batch)

    monkeypatch.setattr(infer, 'forward', odd)
    rows = infer([1, 2, 3], batch_size=3)
    assert ['error' in row for row in rows] == [False, True, False] and rows[1]['error'].endswith('a side of length 0')


def test_what_cannot_be_is_refused():
    infer = Doubler('config', 'weights')
    with pytest.raises(DataError, match='none of the 2 inputs could be read; the first: 13'):
        infer([13, 14])
    assert infer([]) == []
    with pytest.raises(ValueError, match='unknown option topk; valid are digits, offset'):
        infer([1], topk=3)
    with pytest.raises(ValueError, match='batch_size=0'):
        infer([1], batch_size=0)
    with pytest.raises(CheckpointError, match='Doubler: give a checkpoint'):
        Doubler('config', None)
