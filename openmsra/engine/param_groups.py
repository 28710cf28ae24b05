"""The parameters of a model in the groups of its optimizer."""

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from openmsra.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(name='DefaultOptimWrapperConstructor')
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's, with parameters of equal settings in one group.

    With a ``paramwise_cfg`` mmengine makes a group of every parameter. torch's optimizers work group by group, so that their
    fused kernels then have one tensor each, and every schedule takes a step for every parameter. The weights are the same to the
    last bit.
    """

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', is_dcn_module: int | float | None = None
    ) -> None:
        """Append the groups of ``module`` to ``params``; of the whole model, with the empty ``prefix``, merged."""
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:
            params[:] = merged(params)


def merged(groups: list[dict]) -> list[dict]:
    """Groups of equal settings joined, each where the first of them was, their parameters in order."""
    joined: dict[str, dict] = {}
    for group in groups:
        settings = {name: value for name, value in sorted(group.items()) if name != 'params'}
        joined.setdefault(repr(settings), dict(settings, params=[]))['params'] += group['params']
    return list(joined.values())
