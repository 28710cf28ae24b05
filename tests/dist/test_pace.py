"""From two processes to one: the log says what becomes of the batch and of the learning rate."""

from pathlib import Path

import pytest

from tests.dist.gloo import run_on_processes
from tests.reliability.killing import heavy_config
from tests.reliability.runs import build

AUTOFORMER = 'configs/autoformer/autoformer_supernet_1xb32-2e_digits_instant.py'


def _config(folder: Path, iterations: int, **options):
    cfg = heavy_config(folder, 0.01)
    cfg.log_level, cfg.train_cfg.max_iters = 'INFO', iterations
    cfg.param_scheduler = [dict(type='MultiStepLR', milestones=[100], by_epoch=False)]
    cfg.merge_from_dict(options)
    return cfg


def _two(rank: int, world_size: int, folder: Path) -> None:
    build(_config(folder, 2)).train()


@pytest.mark.parametrize(
    ('options', 'sentence', 'rate'),
    [
        ({}, 'every 8 samples and makes one every 4 now (1 process(es), accumulative_counts=1); the learning rate stays.', 1.0),
        ({'optim_wrapper.accumulative_counts': 2}, 'every 8 samples, as before (1 process(es), accumulative_counts=2)', 1.0),
        (
            {'auto_scale_lr': dict(enable=True, base_batch_size=8)},
            'every 4 now (1 process(es), accumulative_counts=1); the learning rate was scaled by 0.5 (auto_scale_lr)',
            0.5,
        ),
    ],
    ids=['nothing', 'accumulative_counts', 'auto_scale_lr'],
)
def test_log_says_what_becomes_of_the_batch(tmp_path, options, sentence, rate):
    run_on_processes(_two, 2, tmp_path)
    runner = build(_config(tmp_path, 4, **options))
    runner.train()
    assert any(sentence in log.read_text() for log in tmp_path.glob('*/*.log'))
    assert runner.optim_wrapper.optimizer.param_groups[0]['lr'] == rate
    assert runner.param_schedulers[0].base_values == [rate]


@pytest.mark.reliability
def test_from_two_processes_to_one_through_the_tools(run_tool, tmp_path):
    run_tool('tools/dist_train.sh', AUTOFORMER, '2', '--work-dir', tmp_path, '--cfg-options', 'train_cfg.max_epochs=1')
    for arguments, sentence in (
        (['--cfg-options', 'optim_wrapper.accumulative_counts=2'], 'every 64 samples, as before (1 process(es), accumulative'),
        (
            ['--auto-scale-lr'],
            'makes one every 32 now (1 process(es), accumulative_counts=1); the learning rate was scaled by 0.5',
        ),
    ):
        resume = ['--work-dir', tmp_path / arguments[0], '--resume', tmp_path / 'epoch_1.pth']
        done = run_tool('tools/train.py', AUTOFORMER, *resume, *arguments)
        assert sentence in done.stdout + done.stderr
        assert (tmp_path / arguments[0] / 'epoch_2.pth').is_file()
