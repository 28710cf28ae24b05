"""Convolutions whose gradients are cheap to differentiate again, with one set of weights or with one for each task.

A convolution y = C(x, w) is linear in both arguments. So are its gradients, I(g, w) of the input and W(x, g) of the weights, and
the gradients of each of the three are the other two: derivatives of any order need no fourth operation. PyTorch's double
backward of a convolution forms W as a convolution whose *kernel is the whole map*; here it is the ordinary kernel for it.

Shapes: N tasks, B clips or images of a task. ``x`` (N, B, C, *size), ``y`` and ``g`` (N, B, O, *size'), ``w`` (N, O, C, *kernel)
or, for all tasks, (O, C, *kernel).
"""

from math import prod

import torch
from torch import Tensor, nn
from torch.autograd import Function

from openmsra.common.products import Geometry, Temporal, Unfolded

aten = torch.ops.aten
INPUT, WEIGHT = (True, False, False), (False, True, False)


def convolve(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """(B, C, *size) and (O, C, *kernel) to (B, O, *size'); may be differentiated any number of times and be mapped by ``vmap``.

    Tasks whose weights are copies of a parameter made by ``expand`` are convolved together. A pass that is to be differentiated
    again (``create_graph``) then gives each copy its gradient, any other pass gives their sum to the parameter at once.
    """
    return _Convolution.apply(x[None], weight, None, geometry)[0]


class _TwiceDifferentiable:
    """``nn.Conv2d`` and ``nn.Conv3d`` by :func:`convolve` wherever gradients are recorded."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not torch.is_grad_enabled() or self.groups > 1 or self.padding_mode != 'zeros' or isinstance(self.padding, str):
            return super()._conv_forward(x, weight, bias)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        y = convolve(x, weight, Geometry(self.stride, self.padding, self.dilation))
        return y if bias is None else y + bias.to(y.dtype).view(-1, *[1] * (y.dim() - 2))


class Conv2d(_TwiceDifferentiable, nn.Conv2d):
    """``nn.Conv2d`` with cheap second derivatives."""


class Conv3d(_TwiceDifferentiable, nn.Conv3d):
    """``nn.Conv3d`` with cheap second derivatives."""


def replace_convolutions(network: nn.Module) -> None:
    """Let the 2-D and 3-D convolutions of a network, which keep weights, names and hooks, be differentiated twice cheaply."""
    for module in network.modules():
        for ours in (Conv2d, Conv3d):
            plain = ours.__mro__[2]
            if isinstance(module, plain) and type(module)._conv_forward is plain._conv_forward:
                module.__class__ = ours


class _Convolution(Function):
    """C(x, w). ``copies`` (N, O, C, *kernel), if given, are copies of ``w`` that can have gradients of their own."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, copies: Tensor | None, geometry: Geometry) -> Tensor:
        return _output(x, w, geometry)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        x, w, copies, ctx.geometry = inputs
        ctx.save_for_backward(x, w, copies)

    @staticmethod
    def vmap(info, dims: tuple, x: Tensor, w: Tensor, copies: None, geometry: Geometry) -> tuple[Tensor, int]:
        """Of one task (N = 1) in each of the mapped calls, all tasks."""
        x = x.movedim(dims[0], 0) if dims[0] is not None else x.expand(info.batch_size, *x.shape)
        if dims[1] is not None:
            w = w.movedim(dims[1], 0)
            if w.stride(0) == 0:
                w, copies = _repeated(w), w
        return _Convolution.apply(x.squeeze(1), w, copies, geometry)[:, None], 0

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple:
        x, w, copies = ctx.saved_tensors
        input_gradient = _InputGradient.apply(g, w, copies, x.shape, ctx.geometry) if ctx.needs_input_grad[0] else None
        return input_gradient, *_weight_gradients(ctx, x, g, w, copies), None


class _InputGradient(Function):
    """I(g, w), the gradient of an input of the given shape."""

    @staticmethod
    def forward(ctx, g: Tensor, w: Tensor, copies: Tensor | None, shape: torch.Size, geometry: Geometry) -> Tensor:
        ctx.geometry = geometry
        ctx.save_for_backward(g, w, copies)
        return _input_gradient(g, w, shape, geometry)

    @staticmethod
    def backward(ctx, x: Tensor) -> tuple:
        g, w, copies = ctx.saved_tensors
        output = _Convolution.apply(x, w, copies, ctx.geometry) if ctx.needs_input_grad[0] else None
        return output, *_weight_gradients(ctx, x, g, w, copies), None, None


class _WeightGradient(Function):
    """W(x, g), the gradient of weights of the given shape and type."""

    @staticmethod
    def forward(ctx, x: Tensor, g: Tensor, shape: torch.Size, dtype: torch.dtype, geometry: Geometry) -> Tensor:
        ctx.geometry = geometry
        ctx.save_for_backward(x, g)
        return _weight_gradient(x, g, shape, geometry).to(dtype)

    @staticmethod
    def backward(ctx, w: Tensor) -> tuple:
        x, g = ctx.saved_tensors
        input_gradient = _InputGradient.apply(g, w, None, x.shape, ctx.geometry) if ctx.needs_input_grad[0] else None
        output = _Convolution.apply(x, w, None, ctx.geometry) if ctx.needs_input_grad[1] else None
        return input_gradient, output, None, None, None


def _weight_gradients(ctx, x: Tensor, g: Tensor, w: Tensor, copies: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """For the weights and their copies, one of them ``None``: the sum costs one product instead of N and much less memory."""
    _, to_weights, to_copies, *_ = ctx.needs_input_grad
    if to_copies and (torch.is_grad_enabled() or not to_weights):
        return None, _WeightGradient.apply(x, g, copies.shape, copies.dtype, ctx.geometry)
    return _WeightGradient.apply(x, g, w.shape, w.dtype, ctx.geometry) if to_weights else None, None


def _repeated(copies: Tensor) -> Tensor:
    """The parameter that ``expand`` has copied, or, if there is none, its values."""
    parameter = None
    if copies.grad_fn is not None and copies.grad_fn.name() == 'ExpandBackward0':
        parameter = getattr(copies.grad_fn.next_functions[0][0], 'variable', None)
    same = parameter is not None and parameter.shape == copies.shape[1:]
    return parameter if same else copies[0].detach()


def _output(x: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
    w = w.to(x.dtype)
    if w.dim() < x.dim():
        return _output(x.flatten(0, 1)[None], w[None], geometry)[0].unflatten(0, x.shape[:2])
    if x.device.type != 'cpu':
        return _split(aten.convolution(_joined(x), w.flatten(0, 1), *_options(geometry, len(x))), len(x))
    if Temporal.applies(w.shape[1:], geometry):
        return Temporal.output(x, w)
    y = [_convolved(*task, geometry) for task in zip(x, w, strict=True)]  # in groups it is up to four times slower
    return torch.stack(y) if len(y) > 1 else y[0][None]


def _convolved(x: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
    positions = len(x) * prod(
        (length + 2 * padding - dilation * (width - 1) - 1) // stride + 1
        for length, width, stride, padding, dilation in zip(x.shape[2:], w.shape[2:], *geometry, strict=True)
    )
    if Unfolded.applies(positions, w.shape):
        return Unfolded.output(x, w, geometry)
    return aten.convolution(x, w, *_options(geometry))


def _input_gradient(g: Tensor, w: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
    w = w.to(g.dtype)
    if w.dim() < g.dim():
        size = torch.Size((1, g.shape[0] * g.shape[1], *shape[2:]))
        return _input_gradient(g.flatten(0, 1)[None], w[None], size, geometry)[0].unflatten(0, g.shape[:2])
    if g.device.type != 'cpu':
        x = _joined(g.new_empty(1).expand(shape))  # only its shape is read
        options = _options(geometry, len(g))
        return _split(aten.convolution_backward(_joined(g), x, w.flatten(0, 1), *options, INPUT)[0], len(g))
    if Temporal.applies(w.shape[1:], geometry):
        return Temporal.input_gradient(g, w)
    x = [_to_input(*task, shape[1:], geometry) for task in zip(g, w, strict=True)]
    return torch.stack(x) if len(x) > 1 else x[0][None]


def _to_input(g: Tensor, w: Tensor, size: tuple[int, ...], geometry: Geometry) -> Tensor:
    if Unfolded.applies(len(g) * g[0, 0].numel(), w.shape):
        return Unfolded.input_gradient(g, w, size, geometry)
    x = g.new_empty(1).expand(size)  # only its shape is read
    return aten.convolution_backward(g, x, w, *_options(geometry), INPUT)[0]


def _weight_gradient(x: Tensor, g: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
    if len(shape) < x.dim():
        return _weight_gradient(x.flatten(0, 1)[None], g.flatten(0, 1)[None], torch.Size((1, *shape)), geometry)[0]
    if x.device.type != 'cpu':
        w = x.new_empty(1).expand(shape).flatten(0, 1)
        options = _options(geometry, len(x))
        return aten.convolution_backward(_joined(g), _joined(x), w, *options, WEIGHT)[1].view(shape)
    if Temporal.applies(shape[1:], geometry):
        return Temporal.weight_gradient(x, g, shape)
    out = g.new_empty(shape)
    for task in zip(x, g, out, strict=True):
        _to_weight(*task, geometry)
    return out


def _to_weight(x: Tensor, g: Tensor, out: Tensor, geometry: Geometry) -> None:
    if Unfolded.applies(len(g) * g[0, 0].numel(), out.shape):
        Unfolded.weight_gradient(x, g, out, geometry)
    else:
        w = x.new_empty(1).expand(out.shape)
        out.copy_(aten.convolution_backward(g, x, w, *_options(geometry), WEIGHT)[1])


def _options(geometry: Geometry, groups: int = 1) -> tuple:
    """Arguments of the operators behind the tensors."""
    return None, *geometry, False, [0] * len(geometry.stride), groups


def _joined(x: Tensor) -> Tensor:
    """(N, B, C, ...) to (B, N * C, ...)."""
    return x.transpose(0, 1).flatten(1, 2)


def _split(x: Tensor, tasks: int) -> Tensor:
    """(B, N * C, ...) to (N, B, C, ...)."""
    return x.unflatten(1, (tasks, -1)).transpose(0, 1)
