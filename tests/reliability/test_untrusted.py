"""Checkpoints from strangers: nothing is executed, nothing is deleted, each ends in one line."""

import copy
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from openmsra.engine.checkpoint.io import load_file
from openmsra.errors import CheckpointError
from tests.reliability.killing import heavy_config
from tests.reliability.runs import train


class Gadget:
    """What pickle would execute: ``function(*arguments)``."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def _touch() -> str:
    return 'touch executed'


def gadgets() -> dict[str, object]:
    import builtins
    import functools
    import importlib
    import operator
    import shutil
    import subprocess

    code = "open('executed', 'w')"
    return dict(
        os_system=Gadget(os.system, _touch()),
        popen=Gadget(subprocess.Popen, ['touch', 'executed']),
        check_output=Gadget(subprocess.check_output, ['touch', 'executed']),
        evaluate=Gadget(builtins.eval, code),
        execute=Gadget(builtins.exec, code),
        opened=Gadget(builtins.open, 'executed', 'w'),
        imported=Gadget(importlib.import_module, 'antigravity'),
        removed=Gadget(shutil.rmtree, 'victim'),
        unlinked=Gadget(os.unlink, 'victim/file'),
        path=Gadget(Path.touch, Path('executed')),
        getter=Gadget(getattr, str, 'format_map'),
        attribute=Gadget(operator.attrgetter, 'system'),
        inner_pickle=Gadget(pickle.loads, pickle.dumps(Gadget(os.system, _touch()))),
        inner_torch=Gadget(functools.partial(torch.load, weights_only=False), 'victim/inner.pth'),
        jit=Gadget(torch.jit.load, 'victim/inner.pth'),
        module=torch.nn.Linear(1, 1),
        function=_touch,
    )


def _changed(base: dict, **places) -> dict:
    """A copy of a checkpoint with the values of dotted places changed; ``...`` deletes."""
    checkpoint = copy.deepcopy(base)
    for place, value in places.items():
        *parents, last = place.split('__')
        owner = checkpoint
        for parent in parents:
            owner = owner[parent]
        if value is ...:
            del owner[last]
        else:
            owner[last] = value
    return checkpoint


def altered(base: dict) -> dict[str, dict]:
    """Files that read well and say absurd things."""
    bomb = torch.zeros(1).expand(10**12)
    return dict(
        wrong_shape=_changed(base, state_dict__count=torch.zeros(3)),
        bomb=_changed(base, state_dict__ballast=bomb),
        bomb_in_optimizer=_changed(base, optimizer__state={0: dict(momentum_buffer=bomb)}),
        missing_weight=_changed(base, state_dict__count=...),
        number_as_weight=_changed(base, state_dict__count=3.0),
        weights_as_list=_changed(base, state_dict=[1, 2]),
        extra_weight=_changed(base, state_dict__more=torch.zeros(1)),
        no_meta=_changed(base, meta=...),
        meta_as_text=_changed(base, meta='epoch=3'),
        negative_iter=_changed(base, meta__iter=-5),
        iter_as_text=_changed(base, meta__iter='__import__("os")'),
        endless_epoch=_changed(base, meta__epoch=10**30),
        hub_as_list=_changed(base, message_hub=[]),
        best_as_number=_changed(base, message_hub__runtime_info__best_ckpt=3),
        score_as_text=_changed(base, message_hub__runtime_info__best_score='high'),
        optimizer_as_text=_changed(base, optimizer='SGD'),
        optimizer_of_another=_changed(base, optimizer__param_groups=[]),
        position_as_text=_changed(base, progress__position='begin'),
        no_random_numbers=_changed(base, progress__rng=[{}]),
        config_as_code=_changed(base, meta__cfg=3),
    )


def malformed(base: bytes) -> dict[str, bytes]:
    """Bytes that are no checkpoint."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as out:
        out.writestr('archive/data.pkl', bytes(10**8))
    leaving = io.BytesIO()
    with zipfile.ZipFile(leaving, 'w') as out:
        out.writestr('../../executed', b'x')
    flipped = bytearray(base)
    flipped[len(base) // 2] ^= 1
    nested = b'\x80\x02' + b'](' * 5000 + b'.'
    return dict(
        empty=b'',
        text=b'import os; os.system("touch executed")',
        pickled_gadget=pickle.dumps(gadgets()['os_system']),
        truncated=base[: len(base) // 2],
        bit_flip=bytes(flipped),
        zip_bomb=archive.getvalue(),
        leaves_archive=leaving.getvalue(),
        nested=nested,
        header_only=b'PK\x03\x04',
        huge_length=b'\x80\x02X' + struct.pack('<I', 2**31 - 1) + b'a.',
    )


@pytest.fixture(scope='module')
def base(tmp_path_factory) -> Path:
    """A checkpoint of a training of two iterations."""
    folder = tmp_path_factory.mktemp('base')
    cfg = heavy_config(folder, 0.01)
    cfg.train_cfg.max_iters = 2
    train(cfg)
    return folder / 'iter_2.pth'


@pytest.fixture
def victim(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'victim').mkdir()
    (tmp_path / 'victim/file').write_text('precious')
    torch.save(dict(state_dict=gadgets()['os_system']), tmp_path / 'victim/inner.pth')
    return tmp_path / 'victim/file'


def _resume(path: Path, work_dir: Path):
    cfg = heavy_config(work_dir, 0.01)
    cfg.train_cfg.max_iters = 4
    return train(cfg, resume=path)


def _is_refused(path: Path, victim: Path, load=None) -> None:
    with pytest.raises(CheckpointError) as error:
        (load or (lambda path: _resume(path, victim.parents[1] / 'work')))(path)
    first, *more = str(error.value).splitlines()
    assert path.name in first
    assert len(more) <= 4, 'lists of keys may follow'
    assert not (victim.parents[1] / 'executed').exists()
    assert victim.read_text() == 'precious'


@pytest.mark.parametrize('name', list(gadgets()))
def test_gadget_is_not_executed(name, base, victim):
    path = victim.parents[1] / f'{name}.pth'
    checkpoint = load_file(base)
    checkpoint['meta']['extra'] = gadgets()[name]
    torch.save(checkpoint, path)
    _is_refused(path, victim, None if name == 'os_system' else load_file)  # the rest of a resume is the same for all


@pytest.mark.parametrize(
    'name',
    [
        'wrong_shape',
        'bomb',
        'bomb_in_optimizer',
        'missing_weight',
        'number_as_weight',
        'weights_as_list',
        'extra_weight',
        'no_meta',
        'meta_as_text',
        'negative_iter',
        'iter_as_text',
        'endless_epoch',
        'hub_as_list',
        'best_as_number',
        'score_as_text',
        'optimizer_as_text',
        'optimizer_of_another',
        'position_as_text',
        'no_random_numbers',
        'config_as_code',
    ],
)
def test_absurd_content_is_refused(name, base, victim):
    path = victim.parents[1] / f'{name}.pth'
    torch.save(altered(load_file(base))[name], path)
    _is_refused(path, victim)


@pytest.mark.parametrize(
    'name',
    [
        'empty',
        'text',
        'pickled_gadget',
        'truncated',
        'bit_flip',
        'zip_bomb',
        'leaves_archive',
        'nested',
        'header_only',
        'huge_length',
    ],
)
def test_malformed_file_is_refused(name, base, victim):
    path = victim.parents[1] / f'{name}.pth'
    path.write_bytes(malformed(base.read_bytes())[name])
    _is_refused(path, victim, load_file)


def test_config_text_is_compared_and_not_evaluated(base, victim):
    checkpoint = load_file(base)
    checkpoint['meta']['config'] = checkpoint['meta']['cfg'] = "open('executed', 'w')\ngpu_ids = [0, 1]"
    path = victim.parents[1] / 'config.pth'
    torch.save(checkpoint, path)
    assert _resume(path, victim.parents[1] / 'work').iter == 4
    assert not (victim.parents[1] / 'executed').exists()


def test_names_in_a_checkpoint_delete_nothing_outside(base, victim):
    precious = [victim.with_name('best.pth'), victim.with_name('epoch_1.pth')]
    for path in precious:
        path.write_bytes(b'precious')
    checkpoint = load_file(base)
    checkpoint['message_hub']['runtime_info'] |= dict(
        best_ckpt=str(precious[0]), best_score=-1.0, last_ckpt=str(precious[1]), keep_ckpt_ids=['../../victim/epoch_1', 1, 2, 3]
    )
    path = victim.parents[1] / 'names.pth'
    torch.save(checkpoint, path)
    runner = _resume(path, victim.parents[1] / 'work')
    hook = next(hook for hook in runner.hooks if hasattr(hook, 'keep_ckpt_ids'))
    hook.save_best, hook.key_indicators, hook.rules, hook.best_ckpt_path = ['acc'], ['acc'], ['greater'], str(precious[0])
    hook.is_better_than = dict(acc=hook.rule_map['greater'])
    hook._save_best_checkpoint(runner, dict(acc=1.0))
    assert [path.read_bytes() for path in precious] == [b'precious'] * 2
    assert (victim.parents[1] / 'work/best_acc_iter_4.pth').is_file()


def test_trusted_file_is_executed_on_request_only(base, victim):
    checkpoint = load_file(base)
    checkpoint['meta']['extra'] = gadgets()['os_system']
    path = victim.parents[1] / 'own.pth'
    torch.save(checkpoint, path)
    cfg = heavy_config(victim.parents[1] / 'work', 0.01)
    cfg.train_cfg.max_iters, cfg.trust_checkpoint = 4, True
    assert train(cfg, resume=path).iter == 4
    assert (victim.parents[1] / 'executed').exists()


def test_training_loads_no_pretrained_backbone_that_executes(victim):
    """Through the runner, below a model of another library, as the COCO recipes name it."""
    torch.save(dict(state_dict={}, meta=gadgets()['os_system']), victim.parents[1] / 'backbone.pth')
    cfg = heavy_config(victim.parents[1] / 'work', 0.01)
    cfg.resume = False
    cfg.model.init_cfg = dict(type='Pretrained', checkpoint='backbone.pth')
    _is_refused(victim.parents[1] / 'backbone.pth', victim, lambda path: train(cfg))
