"""Every key of a config must be read by something: a key that nothing reads is an ablation that did not happen.

``check_config`` needs no model and no data. It knows what mmengine's Runner reads, and asks the signature of every
``type=`` for the rest. Where ``**kwargs`` lead to an unknown place only misspellings of known keys are faults;
dictionaries without a type that a component interprets itself are left to that component.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine import registry as root
from mmengine.config import Config
from mmengine.dist import init_dist
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, LogProcessor, Runner, TestLoop, ValLoop
from torch.distributed import init_process_group
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.utils.data import DataLoader

from openmsra.engine.config.types import REGISTRY_OF_KEY, accepted_keys, argument_names, resolve
from openmsra.errors import ConfigError
from openmsra.suggest import did_you_mean, nearest, unresolved_type_message

MISSPELT = 0.85  # similarity from which a key is a misspelling of a known one and not a key of its own
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
EVALUATORS = ('val_evaluator', 'test_evaluator')
DEFAULT_HOOKS = {
    'runtime_info',
    'timer',
    'sampler_seed',
    'logger',
    'param_scheduler',
    'checkpoint',
    'visualization',
    'non_finite',
    'broken_data',
}
PARAMWISE = {
    'custom_keys',
    'lr_mult',
    'bias_lr_mult',
    'bias_decay_mult',
    'norm_decay_mult',
    'dwconv_decay_mult',
    'dcn_offset_lr_mult',
    'flat_decay_mult',
    'bypass_duplicate',
}
# read by the Runner outside its signature
RUNNER_EXTRA = {
    'custom_imports',
    'runner_type',
    'strategy',
    'model_wrapper_cfg',
    'sync_bn',
    'find_unused_parameters',
    'compile',
    'activation_checkpointing',
    'efficient_conv_bn_eval',
    'inferencer',
}
# keys that a builder takes out of the dictionary before the class sees it
BUILDER_KEYS = {
    'hook': {'priority'},
    'parameter scheduler': {'convert_to_iter_based'},
    'optim_wrapper': {'optimizer', 'constructor', 'paramwise_cfg'},
    'model': {'init_cfg'},
}
# below these keys `type` is no registered name: 'norm' or 'value', a function of mmcv.ops
NO_REGISTERED_TYPE = {'clip_grad', 'nms', 'roi_layer'}


def check_config(cfg: Config, option_keys: tuple[str, ...] = ()) -> None:
    """Raise when a key of ``cfg`` is read by nothing or a ``type=`` cannot be resolved.

    Args:
        cfg: a loaded config whose ``custom_imports`` have been imported.
        option_keys: dotted keys that ``--cfg-options`` has set; below a variable that the config file has already
            used they would have no effect.

    Raises:
        ConfigError: lists each fault with its place and the nearest valid key.
    """
    files = config_chain(Path(cfg.filename)) if cfg.filename else []
    faults = [*_unread_variables(cfg, files), *_options_without_effect(option_keys), *_component_faults(cfg)]
    if faults:
        name = cfg.filename or 'the config'
        raise ConfigError('\n'.join([f'{name}: {len(faults)} fault(s):', *(f'  - {fault}' for fault in faults)]))


def config_chain(path: Path) -> list[Path]:
    """The file and all files it inherits from through ``_base_``, itself first."""
    bases = Config._get_base_files(str(path))
    files = (Path(Config._get_cfg_path(base, str(path))[0]).resolve() for base in bases)
    return [path, *(file for base in files for file in config_chain(base))]


def runner_keys() -> set[str]:
    """Top-level keys that mmengine's Runner reads."""
    return (set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}) | RUNNER_EXTRA


