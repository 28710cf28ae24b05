"""Batch normalisation whose gradient is cheap to differentiate again, with statistics and weights of each task, on a CPU.

With x^ = r (x - m) of the mean m and the reciprocal deviation r of a channel over the clips and positions of a task (M values),
y = w x^ + b, and the gradient g of y:

    D(g) = r (g - mean g - x^ mean(g x^)),    dx = w D(g),    dw = sum g x^,    db = sum g

D is symmetric, so that the gradients of these three, given those of dx, dw and db (v, p and q), are

    g:  w D(v) + p x^ + q
    w:  sum v D(g)
    x:  (p - w r mean(v x^)) D(g)  -  w r mean(g x^) D(v)  -  w r mean(v D(g)) x^

PyTorch's own second derivative is a chain of operators on whole maps, of all tasks at once under ``vmap``. Here tasks take turns,
whose maps stay in the cache, and the sums are those of the ordinary kernel for D.

Shapes: N tasks, B clips of a task, C channels: maps (N, B, C, *size), values of channels (N, C).
"""

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

aten = torch.ops.aten
ALL = (True, True, True)


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Training mode. The gradient may be differentiated once more; ``vmap`` maps over tasks.

    Args:
        x: (B, C, *size).
        weight, bias: (C,).
        eps: added to the variance.

    Returns:
        y like ``x``; mean and reciprocal deviation, (C,), without gradients.
    """
    return tuple(value[0] for value in _BatchNorm.apply(x[None], weight[None], bias[None], eps))


class _TwiceDifferentiable:
    """Batch norm by :func:`batch_norm` where a CPU records gradients of batch statistics."""

    def forward(self, x: Tensor) -> Tensor:
        count = x.numel() // x.shape[1]
        if not (self._is_ours(x) and count > 1):
            return super().forward(x)
        self._check_input_dim(x)
        y, mean, reciprocal = batch_norm(x, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            self.num_batches_tracked.add_(1)
            variance = (reciprocal.pow(-2) - self.eps) * (count / (count - 1))
            for stored, value in ((self.running_mean, mean), (self.running_var, variance)):
                stored.mul_(1 - self.momentum).add_(value, alpha=self.momentum)
        return y

    def _is_ours(self, x: Tensor) -> bool:
        usual = self.affine and (self.momentum is not None or not self.track_running_stats)
        return usual and self.training and torch.is_grad_enabled() and x.device.type == 'cpu' and x.dtype == self.weight.dtype


class BatchNorm2d(_TwiceDifferentiable, nn.BatchNorm2d):
    """``nn.BatchNorm2d`` with cheap second derivatives."""


class BatchNorm3d(_TwiceDifferentiable, nn.BatchNorm3d):
    """``nn.BatchNorm3d`` with cheap second derivatives."""


def replace_batch_norms(network: nn.Module) -> None:
    """Let the batch norms of a network, which keep weights, names and hooks, be differentiated twice cheaply."""
    ours = {nn.BatchNorm2d: BatchNorm2d, nn.BatchNorm3d: BatchNorm3d}
    for module in network.modules():
        module.__class__ = ours.get(type(module), type(module))


class _BatchNorm(Function):
    """y, mean and reciprocal deviation."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        y, mean, reciprocal = torch.empty_like(x), torch.empty_like(w), torch.empty_like(w)
        for task in zip(x, w, b, y, mean, reciprocal, strict=True):
            aten.native_batch_norm.out(*task[:3], None, None, True, 0.0, eps, out=task[3], save_mean=task[4], save_invstd=task[5])
        return y, mean, reciprocal

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: tuple) -> None:
        x, w, _, ctx.eps = inputs
        _, mean, reciprocal = output
        ctx.mark_non_differentiable(mean, reciprocal)
        ctx.save_for_backward(x, w, mean, reciprocal)

    @staticmethod
    def vmap(info, dims: tuple, x: Tensor, w: Tensor, b: Tensor, eps: float) -> tuple[tuple, tuple]:
        """Of one task (N = 1) in each of the mapped calls, all tasks."""
        tensors = [
            tensor.movedim(dim, 0) if dim is not None else tensor.expand(info.batch_size, *tensor.shape)
            for tensor, dim in zip((x, w, b), dims, strict=False)
        ]
        outputs = _BatchNorm.apply(*(tensor.squeeze(1) for tensor in tensors), eps)
        return tuple(output[:, None] for output in outputs), (0, 0, 0)

    @staticmethod
    def backward(ctx, g: Tensor, *_) -> tuple:
        return *_BatchNormBackward.apply(g, *ctx.saved_tensors, ctx.eps), None


class _BatchNormBackward(Function):
    """Gradients of x, w and b, given that of y."""

    @staticmethod
    def forward(ctx, g: Tensor, x: Tensor, w: Tensor, mean: Tensor, reciprocal: Tensor, eps: float) -> tuple[Tensor, ...]:
        ctx.eps = eps
        ctx.save_for_backward(g, x, w, mean, reciprocal)
        tasks = [_gradients(*task, eps) for task in zip(g, x, mean, reciprocal, w, strict=True)]
        return tuple(map(torch.stack, zip(*tasks, strict=True)))

    @staticmethod
    @once_differentiable
    def backward(ctx, v: Tensor, p: Tensor, q: Tensor) -> tuple:
        tasks = zip(v, p, q, *ctx.saved_tensors, strict=True)
        gradients = zip(*(_second_gradients(*task, ctx.eps) for task in tasks), strict=True)
        return *map(torch.stack, gradients), None, None, None


def _gradients(
    g: Tensor, x: Tensor, mean: Tensor, reciprocal: Tensor, w: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """w D(g), sum g x^ and sum g of a task; without ``w`` D(g)."""
    return aten.native_batch_norm_backward(g, x, w, None, None, mean, reciprocal, True, eps, ALL)


def _products(a: Tensor, b: Tensor) -> Tensor:
    """Sums of a b (B, C, *size) over clips and positions, (C,): the kernel's gradient of w where x^ is b; no map between."""
    mean, reciprocal = a.new_zeros(a.shape[1]), a.new_ones(a.shape[1])
    return aten.native_batch_norm_backward(a, b, None, None, None, mean, reciprocal, True, 0.0, (False, True, False))[1]


def _second_gradients(
    v: Tensor, p: Tensor, q: Tensor, g: Tensor, x: Tensor, w: Tensor, mean: Tensor, reciprocal: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of g, x and w of a task, (B, C, *size) and (C,)."""
    count, places = x.numel() // x.shape[1], (-1, *[1] * (x.dim() - 2))
    d_g, along_g, _ = _gradients(g, x, mean, reciprocal, None, eps)
    d_v, along_v, _ = _gradients(v, x, mean, reciprocal, None, eps)
    to_w = _products(v, d_g)
    scale = w * reciprocal / count

    def per_channel(values: Tensor) -> Tensor:
        return values.view(places)

    to_x = d_g.mul_(per_channel(p - scale * along_v)).addcmul_(d_v, per_channel(scale * along_g), value=-1)
    slope = scale * to_w * reciprocal  # of x^ = r (x - m)
    to_x.addcmul_(x, per_channel(slope), value=-1).add_(per_channel(slope * mean))
    slope = p * reciprocal
    to_g = d_v.mul_(per_channel(w)).addcmul_(x, per_channel(slope)).add_(per_channel(q - slope * mean))
    return to_g, to_x, to_w
