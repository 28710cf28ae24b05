"""Activations that are computed again instead of being kept, for gradients that are differentiated once more.

``torch.utils.checkpoint`` does not help an inner step of second order: while its gradient is taken with ``create_graph``, the
activations that it has just recomputed are kept for the second backward pass. Here the gradient of a segment is an operation of
its own, which keeps what goes into it and computes everything else again when it is differentiated.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

Run = Callable[[Tensor, Sequence[Tensor], bool], Tensor]  # input, parameters, whether statistics may move


def recomputed(segment: nn.Module, x: Tensor) -> Tensor:
    """``segment(x)``, of which only ``x`` and the parameters are kept for the backward passes, the second one too.

    Statistics of normalisation move once, in this call. The segment must be a function of its input, without dropout. Its
    backward pass can be differentiated once.
    """
    parameters = dict(segment.named_parameters())
    device, dtype = x.device.type, torch.get_autocast_dtype(x.device.type) if x.device.type != 'meta' else None
    autocast = dtype is not None and torch.is_autocast_enabled(device)
    statistics = {name: value.clone() for name, value in segment.named_buffers()}

    def run(inputs: Tensor, values: Sequence[Tensor], first: bool) -> Tensor:
        named = dict(zip(parameters, values, strict=True))
        buffers = {} if first else {name: value.clone() for name, value in statistics.items()}
        with torch.autocast(device if autocast else 'cpu', dtype, enabled=autocast, cache_enabled=False):
            return functional_call(segment, {**named, **buffers}, (inputs,))

    return _Segment.apply(run, x, *parameters.values())


class _Segment(torch.autograd.Function):
    @staticmethod
    def forward(ctx, run: Run, x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.run = run
        ctx.save_for_backward(x, *parameters)
        return run(x, parameters, True)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        needed = ctx.needs_input_grad[1:]
        gradients = iter(_SegmentGradient.apply(ctx.run, needed, gradient, *ctx.saved_tensors))
        return None, *(next(gradients) if asked else None for asked in needed)


class _SegmentGradient(torch.autograd.Function):
    """The gradients of a segment with respect to those of its input and parameters for which ``needed`` is true."""

    @staticmethod
    def forward(ctx, run: Run, needed: Sequence[bool], gradient: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.run, ctx.needed = run, needed
        ctx.save_for_backward(gradient, *inputs)
        return _gradients(run, needed, gradient, inputs, create_graph=False)[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *second: Tensor) -> tuple:
        gradient, *inputs = ctx.saved_tensors
        gradient = gradient.detach().requires_grad_()
        first, asked = _gradients(ctx.run, ctx.needed, gradient, inputs, create_graph=True)
        both = [(value, other) for value, other in zip(first, second, strict=True) if value.requires_grad]
        gradients = torch.autograd.grad(
            [value for value, _ in both], [gradient, *asked], [other for _, other in both], allow_unused=True
        )
        rest = iter(gradients[1:])
        return None, None, gradients[0], *(next(rest) if needed else None for needed in ctx.needed)


def _gradients(
    run: Run, needed: Sequence[bool], gradient: Tensor, inputs: Sequence[Tensor], create_graph: bool
) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Gradients and the detached tensors that they are gradients of."""
    with torch.enable_grad():
        detached = [value.detach().requires_grad_(asked) for value, asked in zip(inputs, needed, strict=True)]
        output = run(detached[0], detached[1:], False)
        asked = [value for value in detached if value.requires_grad]
        return torch.autograd.grad(output, asked, gradient, create_graph=create_graph), asked
