"""Faults that CUDA would refuse are refused by the stand-in, and what CUDA allows is allowed.

Run by ``test_standin.py`` in a process of its own, since the device stays registered.
"""

import copy

import pytest
import torch

from tests.standin.device import NAME, Accelerator, synchronisations, uploads


@pytest.fixture(autouse=True)
def _device():
    synchronisations.clear()
    with Accelerator():
        yield


def test_numpy_of_a_device_tensor():
    with pytest.raises((TypeError, RuntimeError)):
        torch.ones(2, device=NAME).numpy()
    assert torch.ones(2, device=NAME).cpu().numpy().tolist() == [1.0, 1.0]


def test_tensors_of_both_devices():
    far, near = torch.ones(2, device=NAME), torch.ones(2)
    with pytest.raises(RuntimeError, match='on the CPU'):
        far + near
    with pytest.raises(RuntimeError, match='on the CPU'):
        torch.cat([far, near])
    with pytest.raises(RuntimeError, match='on the CPU'):
        far.index_select(0, torch.tensor([1]))
    with pytest.raises(RuntimeError, match='on the CPU'):
        far.gather(0, torch.tensor([1]))
    assert (far + torch.tensor(1.0)).tolist() == [2.0, 2.0]
    assert far[torch.tensor([1])].tolist() == [1.0]


def test_a_shared_module_that_another_has_moved():
    shared = torch.nn.Linear(2, 2)
    one, other = torch.nn.Sequential(shared), torch.nn.Sequential(shared)
    one.to(NAME)
    assert one(torch.ones(1, 2, device=NAME)).device.type == NAME
    other.to('cpu')
    with pytest.raises(RuntimeError, match='on the CPU'):
        one(torch.ones(1, 2, device=NAME))


def test_numbers_are_those_of_the_cpu():
    torch.manual_seed(0)
    near = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten())
    far, images = copy.deepcopy(near).to(NAME), torch.randn(2, 3, 5, 5)
    near(images).square().sum().backward()
    far(images.to(NAME)).square().sum().backward()
    for a, b in zip(near.parameters(), far.parameters(), strict=True):
        assert b.grad.device.type == NAME and torch.equal(a.grad, b.grad.cpu())


def test_waits_are_counted_with_their_place():
    far = torch.arange(3.0, device=NAME)
    far.sum().item()
    far.cpu()
    bool((far > 5).any())
    far.nonzero()
    assert synchronisations.total() == 4
    assert all('standin/planted.py' in place for place in synchronisations)
    far.mul_(2).sum()
    assert synchronisations.total() == 4
    far[far > 5]
    far[far > 1] = torch.ones(2, device=NAME)
    assert synchronisations.total() == 6
    far[far > 5] = 1.0
    assert synchronisations.total() == 6


def test_what_waits_while_it_is_copied_to_the_device_is_counted_apart():
    uploads.clear()
    torch.ones(2).to(NAME)
    torch.ones(2).to(NAME, non_blocking=True)
    assert uploads.total() == 1 and not synchronisations


def test_autocast_casts_as_on_cuda():
    net, images = torch.nn.Linear(3, 4).to(NAME), torch.ones(2, 3, device=NAME)
    with torch.autocast(NAME, dtype=torch.bfloat16):
        logits = net(images)
        loss = logits.softmax(1).square().sum()
    assert (logits.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
    loss.backward()
    assert net.weight.grad.dtype == torch.float32 and net.weight.grad.device.type == NAME


def test_inference_mode():
    net = torch.nn.Linear(3, 4).to(NAME)
    with torch.inference_mode():
        part = net.weight[:2].to('cpu')
    assert torch.equal(part, net.weight.detach().cpu()[:2])