def _unread_variables(cfg: Config, files: list[Path]) -> Iterator[str]:
    """Top-level names that neither the Runner nor an expression of a config file reads.

    A name that a file assigns must be used in the same file or in one that inherits from it: an assignment that
    overrides a base's variable *after* the base has used it changes nothing.
    """
    known, read_above = runner_keys(), set()
    assigned_somewhere = set()
    for file in files:  # from the leaf to its bases
        tree = ast.parse(file.read_text(encoding='utf-8'))
        assigned = {
            name.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            for name in (target.elts if isinstance(target, ast.Tuple) else [target])
            if isinstance(name, ast.Name) and not name.id.startswith('__')
        }
        loads = [node for node in ast.walk(tree) if hasattr(node, 'ctx') and isinstance(node.ctx, ast.Load)]
        loaded = {node.id for node in loads if isinstance(node, ast.Name)}
        for name in sorted(assigned - known - loaded - read_above - {'_base_'}):
            yield f"{file.name}: nothing reads the key '{name}'. {did_you_mean(name, known)}"
        read_above |= {node.attr for node in loads if isinstance(node, ast.Attribute)}
        assigned_somewhere |= assigned
    for name in sorted(set(cfg) - known - assigned_somewhere):
        yield f"nothing reads the key '{name}'. {did_you_mean(name, known)}"


def _options_without_effect(option_keys: tuple[str, ...]) -> Iterator[str]:
    known = runner_keys()
    for key in option_keys:
        top = key.partition('.')[0]
        if top not in known:
            yield (
                f"--cfg-options {key}: the Runner reads no key '{top}' (a variable of the config file has already been "
                f'used where it appears; set that place instead). {did_you_mean(top, known)}'
            )


