"""What a ``type=`` in a config stands for: which registry, which class or function, and which arguments it takes."""

import importlib.util
import inspect
from collections.abc import Callable
from functools import cache

from mmengine import registry as root

# which registry a `type=` below this key is looked up in first
REGISTRY_OF_KEY = {
    'model': root.MODELS, 'dataset': root.DATASETS, 'datasets': root.DATASETS, 'sampler': root.DATA_SAMPLERS,
    'batch_sampler': root.DATA_SAMPLERS, 'pipeline': root.TRANSFORMS, 'transforms': root.TRANSFORMS,
    'collate_fn': root.FUNCTIONS, 'worker_init_fn': root.FUNCTIONS, 'optim_wrapper': root.OPTIM_WRAPPERS,
    'optimizer': root.OPTIMIZERS, 'param_scheduler': root.PARAM_SCHEDULERS, 'default_hooks': root.HOOKS,
    'custom_hooks': root.HOOKS, 'visualizer': root.VISUALIZERS, 'vis_backends': root.VISBACKENDS,
    'log_processor': root.LOG_PROCESSORS, 'train_cfg': root.LOOPS, 'val_cfg': root.LOOPS, 'test_cfg': root.LOOPS,
    'val_evaluator': root.METRICS, 'test_evaluator': root.METRICS, 'metrics': root.METRICS,
    'init_cfg': root.WEIGHT_INITIALIZERS, 'model_wrapper_cfg': root.MODEL_WRAPPERS,
    'inferencer': root.INFERENCERS,
}  # fmt: skip
ALL_REGISTRIES = (
    root.MODELS, root.DATASETS, root.TRANSFORMS, root.DATA_SAMPLERS, root.HOOKS, root.LOOPS, root.METRICS,
    root.EVALUATOR, root.INFERENCERS, root.VISUALIZERS, root.VISBACKENDS, root.LOG_PROCESSORS, root.OPTIMIZERS,
    root.OPTIM_WRAPPERS, root.OPTIM_WRAPPER_CONSTRUCTORS, root.PARAM_SCHEDULERS, root.MODEL_WRAPPERS,
    root.WEIGHT_INITIALIZERS, root.TASK_UTILS, root.FUNCTIONS, root.RUNNERS,
)  # fmt: skip

_RESOLVED: dict[tuple, tuple[root.Registry, Callable]] = {}  # what has been found stays; what has not may be registered later


def resolve(kind: str, scope: str | None, first: root.Registry | None) -> tuple[root.Registry, Callable] | None:
    """Registry and class or function of ``type='kind'``, or nothing.

    Args:
        scope: the ``_scope_`` that holds at the place.
        first: the registry that belongs to the place; if it has no such name, any registry counts.
    """
    question = kind, scope, first
    if question not in _RESOLVED and (answer := _search(kind, scope, first)):
        _RESOLVED[question] = answer
    return _RESOLVED.get(question)


def _search(kind: str, scope: str | None, first: root.Registry | None) -> tuple[root.Registry, Callable] | None:
    key = f'{scope}.{kind}' if scope and '.' not in kind else kind
    for registry in ([first] if first is not None else []) + [other for other in ALL_REGISTRIES if other is not first]:
        target = _look_up(registry, key)
        if target is not None:
            return registry, target
    scope, _, name = key.rpartition('.')
    for registry in _parentless_registries(scope):
        registry.import_from_location()
        if name in registry.module_dict:
            return registry, registry.module_dict[name]
    return None


def _parentless_registries(scope: str) -> list[root.Registry]:
    """Registries of a sibling library that hang below none of mmengine's (mmpretrain's batch augmentations)."""
    if not scope or importlib.util.find_spec(scope) is None:
        return []
    members = vars(importlib.import_module(f'{scope}.registry')).values()
    return [member for member in members if isinstance(member, root.Registry) and member.parent is None]


def _look_up(registry: root.Registry, key: str) -> Callable | None:
    scope, _, name = key.rpartition('.')
    nodes = [registry.children.get(scope or 'openmsra'), registry] if scope in ('', 'openmsra') else []
    for node in nodes:
        if node is not None and name in node.module_dict:
            return node.module_dict[name]
    if scope in ('', 'openmsra'):
        return None
    try:
        return registry.get(key)
    except (RuntimeError, KeyError):
        return None


@cache
def accepted_keys(target: Callable) -> tuple[set[str], bool]:
    """Names of the arguments of a class or function, and whether ``**kwargs`` lead on to an unknown place.

    A class that hands ``**kwargs`` on accepts what its parents accept.
    """
    if not inspect.isclass(target):
        return argument_names(target), _open(inspect.signature(target))
    names: set[str] = set()
    for cls in inspect.getmro(target):
        if cls is object or '__init__' not in vars(cls):
            continue
        names |= argument_names(cls.__init__)
        if not _open(inspect.signature(cls.__init__)):
            return names, False
    return names, True


def argument_names(function: Callable) -> set[str]:
    """Names of the arguments of a function, without ``self`` and the starred ones."""
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {p.name for p in inspect.signature(function).parameters.values() if p.kind not in kinds} - {'self'}


def _open(signature: inspect.Signature) -> bool:
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
