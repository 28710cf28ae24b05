"""A key that nothing reads is an error; the configs of the project pass, and every mutation of them fails."""

import copy
from pathlib import Path

import pytest
from mmengine.config import Config

from openmsra.engine.config.check import check_config, runner_keys
from openmsra.engine.config.files import load_config
from openmsra.engine.config.types import accepted_keys
from openmsra.errors import ConfigError

INSTANT = sorted(Path('configs').glob('*/*_instant.py'))


def _write(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f'{name}.py').write_text(text, encoding='utf-8')
    return tmp_path / f'{list(files)[-1]}.py'


def _dotted_keys(value: object, prefix: str = '') -> list[str]:
    if isinstance(value, dict):
        return [key for name, child in value.items() for key in (f'{prefix}{name}', *_dotted_keys(child, f'{prefix}{name}.'))]
    if isinstance(value, list | tuple):
        return [key for index, child in enumerate(value) for key in _dotted_keys(child, f'{prefix}{index}.')]
    return []


def _rename_key(cfg: Config, dotted: str) -> None:
    """Misspell one key: the last letter is doubled."""
    *path, name = dotted.split('.')
    parent = cfg._cfg_dict
    for step in path:
        parent = parent[int(step)] if isinstance(parent, list | tuple) else parent[step]
    parent[name + name[-1]] = parent.pop(name)


def test_unknown_top_level_key_names_the_nearest(tmp_path):
    path = _write(tmp_path, a='randomnes = dict(seed=1)\n')
    with pytest.raises(ConfigError, match=r"nothing reads the key 'randomnes'. Did you mean randomness"):
        load_config(path)


def test_variable_that_an_expression_reads_is_fine(tmp_path):
    load_config(_write(tmp_path, a='seed = 3\nrandomness = dict(seed=seed)\n'))


def test_override_of_a_variable_that_the_base_has_already_used_is_an_error(tmp_path):
    base = 'seed = 3\nrandomness = dict(seed=seed)\n'
    with pytest.raises(ConfigError, match="b.py: nothing reads the key 'seed'"):
        load_config(_write(tmp_path, a=base, b="_base_ = './a.py'\nseed = 4\n"))
    load_config(_write(tmp_path, a=base, b="_base_ = './a.py'\nrandomness = dict(seed=_base_.seed + 1)\n"))


def test_option_below_a_used_variable_has_no_effect_and_is_an_error(tmp_path):
    path = _write(tmp_path, a='seed = 3\nrandomness = dict(seed=seed)\n')
    with pytest.raises(ConfigError, match='--cfg-options seed'):
        load_config(path, {'seed': 5})
    assert load_config(path, {'randomness.seed': 5}).randomness.seed == 5


@pytest.mark.parametrize(
    ('option', 'nearest'),
    [
        ({'optim_wrapper.optimizer.weight_deca': 0.1}, 'weight_decay'),
        ({'optim_wrapper.paramwise_cfg.norm_decay': 0.1}, 'norm_decay_mult'),
        ({'default_hooks.checkpiont': dict(type='CheckpointHook')}, 'checkpoint'),
        ({'train_dataloader.batchsize': 4}, 'batch_size'),
        ({'train_cfg.max_epoch': 4}, 'max_epochs'),
        ({'val_cfg.subnet': []}, 'subnets'),
        ({'model.numclasses': 4}, 'num_classes'),
        ({'env_cfg.mp_cfg.mp_start': 'spawn'}, 'mp_start_method'),
        ({'model.type': 'AutoFormerSuperNet'}, 'AutoFormerSupernet'),
        ({'val_evaluator.type': 'mmpretrain.Acuracy'}, 'mmpretrain.Accuracy'),
        ({'val_evaluator.type': 'Accuracy'}, 'mmpretrain.Accuracy'),
    ],
)
def test_unknown_option_names_the_nearest_key(option, nearest):
    with pytest.raises(ConfigError, match=f'(?s)ean .*{nearest}'):
        load_config('configs/autoformer/autoformer_supernet_1xb32-2e_digits_instant.py', option)


# what a check without the data cannot judge in Soft Teacher's: mmdet's filter_cfg, names of branches, arguments that RandomResize
# hands on
LABELLED, UNLABELLED = 'train_dataloader.dataset.datasets.0', 'train_dataloader.dataset.datasets.1'
BEHIND_KWARGS = {
    'soft_teacher': {
        f'{LABELLED}.filter_cfg.filter_empty_gt',
        f'{LABELLED}.pipeline.2.sup',
        f'{LABELLED}.pipeline.2.sup.0.keep_ratio',
        *(f'{UNLABELLED}.pipeline.2.unsup_{branch}' for branch in ('teacher', 'student')),
        *(f'{UNLABELLED}.pipeline.2.unsup_{branch}.0.keep_ratio' for branch in ('teacher', 'student')),
    },
}


@pytest.mark.parametrize('path', INSTANT, ids=lambda path: path.stem)
def test_every_misspelt_key_of_the_instant_configs_is_refused(path):
    from openmsra.apis import init_model

    clean, accepted = load_config(path), []
    for key in _dotted_keys(clean.to_dict()):
        cfg = copy.deepcopy(clean)
        variable = key.split('.')[0] not in runner_keys()  # of the config file; it is checked where it is used
        if key.split('.')[-1].isdigit() or 'meta_keys' in key or variable:
            continue
        _rename_key(cfg, key)
        try:
            check_config(cfg)
            if key.startswith('model'):  # a dictionary that only the component itself can judge
                init_model(cfg)
        except Exception:  # noqa: S112, BLE001 - which error it is depends on the key; any refusal will do
            continue
        accepted.append(key)
    # without a type the rest of such a dictionary is checked against the default type, with the same result
    assert {key for key in accepted if not key.endswith('.type')} == BEHIND_KWARGS.get(path.parent.name, set())


def test_accepted_keys_follow_kwargs_to_the_parent():
    class Parent:
        def __init__(self, a): ...

    class Child(Parent):
        def __init__(self, b, **kwargs): ...

    class Open(Parent):
        pass

    def anything(**kwargs): ...

    assert accepted_keys(Child) == ({'a', 'b'}, False)
    assert accepted_keys(Open) == ({'a'}, False)
    assert accepted_keys(anything) == (set(), True)