def _component_faults(cfg: Config) -> Iterator[str]:
    plain = cfg.to_dict()
    for key in LOADERS:
        yield from _loader_faults(plain.get(key), key)
    yield from _default_type_faults(plain, 'train_cfg', _train_loop(plain.get('train_cfg')))
    yield from _default_type_faults(plain, 'val_cfg', ValLoop)
    yield from _default_type_faults(plain, 'test_cfg', TestLoop)
    yield from _default_type_faults(plain, 'log_processor', LogProcessor)
    yield from _fixed_keys(plain.get('randomness'), 'randomness', argument_names(Runner.set_randomness))
    yield from _fixed_keys(plain.get('auto_scale_lr'), 'auto_scale_lr', {'base_batch_size', 'enable'})
    yield from _fixed_keys(plain.get('custom_imports'), 'custom_imports', {'imports', 'allow_failed_imports'})
    yield from _fixed_keys(plain.get('default_hooks'), 'default_hooks', DEFAULT_HOOKS)
    env = plain.get('env_cfg') or {}
    yield from _fixed_keys(env, 'env_cfg', {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'})
    yield from _fixed_keys(env.get('mp_cfg'), 'env_cfg.mp_cfg', {'mp_start_method', 'opencv_num_threads'})
    dist_keys = argument_names(init_dist) | argument_names(init_process_group)
    yield from _fixed_keys(env.get('dist_cfg'), 'env_cfg.dist_cfg', dist_keys)
    optim = plain.get('optim_wrapper') or {}
    if 'type' not in optim and optim:
        optim.setdefault('type', 'OptimWrapper')
    clip_keys = argument_names(clip_grad_norm_) | argument_names(clip_grad_value_) | {'type'}
    yield from _fixed_keys(optim.get('clip_grad'), 'optim_wrapper.clip_grad', clip_keys - {'parameters'})
    paramwise = optim.get('paramwise_cfg') or {}
    if 'constructor' not in optim:
        yield from _fixed_keys(paramwise, 'optim_wrapper.paramwise_cfg', PARAMWISE)
        for name, value in (paramwise.get('custom_keys') or {}).items():
            yield from _fixed_keys(value, f'optim_wrapper.paramwise_cfg.custom_keys.{name}', {'lr_mult', 'decay_mult'})
    if isinstance(plain.get('model_wrapper_cfg'), dict):
        plain['model_wrapper_cfg'].setdefault('type', 'MMDistributedDataParallel')
    yield from _fixed_keys(plain.get('compile'), 'compile', argument_names(torch.compile) - {'model'})
    yield from _sharded_training(plain)
    for key in sorted(runner_keys() & set(plain)):
        yield from _walk(plain[key], key, REGISTRY_OF_KEY.get(key))


def _sharded_training(plain: dict) -> Iterator[str]:
    """mmengine's other runner, its strategies and wrappers that divide the weights among the GPUs."""
    wrapper = (plain.get('model_wrapper_cfg') or {}).get('type', '')
    asked = {
        f"runner_type='{plain.get('runner_type')}'": plain.get('runner_type') not in (None, 'Runner', 'OpenMSRARunner'),
        'strategy': plain.get('strategy') is not None,
        f"model_wrapper_cfg.type='{wrapper}'": 'Sharded' in str(wrapper),
    }
    for what in (name for name, is_asked in asked.items() if is_asked):
        yield (
            f'{what}: training with divided weights (FSDP, DeepSpeed, FlexibleRunner) is not supported, since stops, restarts '
            'and exact resumes need checkpoints of the complete state. To save memory take '
            "--amp-dtype bfloat16, the backbone's with_cp=True, or a smaller batch_size with optim_wrapper.accumulative_counts."
        )


def _train_loop(train_cfg: dict | None) -> type:
    return EpochBasedTrainLoop if (train_cfg or {}).get('by_epoch', True) else IterBasedTrainLoop


def _default_type_faults(plain: dict, key: str, default: type) -> Iterator[str]:
    """A dictionary that may leave its type out."""
    value = plain.get(key)
    if isinstance(value, dict) and 'type' not in value:
        extra = {'by_epoch'} if key == 'train_cfg' else {'fp16'}
        yield from _fixed_keys(value, key, accepted_keys(default)[0] | extra)


def _loader_faults(loader: Any, place: str) -> Iterator[str]:
    if isinstance(loader, dict):
        ours = {'dataset', 'sampler', 'batch_sampler', 'num_batch_per_epoch', 'disable_subprocess_warning'}
        yield from _fixed_keys(loader, place, (argument_names(DataLoader.__init__) | ours) - {'shuffle'})


def _fixed_keys(value: Any, place: str, valid: set[str]) -> Iterator[str]:
    if isinstance(value, dict):
        for key in sorted(set(value) - valid - {'_scope_'}):
            yield f"{place}: nothing reads the key '{key}'. {did_you_mean(key, valid)}"


def _walk(value: Any, place: str, registry: root.Registry | None, scope: str | None = None) -> Iterator[str]:
    """Check every dictionary with a ``type=`` at and below ``value``; a ``_scope_`` holds for all that is below it."""
    if isinstance(value, dict):
        scope = value.get('_scope_', scope)
        if 'type' in value:
            yield from _typed_faults(value, place, registry, scope)
        for key, child in value.items():
            if key in NO_REGISTERED_TYPE:
                continue
            yield from _walk(child, f'{place}.{key}', REGISTRY_OF_KEY.get(key, registry), scope)
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from _walk(child, f'{place}.{index}', registry, scope)


def _typed_faults(value: dict, place: str, registry: root.Registry | None, scope: str | None) -> Iterator[str]:
    kind = value['type']
    if not isinstance(kind, str):
        return  # a class itself: nothing to look up
    resolved = resolve(kind, scope, registry)
    if resolved is None:
        yield f'{place}: {unresolved_type_message(kind, root.MODELS if registry is None else registry)}'
        return
    registry, target = resolved
    keys, open_ended = accepted_keys(target)
    valid = keys | BUILDER_KEYS.get(registry.name, set()) | ({'requires_grad'} if place.endswith('norm_cfg') else set())
    for key in sorted(set(value) - valid - {'type', '_scope_'}):
        if open_ended and not nearest(key, valid, count=1, cutoff=MISSPELT):
            continue  # it may be meant for the unknown place that **kwargs lead to
        yield f"{place} (type='{kind}'): nothing reads the key '{key}'. {did_you_mean(key, valid)}"
