"""Clips side by side: the scores of batches, in the order of the clips, and nothing left behind."""

import threading

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement
from torch import nn

from openmsra.ftcn.scoring import Batches, SideBySide, scoring


class FirstByte(nn.Module):
    """Scores a clip by its first byte; keeps how many threads PyTorch had, and how many clips came together."""

    def __init__(self, broken=()):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.broken, self.threads, self.batches = broken, set(), []

    def test_step(self, data):
        self.threads.add(torch.get_num_threads())
        self.batches.append(len(data['inputs']))
        values = [int(clip.flatten()[0]) for clip in data['inputs']]
        if set(values) & set(self.broken):
            raise RuntimeError(f'clip {values[0]}')
        return [BaseDataElement(pred_score=value / 255) for value in values]


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == threads_of_a_new_thread() == 2
    torch.set_num_threads(before)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith('openmsra')]


def threads_of_a_new_thread():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


def clip(value):
    return np.full((2, 4, 4, 3), value, np.uint8)


def scored(scorer, count):
    known = []
    with scorer:
        for number in scorer.reading(range(count)):
            scorer.submit(clip(number))
            known += scorer.ready()
        return known + list(scorer.rest())


def test_a_processor_scores_side_by_side_and_one_thread_in_batches():
    model = FirstByte()
    with scoring(model, 4) as scorer:
        assert isinstance(scorer, SideBySide) and scorer.size == 2
    assert type(scoring(model, 1)) is Batches
    assert type(scoring(model.to('meta'), 4)) is Batches
    torch.set_num_threads(1)
    assert type(scoring(FirstByte(), 4)) is Batches
    torch.set_num_threads(2)


@pytest.mark.parametrize('count', [0, 1, 2, 23])
def test_scores_come_in_the_order_of_the_clips(count):
    expected = [number / 255 for number in range(count)]
    model = FirstByte()
    assert scored(Batches(model, 4), count) == expected
    assert model.batches == [1] * min(count, 1) + [4] * ((count - 1) // 4) + [(count - 1) % 4] * (
        count > 1 and (count - 1) % 4 > 0
    )
    model = FirstByte()
    assert scored(SideBySide(model, 2), count) == expected and set(model.batches) <= {1}


def test_the_first_clip_has_all_threads_then_the_reader_and_each_clip_have_one():
    model, seen = FirstByte(), []

    def events():
        for number in range(6):
            seen.append(torch.get_num_threads())
            yield number

    with SideBySide(model, 2) as scorer:
        for number in scorer.reading(events()):
            scorer.submit(clip(number))
            if number == 0:
                assert list(scorer.ready()) == [0] and model.threads == {2}
                model.threads.clear()
                assert threads_of_a_new_thread() == 2  # that of another request
        list(scorer.rest())
    assert set(seen) == {1} and model.threads == {1}


def test_clips_do_not_pile_up_behind_a_slow_network():
    go_on, model = threading.Event(), FirstByte()
    quick = model.test_step
    model.test_step = lambda data: (int(data['inputs'].flatten()[0]) == 0 or go_on.wait(30)) and quick(data)
    with SideBySide(model, 2) as scorer:
        for number in range(5):
            scorer.submit(clip(number))
            list(scorer.ready())
        assert len(scorer.pending) == 4
        scorer.submit(clip(5))
        threading.Timer(0.2, go_on.set).start()
        assert next(scorer.ready()) == 1 / 255  # waits for the oldest


def test_an_error_of_a_clip_reaches_the_caller_at_its_place():
    with SideBySide(FirstByte(broken=[3]), 2) as scorer:
        for number in range(6):
            scorer.submit(clip(number))
        known = []
        with pytest.raises(RuntimeError, match='clip 3'):
            for score in scorer.rest():
                known.append(score)
    assert known == [0, 1 / 255, 2 / 255]


def test_what_is_not_asked_for_is_dropped():
    with SideBySide(FirstByte(), 2) as scorer:
        for number in range(20):
            scorer.submit(clip(number))
