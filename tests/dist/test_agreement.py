"""What all processes of a run must agree on, and what must differ between them."""

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from openmsra.engine.checkpoint.share import shared_file, together
from openmsra.errors import CheckpointError, DamagedCheckpointError, DataError
from openmsra.registry import HOOKS
from tests.dist.gloo import run_on_processes
from tests.reliability.killing import heavy_config
from tests.reliability.runs import build, each_instant, short_config, train


def _train(folder: Path, max_iters: int, rank: int, **options):
    """A short training in the work dir 'work' of a folder that only this process sees, as on a machine without a shared disk."""
    (folder / f'node{rank}').mkdir(parents=True, exist_ok=True)
    os.chdir(folder / f'node{rank}')
    cfg = heavy_config('work', 0.5)
    cfg.train_cfg.max_iters = max_iters
    cfg.update(options)
    runner = build(cfg)
    runner.train()
    return runner


def _resumed(rank: int, world_size: int, folder: Path) -> tuple[float, int]:
    runner = _train(folder, 4, rank)
    return runner.model.module.count.item(), runner.resumed_from and int(runner.resumed_from.stem.split('_')[1])


@pytest.mark.parametrize('second', ['empty', 'another run', 'a damaged copy'])
def test_resume_is_decided_by_the_first_process_and_its_file_is_sent(tmp_path, second):
    _one = run_on_processes(_single, 1, tmp_path)
    assert _one == [2.0]
    first = tmp_path / 'node0/work'
    if second == 'another run':  # longer, and of other weights
        shutil.copytree(first, tmp_path / 'node1/work')
        other = torch.load(first / 'iter_2.pth', weights_only=False)
        other['state_dict']['count'] += 100
        torch.save(other, tmp_path / 'node1/work/iter_2.pth')
        torch.save(other, tmp_path / 'node1/work/iter_9.pth')
        (tmp_path / 'node1/work/last_checkpoint').write_text('iter_9.pth')
    elif second == 'a damaged copy':
        shutil.copytree(first, tmp_path / 'node1/work')
        content = bytearray((first / 'iter_2.pth').read_bytes())
        (tmp_path / 'node1/work/iter_2.pth').write_bytes(content[: len(content) // 2])
    resumed = (first / 'iter_2.pth').read_bytes()  # the main process keeps its newest checkpoint alone
    answers = run_on_processes(_resumed, 2, tmp_path)
    assert answers == [(4.0, 2)] * 2
    assert (tmp_path / 'node1/work/iter_2.pth').read_bytes() == resumed


def _single(rank: int, world_size: int, folder: Path) -> float:
    return _train(folder, 2, rank, resume=False).model.module.count.item()


def _only_second(rank: int, world_size: int, folder: Path) -> tuple:
    runner = _train(folder, 3, rank)
    return runner.model.module.count.item(), runner.resumed_from


def test_checkpoints_that_only_another_process_sees_are_not_resumed(tmp_path):
    run_on_processes(_single, 1, tmp_path)
    (tmp_path / 'node0').rename(tmp_path / 'node1')
    assert run_on_processes(_only_second, 2, tmp_path) == [(3.0, None)] * 2


def _restarted(rank: int, world_size: int, folder: Path, starts: list[str]) -> tuple:
    os.environ['OPENMSRA_STARTED'] = starts[rank]
    runner = _train(folder, 4, rank, resume=False)
    return runner.model.module.count.item(), runner.resumed_from and runner.resumed_from.name


@pytest.mark.parametrize(('starts', 'seen'), [(('past', 'future'), (4.0, 'iter_2.pth')), (('future', 'future'), (4.0, None))])
def test_processes_of_a_machine_that_has_joined_go_on_with_the_others(tmp_path, starts, seen):
    """The checkpoints are those of the run if its first launch was before them, whichever machine writes and reads them now."""
    run_on_processes(_single, 1, tmp_path)
    times = dict(past='1.0', future=str(2.0**40))
    for order in (starts, starts[::-1]):
        shutil.copytree(tmp_path / 'node0', tmp_path / f'{order[0]}/node0', dirs_exist_ok=True)
        answers = run_on_processes(_restarted, 2, tmp_path / order[0], [times[name] for name in order])
        assert answers == [seen] * 2


def _unequal(rank: int, world_size: int, folder: Path) -> str:
    os.chdir(folder)
    cfg = heavy_config(f'work{rank}', 0.01)
    cfg.train_dataloader.dataset.count = 16 - 4 * rank
    with pytest.raises(DataError) as raised:
        build(cfg).train()
    return str(raised.value)


def test_machines_with_different_data_are_told_before_they_train(tmp_path):
    node = os.uname().nodename
    for sentence in run_on_processes(_unequal, 2, tmp_path):
        assert (
            f'train_dataloader: the processes have found different numbers of samples: 16 on {node} (process 0), 12 on'
            in sentence
        )


def _failing(rank: int, world_size: int, folder: Path) -> list[str]:
    sentences = []

    def fail_on_the_second() -> str:
        if rank:
            raise DamagedCheckpointError('it is damaged')
        return 'read'

    for action in (lambda: together(fail_on_the_second), lambda: shared_file(folder / 'nothing.pth')):
        try:
            action()
        except CheckpointError as error:
            sentences.append(f'{type(error).__name__}: {error}')
    return sentences


def test_all_processes_stop_when_one_cannot_read_and_the_machine_is_named(tmp_path):
    node = os.uname().nodename
    for sentences in run_on_processes(_failing, 2, tmp_path):
        assert sentences == [
            f'DamagedCheckpointError: it is damaged (process 1 on {node})',
            f'DamagedCheckpointError: {tmp_path}/nothing.pth: there is no such checkpoint file on {node}, where the main '
            'process runs.',
        ]


@HOOKS.register_module()
class Draws(Hook):
    """What the processes draw at the same moments of a training."""

    def __init__(self) -> None:
        self.by_rank, self.shared = [], []

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if runner.iter == 0:
            self.by_rank = [torch.rand(()).item(), np.random.rand(), random.random()]
            self.shared = [runner.seed]

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        network = runner.model.module
        self.shared += [float(value.detach().double().sum()) for value in network.parameters()]
        if hasattr(network, 'get_subnet'):
            self.shared.append(repr(network.get_subnet()))


def _draws(rank: int, world_size: int, path: Path, folder: Path) -> tuple[list, list, list]:
    cfg = short_config(path, folder, batches=2, epochs=1)
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='Draws')]
    runner = train(cfg)
    hook = next(hook for hook in runner.hooks if isinstance(hook, Draws))
    indices = [index for _, batch in runner.train_loop.dataloader.keyed.recent for index in batch]
    return hook.shared, hook.by_rank, indices


@pytest.mark.reliability
@each_instant
def test_processes_share_weights_and_architectures_and_draw_their_own_augmentation(path, tmp_path):
    """Shared: the seed, every weight after each step, the architecture. By rank: generators (Mixup, dropped paths), samples."""
    (shared, first, samples), (shared_too, second, other_samples) = run_on_processes(_draws, 2, path, tmp_path, timeout=280)
    assert shared == shared_too and len(shared) > 10
    assert all(one != two for one, two in zip(first, second, strict=True))
    if path.parent.name != 'soft_teacher':  # draws images by rank, with replacement
        assert not set(samples) & set(other_samples)
    assert samples != other_samples
