"""Training on several processes: the same as on one, and the launch scripts work without a GPU."""

import pytest
import torch

from tests.dist.gloo import run_on_processes

INSTANT = 'configs/autoformer/autoformer_supernet_1xb32-2e_digits_instant.py'
STEPS, BATCH = 4, 16


def _train(rank: int, world_size: int) -> dict[str, torch.Tensor]:
    """A few steps of the instant supernet on ``BATCH`` digits a step, divided among the processes."""
    from mmengine.model import MMDistributedDataParallel
    from mmengine.registry import DATASETS

    from openmsra.apis import init_model
    from openmsra.engine.config.files import load_config

    torch.manual_seed(0)
    cfg = load_config(INSTANT)
    model = init_model(cfg).train()
    ddp = MMDistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=True)
    dataset = DATASETS.build({**cfg.train_dataloader.dataset, '_scope_': 'openmsra'})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    share = BATCH // world_size
    for step in range(STEPS):
        model.sample_subnets(seed=0, iteration=step)
        samples = [dataset[step * BATCH + rank * share + i] for i in range(share)]
        batch = model.data_preprocessor(
            dict(inputs=[s['inputs'] for s in samples], data_samples=[s['data_samples'] for s in samples]), training=True
        )
        optimizer.zero_grad(set_to_none=True)
        sum(ddp(**batch, mode='loss').values()).backward()
        optimizer.step()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def test_two_processes_of_half_the_batch_equal_one():
    (single,) = run_on_processes(_train, 1)
    first, second = run_on_processes(_train, 2)
    assert any((value != init).any() for value, init in zip(single.values(), _initial().values(), strict=True))
    for name, value in single.items():
        assert torch.equal(first[name], second[name]), f'{name} differs between the ranks'
        torch.testing.assert_close(first[name], value, atol=2e-6, rtol=1e-5, msg=name)


def _initial() -> dict[str, torch.Tensor]:
    from openmsra.apis import init_model

    torch.manual_seed(0)
    return init_model(INSTANT).state_dict()


ONE_EPOCH = ['--cfg-options', 'train_cfg.max_epochs=1']


def test_dist_train_trains_on_the_cpu(run_tool, tmp_path):
    run_tool('tools/dist_train.sh', INSTANT, '2', '--work-dir', tmp_path, *ONE_EPOCH)
    assert (tmp_path / 'epoch_1.pth').is_file()


@pytest.mark.reliability
def test_dist_train_resumes_and_dist_test_tests_on_the_cpu(run_tool, tmp_path):
    run_tool('tools/dist_train.sh', INSTANT, '2', '--work-dir', tmp_path, *ONE_EPOCH)
    done = run_tool('tools/dist_train.sh', INSTANT, '2', '--work-dir', tmp_path, '--resume')
    assert 'resumed epoch: 1' in done.stdout + done.stderr
    assert (tmp_path / 'epoch_2.pth').is_file()
    run_tool('tools/dist_test.sh', INSTANT, tmp_path / 'epoch_2.pth', '2', '--work-dir', tmp_path / 'test')
    assert list((tmp_path / 'test').glob('*/*.json'))
