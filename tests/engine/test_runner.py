"""What the runner settles before the work starts: loaders, the lock of the work dir, what a resumed run goes on with."""

import copy
import importlib.util
import multiprocessing
import os
import time
import uuid
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from openmsra.engine.checkpoint.files import locked
from openmsra.engine.checkpoint.hook import DurableCheckpointHook
from openmsra.engine.checkpoint.resume import overruled_settings
from openmsra.engine.config.files import load_config
from openmsra.engine.launch import build_runner
from openmsra.engine.non_finite import OptimWrapper
from openmsra.errors import ConfigError, DataError
from tests.dist.gloo import run_on_processes
from tests.reliability.killing import heavy_config
from tests.reliability.runs import build, each_instant, train

ROOT = Path(__file__).resolve().parents[2]


def _config(work_dir, **loader):
    cfg = heavy_config(work_dir, 0.01)
    cfg.resume, cfg.train_cfg.max_iters, cfg.log_level = False, 2, 'WARNING'
    cfg.train_dataloader.update(loader)
    return cfg


def test_no_workers_beside_options_of_workers(tmp_path):
    """``--cfg-options train_dataloader.num_workers=0``, as one debugs; the published configs keep their workers."""
    options = dict(num_workers=0, persistent_workers=True, prefetch_factor=4, timeout=30)
    assert train(_config(tmp_path, **options)).iter == 2


@pytest.mark.parametrize('by_epoch', [True, False])
def test_fewer_samples_than_a_batch_are_an_error_before_the_start(tmp_path, by_epoch):
    sampler = dict(type='DefaultSampler', shuffle=True)
    cfg = _config(tmp_path, batch_size=17, drop_last=True, sampler=sampler)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=2) if by_epoch else dict(by_epoch=False, max_iters=2)
    with pytest.raises(DataError, match=r'train_dataloader: .* 16 sample\(s\), which make no batch of 17.*drop_last'):
        train(cfg)
    assert not list(tmp_path.glob('*.pth'))
    cfg.train_dataloader.drop_last = False
    assert train(cfg).iter == 2


@pytest.mark.parametrize('by_epoch', [True, False])
def test_workers_of_the_first_pass_start_once(tmp_path, by_epoch, monkeypatch):
    started = []
    start = multiprocessing.process.BaseProcess.start
    monkeypatch.setattr(
        multiprocessing.process.BaseProcess, 'start', lambda process: (started.append(type(process).__name__), start(process))[1]
    )
    cfg = _config(tmp_path, num_workers=2)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1) if by_epoch else dict(by_epoch=False, max_iters=3)
    if by_epoch:
        cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    train(cfg)
    assert len(started) == 2


def _hold(folder: Path, locks) -> None:
    with locked(folder):
        locks.set()
        time.sleep(600)


def test_work_dir_of_a_running_training_is_refused(tmp_path):
    context = multiprocessing.get_context('fork')
    locks = context.Event()
    other = context.Process(target=_hold, args=(tmp_path, locks), daemon=True)
    other.start()
    assert locks.wait(60)
    with pytest.raises(ConfigError, match=rf'another run is training here \(process {other.pid} on .*--work-dir'):
        train(_config(tmp_path))
    other.kill()
    other.join()
    assert train(_config(tmp_path)).iter == 2, 'the lock of a killed run is gone with it'
    with locked(tmp_path):
        pass


def test_resume_names_the_settings_that_the_checkpoint_overrules(tmp_path):
    cfg = _config(tmp_path / 'work')
    cfg.param_scheduler = [dict(type='LinearLR', start_factor=0.5, end=4, by_epoch=False)]
    train(cfg)
    changed = _config(tmp_path / 'changed')  # folders of logs are named by the second
    changed.optim_wrapper.optimizer.lr = 7.0
    changed.param_scheduler = [dict(type='LinearLR', start_factor=0.5, end=400, by_epoch=False)]
    changed.train_cfg.max_iters = 3
    runner = train(changed, resume=tmp_path / 'work/iter_2.pth')
    assert runner.optim_wrapper.optimizer.param_groups[0]['initial_lr'] == 1.0, 'the state of the checkpoint'
    log = next((tmp_path / 'changed').glob(f'{runner.timestamp}/*.log')).read_text()
    assert 'NOT used' in log and 'lr=7.0' in log and 'end=400' in log and 'load_from=' in log
    same = cfg.copy()
    same.work_dir, same.experiment_name = str(tmp_path / 'again'), 'again'
    same.train_cfg.max_iters = 4
    same = train(same, resume=tmp_path / 'changed/iter_3.pth')
    log = next((tmp_path / 'again').glob(f'{same.timestamp}/*.log')).read_text()
    assert 'NOT used' not in log, 'these settings hold, whatever the config said under which the checkpoint was written'


def test_config_texts_are_parsed_and_not_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "optim_wrapper = dict(clip_grad=open('executed', 'w'), optimizer=dict(lr={}))\n"
    (sentence,) = overruled_settings(text.format(1), text.format(2))
    assert sentence == 'optim_wrapper = dict(optimizer=dict(lr=2)) (the checkpoint: dict(optimizer=dict(lr=1)))'
    assert overruled_settings('not python (', text.format(2)) != [] and not (tmp_path / 'executed').exists()


def _workspace(rank: int, world_size: int, folder: Path, deterministic: bool) -> str | None:
    os.environ.pop('CUBLAS_WORKSPACE_CONFIG', None)
    cfg = heavy_config(folder, 0.01)
    cfg.randomness = dict(seed=0, deterministic=deterministic)
    build(cfg)
    return os.environ.get('CUBLAS_WORKSPACE_CONFIG')


