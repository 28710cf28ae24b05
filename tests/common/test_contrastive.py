"""The queue of keys against what a list would hold."""

import torch

from openmsra.common.contrastive import enqueue, shuffle_over_devices, unshuffle_over_devices
from tests.dist.gloo import run_on_processes


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


def _shuffled(rank: int, world_size: int) -> dict:
    torch.manual_seed(rank)  # the order is that of rank 0
    rows = 4 * rank + torch.arange(4)
    samples = torch.randn(world_size * 4, 3, generator=torch.Generator().manual_seed(9))[rows]
    (dealt, names), places = shuffle_over_devices(samples, rows)
    norm = torch.nn.BatchNorm1d(3, affine=False)
    return dict(
        names=names,
        dealt=dealt,
        back=torch.equal(unshuffle_over_devices(dealt, places), samples),
        normalised=unshuffle_over_devices(norm(dealt), places),
    )


def test_shuffled_batch_norm_equals_its_plain_restatement():
    """BatchNorm over mixed shares, the vectors back in their places; rank 0 draws the order for all."""
    samples = torch.randn(8, 3, generator=torch.Generator().manual_seed(9))
    torch.manual_seed(0)
    order = torch.randperm(8).tolist()
    expected = torch.zeros(8, 3)
    for share in (order[:4], order[4:]):
        expected[share] = (samples[share] - samples[share].mean(0)) / (samples[share].var(0, correction=0) + 1e-5).sqrt()
    answers = run_on_processes(_shuffled, 2)
    for rank, answer in enumerate(answers):
        assert answer['names'].tolist() == order[4 * rank : 4 * rank + 4] != list(range(4 * rank, 4 * rank + 4))
        assert torch.equal(answer['dealt'], samples[answer['names']]), 'all tensors of a sample move together'
        assert answer['back']
        torch.testing.assert_close(answer['normalised'], expected[4 * rank : 4 * rank + 4])


def test_one_device_shuffles_nothing():
    samples = torch.arange(6.0).view(3, 2)
    (dealt,), places = shuffle_over_devices(samples)
    assert dealt is samples and unshuffle_over_devices(dealt, places) is samples
