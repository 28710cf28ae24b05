"""The queue of keys against what a list would hold."""

import torch

from openmsra.common.contrastive import enqueue


def test_queue_wraps_around():
    queue, pointer = torch.zeros(1, 10), torch.zeros(1, dtype=torch.long)
    pointers = []
    for step in range(3):
        enqueue(queue, pointer, torch.arange(4 * step, 4 * step + 4).float()[:, None])
        pointers.append(pointer.item())
    assert pointers == [4, 8, 2]
    assert queue[0].tolist() == [10, 11, 2, 3, 4, 5, 6, 7, 8, 9]


def test_queue_shorter_than_a_batch_keeps_the_last_keys():
    queue, pointer = torch.zeros(1, 3), torch.zeros(1, dtype=torch.long)
    enqueue(queue, pointer, torch.arange(8.0)[:, None])
    assert sorted(queue[0].tolist()) == [5, 6, 7]
    assert pointer.item() == 8 % 3