@pytest.mark.parametrize(('deterministic', 'expected'), [(True, ':4096:8'), (False, None)])
def test_deterministic_run_sets_the_workspace_of_matrix_products(tmp_path, deterministic, expected):
    """In a process of its own: the setting counts when CUDA starts, and stays."""
    assert run_on_processes(_workspace, 1, tmp_path, deterministic) == [expected]


@pytest.mark.parametrize(
    ('metric', 'rule'),
    [
        ('retrieval/R@1', 'greater'),
        ('iqa/SRCC', 'greater'),
        ('iqa/RMSE', 'less'),
        ('forgery/video_AUC', 'greater'),
        ('loss', 'less'),
    ],
)
def test_better_is_known_for_the_metrics_of_the_papers(metric, rule):
    assert DurableCheckpointHook(save_best=metric).rules == [rule]


def test_metric_whose_rule_is_unknown_names_the_option():
    with pytest.raises(ConfigError, match=r"whether a higher or a lower sharpness is better.*rule='greater' or rule='less'"):
        DurableCheckpointHook(save_best='sharpness')


def test_best_figure_that_the_validation_does_not_give_is_named():
    hook = DurableCheckpointHook(save_best='accuracy/top', rule='greater')
    hook.file_backend = None  # which a training has
    with pytest.raises(
        ConfigError, match="save_best='accuracy/top': the validation gives no such figure. Did you mean accuracy/top1"
    ):
        hook._save_best_checkpoint(None, {'accuracy/top1': 50.0, 'loss': 1.0})


def _arguments_of_train(cfg, *arguments: str) -> None:
    """What ``tools/train.py`` makes of a config."""
    spec = importlib.util.spec_from_file_location('train_tool', ROOT / 'tools/train.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.apply_training_arguments(cfg, tool.parse_args(['config.py', *arguments]))


@pytest.mark.parametrize(
    'recipe',
    [
        'ftcn/ftcn-tt-amp_r50_8xb2-100e_ffpp-c23.py',
        'ckdn/ckdn-amp_r50_8xb8-30e_pipal.py',
        'mcn/mcn_r3d-18_8xb32-200e_k400.py',
        'maskco/maskco_resnet50_1xb256-200e_in1k.py',
        'autoformer/_base_in1k.py',
        'soft_teacher/_coco.py',
    ],
)
def test_recipes_in_mixed_precision_train_in_float32_too(recipe):
    cfg = load_config(ROOT / 'configs' / recipe)
    options = cfg.optim_wrapper
    assert options.pop('type') == 'AmpOptimWrapper'
    cfg.optim_wrapper = dict(options, type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.1, weight_decay=0.0))
    _arguments_of_train(cfg, '--amp-dtype', 'float32')
    with DefaultScope.overwrite_default_scope('openmsra'):
        assert type(build_optim_wrapper(torch.nn.Linear(2, 2), cfg.optim_wrapper)) is OptimWrapper


def _another(cfg):
    """The same config for another run."""
    cfg = copy.deepcopy(cfg)
    cfg.experiment_name = uuid.uuid4().hex
    return cfg


@pytest.mark.reliability
@pytest.mark.parametrize('out_dir', [None, 'elsewhere'])
@each_instant
def test_validation_without_a_training_gives_the_metrics_and_saves_nothing(path, tmp_path, out_dir):
    cfg = load_config(path)
    cfg.work_dir, cfg.launcher, cfg.experiment_name = str(tmp_path / 'run'), 'none', uuid.uuid4().hex
    cfg.default_hooks.checkpoint.update(out_dir=out_dir and str(tmp_path / out_dir))
    metrics = build_runner(cfg).val()
    assert metrics and all(isinstance(value, float | int) for value in metrics.values())
    assert not list(tmp_path.rglob('*.pth'))


def test_requeued_job_starts_from_load_from_and_goes_on_from_its_own_checkpoints(tmp_path):
    """A job that may go back into the queue has --resume from its first launch on; the weights to start from must not be lost."""
    train(_config(tmp_path / 'pretrained'))
    weights = tmp_path / 'pretrained/iter_2.pth'
    cfg = _config(tmp_path / 'work')
    cfg.load_from, cfg.log_level = str(weights), 'INFO'
    _arguments_of_train(cfg, '--resume')
    first = train(_another(cfg))
    assert (first.iter, first.model.count.item(), first.resumed_from) == (2, 4, None)
    (log,) = (tmp_path / 'work').glob('*/*.log')
    assert f'holds no checkpoint: the training begins from the weights of {weights} (load_from)' in log.read_text()
    cfg.train_cfg.max_iters = 3
    again = train(_another(cfg))
    assert (again.iter, again.model.count.item(), again.resumed_from.name) == (3, 5, 'iter_2.pth')


def test_weights_to_start_from_are_no_resume_for_the_hooks(tmp_path):
    """Averaged weights in the file are those of another training: mmengine takes them up in a resumed run alone."""
    cfg = _config(tmp_path / 'pretrained')
    cfg.custom_hooks = [dict(type='EMAHook', momentum=0.5)]
    train(_another(cfg))
    states = []
    for name, resume in (('plain', False), ('resume', 'auto')):
        started = _another(cfg)
        started.update(work_dir=str(tmp_path / name), load_from=str(tmp_path / 'pretrained/iter_2.pth'), resume=resume)
        train(started)
        states.append(torch.load(tmp_path / name / 'iter_2.pth', weights_only=False)['ema_state_dict']['module.count'].item())
    assert states[0] == states[1]
