"""Convolutions and their first and second derivatives against PyTorch's, in float64."""

import pytest
import torch
from torch import nn
from torch.func import vmap
from torch.nn import functional as F

from openmsra.common.convolution import Conv2d, Conv3d, convolve, replace_convolutions
from openmsra.common.products import FEW, Geometry, Temporal, Unfolded

# clips (B, C, *size), kernel (O, C, *kernel), stride, padding, dilation, and the way in which it is done
CASES = {
    '3x3x3': ((2, 3, 4, 5, 5), (4, 3, 3, 3, 3), (1, 2, 2), (1, 1, 1), (1, 1, 1), None),
    '1x1x1 with stride': ((2, 3, 4, 5, 5), (4, 3, 1, 1, 1), (2, 2, 2), (0, 0, 0), (1, 1, 1), None),
    '2-D, dilated': ((2, 3, 6, 7), (4, 3, 3, 3), (2, 2), (2, 0), (1, 2), None),
    '3x1x1, small': ((3, 3, 4, 3, 3), (4, 3, 3, 1, 1), (1, 1, 1), (1, 0, 0), (1, 1, 1), Temporal),
    '5x1x1 on 2 frames, large': ((2, 3, 2, 12, 12), (4, 3, 5, 1, 1), (1, 1, 1), (2, 0, 0), (1, 1, 1), Temporal),
    '1x1x1, small': ((3, 3, 2, 3, 3), (4, 3, 1, 1, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1), Temporal),
    '1x1, large': ((2, 3, 17, 17), (4, 3, 1, 1), (1, 1), (0, 0), (1, 1), Temporal),
    '3x3x3 on a point': ((2, 3, 1, 1, 1), (8, 3, 3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), Unfolded),
    '2x3x2 with all options': ((1, 2, 5, 5, 6), (72, 2, 2, 3, 2), (2, 1, 2), (1, 0, 1), (1, 2, 2), Unfolded),
    '2-D on a small map': ((2, 3, 3, 3), (32, 3, 3, 3), (2, 2), (1, 1), (1, 1), Unfolded),
}
cases = pytest.mark.parametrize('case', CASES)


def torch_convolution(x, w, geometry):
    return (F.conv2d if x.dim() == 4 else F.conv3d)(x, w, None, *geometry)


def derivatives(function, x, w):
    """y, its gradients, and the gradients of a function of these."""
    y = function(x, w)
    first = torch.autograd.grad(y.tanh().sum(), (x, w), create_graph=True)
    return y, *first, *torch.autograd.grad(sum(gradient.sin().sum() for gradient in first), (x, w))


@cases
def test_second_derivatives_are_those_of_pytorch(case):
    torch.manual_seed(0)
    size, kernel, *options, way = CASES[case]
    geometry = Geometry(*options)
    x, w = (torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in (size, kernel))
    ours = derivatives(lambda x, w: convolve(x, w, geometry), x, w)
    torch.testing.assert_close(ours, derivatives(lambda x, w: torch_convolution(x, w, geometry), x, w), atol=1e-10, rtol=1e-10)
    positions = ours[0][:, 0].numel()
    assert Temporal.applies(kernel, geometry) == (way is Temporal)
    assert way is Temporal or Unfolded.applies(positions, kernel) == (way is Unfolded)
    assert case.endswith('large') == (way is Temporal and x[0, 0].numel() >= FEW)


@pytest.mark.parametrize('case', ['3x3x3', '3x1x1, small', '3x3x3 on a point'])
def test_gradients_of_gradients_by_differences(case):
    torch.manual_seed(0)
    (_, _, *size), (_, _, *kernel), *options, _ = CASES[case]
    x, w = torch.randn(1, 1, *size, dtype=torch.double), torch.randn(4, 1, *kernel, dtype=torch.double)
    assert torch.autograd.gradgradcheck(
        lambda x, w: convolve(x, w, Geometry(*options)), (x.requires_grad_(), w.requires_grad_()), fast_mode=True
    )


@pytest.mark.parametrize('weights', ['copies of a parameter', 'copies of a tensor', 'of each task', 'the same'])
@cases
def test_side_by_side_equals_one_task_after_the_other(case, weights):
    """Inner gradients of each task, and the gradient of a function of them, of weights in every form."""
    torch.manual_seed(0)
    size, kernel, *options, _ = CASES[case]
    geometry, tasks = Geometry(*options), 3
    x = torch.randn(tasks, *size, dtype=torch.double, requires_grad=True)
    base = torch.randn((tasks, *kernel) if weights == 'of each task' else kernel, dtype=torch.double, requires_grad=True)
    w, dims = base, (0, 0)
    if weights.startswith('copies'):
        w = (base if weights == 'copies of a parameter' else base * 1.0).expand(tasks, *kernel)
    if weights == 'copies of a tensor':
        w = w.detach().requires_grad_()
    if weights == 'the same':
        dims = (0, None)
    leaf = w if weights == 'copies of a tensor' else base

    def outcome(losses):
        inner = torch.autograd.grad(losses.sum(), w, create_graph=True)[0]
        outer = torch.autograd.grad(inner.sin().sum() + losses.pow(2).sum(), (x, leaf))
        return inner, *outer

    ours = outcome(vmap(lambda x, w: convolve(x, w, geometry).tanh().sum(), in_dims=dims)(x, w))
    numbers = [w if weights == 'the same' else w[k] for k in range(tasks)]
    loop = torch.stack([torch_convolution(x[k], numbers[k], geometry).tanh().sum() for k in range(tasks)])
    torch.testing.assert_close(ours, outcome(loop), atol=1e-9, rtol=1e-9)


def test_modules_keep_weights_and_leave_what_they_cannot_do_to_pytorch():
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(4, 8, 3),
        nn.Conv2d(8, 8, 3, groups=2),
        nn.Conv2d(8, 4, 3, padding='same'),
        nn.Conv2d(4, 2, 1, bias=False),
    ]
    net = nn.Sequential(*layers)
    x, state = torch.randn(2, 4, 9, 9), net.state_dict()
    with torch.no_grad():
        plain = net(x)
    replace_convolutions(net)
    assert [type(layer) for layer in net] == [Conv2d] * 4 and net.state_dict().keys() == state.keys()
    torch.testing.assert_close(net(x), plain)
    with torch.autocast('cpu', torch.bfloat16):
        mixed = net(x)
    assert mixed.dtype == torch.bfloat16
    (gradient,) = torch.autograd.grad(mixed.float().sum(), net[0].weight)
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(gradient, torch.autograd.grad(net(x).sum(), net[0].weight)[0], rtol=0.05, atol=0.3)
    assert issubclass(Conv3d, nn.Conv3d)
