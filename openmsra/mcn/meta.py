"""The two stages of an iteration: adapt to the support clips of a task, judge the result on its query clips.

Shapes: N tasks. ``support`` and ``query`` are dictionaries (nested if need be) of tensors whose first dimension is N.
Only torch is used here, and no module: a loss is a function of a dictionary of parameters and the clips of one task.

Tasks run side by side: ``vmap`` maps the loss over parameters that are repeated for each task, and plain autograd
differentiates the whole, so that every second derivative is that of an ordinary (grouped) operator. Derivatives *inside* ``vmap``
would be wrong: torch 2.13 then takes the statistics of batch normalisation for constants (``tests/mcn/test_meta.py``).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_leaves, tree_map

Parameters = dict[str, Tensor]
TaskLoss = Callable[[Parameters, dict], tuple[Tensor, dict]]  # -> scalar, further tensors
ORDERS, WISE = ('second', 'first'), ('task', 'batch')


@dataclass(frozen=True)
class InnerLoop:
    """How parameters adapt to a task: theta' = theta - rate * grad L(theta; support), ``steps`` times (MAML; MCN's stage 1).

    Args:
        rate: alpha_1 of the paper, at least 0; its value is ours (the paper's could not be established).
        steps: inner steps; 0 is joint training on support and query.
        order: 'second' differentiates through the inner step, 'first' takes the query's gradient at theta' as it is.
        adapted: names of the parameters that adapt; the others keep theta and still get the outer gradient.
            Empty means all of them.
        wise: 'task' adapts to each task on its own, 'batch' once to the mean of all support losses.
        side_by_side: all tasks in one pass; ``False`` takes one after the other, which an encoder with ``recompute`` needs.

    Raises:
        ValueError: an argument outside its range.
    """

    rate: float = 0.01
    steps: int = 1
    order: str = 'second'
    adapted: frozenset[str] = field(default_factory=frozenset)
    wise: str = 'task'
    side_by_side: bool = True

    def __post_init__(self) -> None:
        if self.rate < 0 or self.steps < 0:
            raise ValueError(f'inner loop: rate={self.rate}, steps={self.steps}; neither may be negative.')
        if self.order not in ORDERS or self.wise not in WISE:
            raise ValueError(f'inner loop: order={self.order!r}, wise={self.wise!r}; valid are {ORDERS} and {WISE}.')


class MetaLosses(NamedTuple):
    """Outcome of one iteration; only ``objective`` is to be differentiated."""

    objective: Tensor  # J(theta)
    support: Tensor  # (N,) L(theta; support)
    query: Tensor  # (N,) L(theta'; query)
    support_extras: dict  # what the loss returned beside its value, tasks first: support at theta, query at theta'
    query_extras: dict


def meta_objective(
    loss: TaskLoss, theta: Parameters, support: dict, query: dict, inner: InnerLoop, support_weight: float = 1.0
) -> MetaLosses:
    """J(theta) = mean over tasks of L(theta'; query) + mu * L(theta; support); mu is ``support_weight``.

    mu = 0 is MAML, mu = 1 keeps the loss of the first stage as a term of its own, as meta-train and meta-test of domain
    generalisation do. Where the inner steps diverge, query losses are not finite although the support losses are; nothing looks
    at them here, because the host would wait for it.

    Raises:
        ValueError: a parameter that is to adapt does not influence the loss.
    """
    adapted, first, support_extras = adapt(loss, theta, support, inner, every_gradient=support_weight > 0)
    query_losses, query_extras = _losses(loss, theta | adapted, _stacked(adapted, inner), query, inner)
    objective = query_losses.mean()
    if support_weight:
        objective = objective + support_weight * first.mean()
    return MetaLosses(objective, first.detach(), query_losses.detach(), support_extras, query_extras)


def adapt(
    loss: TaskLoss, theta: Parameters, support: dict, inner: InnerLoop, every_gradient: bool = False
) -> tuple[Parameters, Tensor, dict]:
    """The inner steps.

    Args:
        every_gradient: whether the gradient of the support loss at theta is asked for too. First order has it from the inner
            step already and hands it over, so that the support clips need no second backward pass.

    Returns:
        theta' of the parameters that adapt (tasks first if each task has its own), the losses (N,) and extras of the support
        clips at theta.
    """
    if not inner.steps or not inner.rate:
        return {}, *_losses(loss, theta, (), support, inner)
    names = sorted(inner.adapted or theta)
    second_order, tasks = inner.order == 'second', len(tree_leaves(support)[0])
    current = {name: _repeat(theta[name], tasks, inner) for name in names}
    for step in range(inner.steps):
        start = {
            name: tensor if second_order and tensor.requires_grad else tensor.detach().requires_grad_()
            for name, tensor in current.items()
        }
        if step == 0 and every_gradient and not second_order:  # of the parameters that do not adapt too
            start |= {name: theta[name].detach().requires_grad_() for name in theta.keys() - start.keys()}
        values, extras = _losses(loss, theta | start, _stacked(names, inner), support, inner)
        gradient = _gradient(values.sum() if inner.wise == 'task' else values.mean(), start, second_order)
        if step == 0:
            first, first_extras = values, extras
            if not second_order:
                first = _with_gradient(values, gradient, theta, inner) if every_gradient else values.detach()
        current = {name: torch.add(tensor, gradient[name], alpha=-inner.rate) for name, tensor in current.items()}
    return current, first, first_extras


def _losses(
    loss: TaskLoss, parameters: Parameters, stacked: Collection[str], clips: dict, inner: InnerLoop
) -> tuple[Tensor, dict]:
    """Losses (N,) and extras of all tasks; ``stacked`` parameters have a value for each task."""
    tasks = len(tree_leaves(clips)[0])
    if tasks == 1 or not inner.side_by_side:
        results = [_loss_of_task(loss, parameters, stacked, clips, number) for number in range(tasks)]
        return tree_map(lambda *tensors: torch.stack(tensors), *results)
    axes = {name: 0 if name in stacked else None for name in parameters}
    return vmap(loss, in_dims=(axes, 0), randomness='error')(parameters, clips)


def _loss_of_task(loss: TaskLoss, parameters: Parameters, stacked: Collection[str], clips: dict, number: int) -> tuple:
    values = {name: tensor[number] if name in stacked else tensor for name, tensor in parameters.items()}
    return loss(values, tree_map(lambda tensor: tensor[number], clips))


def _stacked(names: Collection[str], inner: InnerLoop) -> Collection[str]:
    return names if inner.wise == 'task' else ()


def _repeat(tensor: Tensor, tasks: int, inner: InnerLoop) -> Tensor:
    return tensor.expand(tasks, *tensor.shape) if inner.wise == 'task' else tensor


def _gradient(value: Tensor, parameters: Parameters, second_order: bool) -> Parameters:
    # In the calling thread: what is to be differentiated again would otherwise be numbered by the thread of the device, whose
    # counter knows nothing of this one's, and the order of the sums would depend on how long the process has been running.
    with torch.autograd.set_multithreading_enabled(not second_order):
        gradients = torch.autograd.grad(value, list(parameters.values()), create_graph=second_order, allow_unused=True)
    gradient = dict(zip(parameters, gradients, strict=True))
    if unused := [name for name, tensor in gradient.items() if tensor is None]:
        raise ValueError(f'These parameters do not influence the loss and cannot adapt to it: {", ".join(unused)}.')
    return gradient


def _with_gradient(values: Tensor, gradient: Parameters, theta: Parameters, inner: InnerLoop) -> Tensor:
    """``values`` (N,), detached, with the known gradient of their mean at ``theta``."""
    zero = values.new_zeros(())
    for name, tensor in theta.items():
        known = gradient[name]
        if inner.wise == 'task':
            known = (known.sum(0) if known.dim() > tensor.dim() else known) / len(values)
        zero = zero + (known * (tensor - tensor.detach())).sum()
    return values.detach() + zero
