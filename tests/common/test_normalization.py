"""Batch normalisation and its first and second derivatives against PyTorch's, in float64."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from openmsra.common.normalization import BatchNorm2d, BatchNorm3d, batch_norm, replace_batch_norms

EPS = 1e-3
SIZES = {'3-D': (4, 3, 2, 3, 3), '2-D': (4, 3, 3, 2), 'points': (5, 3, 1, 1, 1), 'one clip': (1, 3, 2, 2, 2)}
sizes = pytest.mark.parametrize('size', SIZES.values(), ids=SIZES)


def torch_batch_norm(x, w, b):
    return F.batch_norm(x, None, None, w, b, True, 0.0, EPS)


def drawn(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.double).requires_grad_() for shape in shapes]


def derivatives(y, *inputs):
    """y, its gradients, and the gradients of a function of these."""
    first = torch.autograd.grad(y.tanh().sum(), inputs, create_graph=True)
    return y, *first, *torch.autograd.grad(sum(gradient.sin().sum() for gradient in first), inputs)


@sizes
@pytest.mark.parametrize('zero', [False, True], ids=['', 'weight 0'])
def test_second_derivatives_are_those_of_pytorch(size, zero):
    x, w, b = drawn(size, (3,), (3,))
    if zero:  # as in residual blocks at the start
        w = (w * 0).detach().requires_grad_()
    y, mean, reciprocal = batch_norm(x, w, b, EPS)
    expected = torch_batch_norm(x, w, b)
    torch.testing.assert_close(derivatives(y, x, w, b), derivatives(expected, x, w, b), atol=1e-10, rtol=1e-10)
    others = [0, *range(2, x.dim())]
    torch.testing.assert_close(mean, x.detach().mean(others))
    torch.testing.assert_close(reciprocal, (x.detach().var(others, correction=0) + EPS).rsqrt())


def test_gradients_of_gradients_by_differences():
    assert torch.autograd.gradgradcheck(lambda *inputs: batch_norm(*inputs, EPS)[0], drawn((3, 2, 2, 2, 1), (2,), (2,)))


@pytest.mark.parametrize('own', [True, False], ids=['weights of each task', 'the same weights'])
def test_side_by_side_equals_one_task_after_the_other(own):
    x, w, b = drawn((3, 4, 2, 2, 3, 3), (3, 2) if own else (2,), (3, 2) if own else (2,))
    mapped = vmap(lambda *inputs: batch_norm(*inputs, EPS)[0], in_dims=(0, 0, 0) if own else (0, None, None))(x, w, b)
    expected = torch.stack([torch_batch_norm(x[n], w[n] if own else w, b[n] if own else b) for n in range(3)])
    torch.testing.assert_close(derivatives(mapped, x, w, b), derivatives(expected, x, w, b), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize('mapped', [False, True])
def test_modules_keep_the_running_statistics(mapped):
    ours, plain = nn.Sequential(nn.BatchNorm3d(3, momentum=0.2)).double(), nn.Sequential(nn.BatchNorm3d(3, momentum=0.2)).double()
    replace_batch_norms(ours)
    assert type(ours[0]) is BatchNorm3d and type(plain[0]) is nn.BatchNorm3d
    x = drawn((2, *SIZES['3-D']))[0]
    if mapped:
        parameters = dict(ours.named_parameters())

        def call(x, buffers):
            buffers = {name: value.clone() for name, value in buffers.items()}
            return functional_call(ours, {**parameters, **buffers}, (x,)), buffers

        y, buffers = vmap(call)(x, {name: value.expand(2, *value.shape) for name, value in ours.named_buffers()})
    else:
        y, buffers = ours(x[0])[None], {name: value[None] for name, value in ours.named_buffers()}
    for number in range(len(y)):
        again = nn.Sequential(nn.BatchNorm3d(3, momentum=0.2)).double()
        torch.testing.assert_close(y[number], again(x[number]))
        torch.testing.assert_close({name: value[number] for name, value in buffers.items()}, dict(again.named_buffers()))


def test_what_they_cannot_do_is_left_to_pytorch():
    x = torch.randn(4, 3, 5, 5, requires_grad=True)
    for options in (dict(affine=False), dict(momentum=None)):
        ours, plain = BatchNorm2d(3, **options), nn.BatchNorm2d(3, **options)
        torch.testing.assert_close(ours(x), plain(x), rtol=0, atol=0)
        torch.testing.assert_close(ours.running_var, plain.running_var, rtol=0, atol=0)
    ours, plain = BatchNorm2d(3).eval(), nn.BatchNorm2d(3).eval()
    torch.testing.assert_close(ours(x), plain(x), rtol=0, atol=0)
    with pytest.raises(ValueError, match='more than 1 value'):
        BatchNorm2d(3)(torch.randn(1, 3, 1, 1))
    with pytest.raises(ValueError, match='expected 4D'):
        BatchNorm2d(3)(torch.randn(2, 3, 4, 4, 4))
