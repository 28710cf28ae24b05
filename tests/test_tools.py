"""tools/train.py and tools/test.py as a user starts them."""

import json
import pickle

import pytest

INSTANT = 'configs/autoformer/autoformer_supernet_1xb32-2e_digits_instant.py'


@pytest.fixture(scope='module')
def trained(tmp_path_factory, run_tool):
    folder = tmp_path_factory.mktemp('trained')
    done = run_tool('tools/train.py', INSTANT, '--work-dir', folder, '--seed', '3')
    (folder / 'said.txt').write_text(done.stdout + done.stderr)
    return folder


def _scalars(folder):
    newest = max(folder.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for line in newest.read_text().splitlines()]


def test_training_leaves_checkpoint_logs_and_config(trained):
    assert (trained / 'epoch_2.pth').is_file()
    assert (trained / f'{INSTANT.rpartition("/")[2]}').is_file()
    rows = _scalars(trained)
    assert {'smallest/accuracy/top1', 'largest/accuracy/top1'} <= set(rows[-1])
    assert list(trained.glob('*/vis_data/events.out.tfevents*')), 'no TensorBoard log'


def test_training_ends_with_where_everything_is_and_what_comes_next(trained):
    (file,) = trained.glob('*/results.json')
    results = json.loads(file.read_text())
    last = _scalars(trained)[-1]
    assert results['metrics'] == {key: value for key, value in last.items() if key not in ('step', 'time', 'data_time')}
    assert results['checkpoint'] == str(trained / 'epoch_2.pth') and results['epoch'] == 2 and results['seed'] == 3
    said = (trained / 'said.txt').read_text()
    assert f'openmsra test {trained}/{INSTANT.rpartition("/")[2]} {trained}/epoch_2.pth' in said
    assert f'openmsra infer autoformer YOUR_FILES --weights {trained}/epoch_2.pth' in said


def test_terminal_says_what_concerns_the_user_and_the_log_file_everything(trained):
    said = (trained / 'said.txt').read_text()
    (log,) = trained.glob('*/*.log')
    for text in ('System environment:', 'Config:', 'Hooks will be executed'):
        assert text in log.read_text() and text not in said
    for text in ('OneDL', 'FileClient', 'HardDiskBackend'):
        assert text not in said and text not in log.read_text()


def test_out_and_show_dir_write_predictions_and_pictures(trained, run_tool, tmp_path):
    run_tool(
        'tools/test.py',
        INSTANT,
        trained / 'epoch_2.pth',
        '--work-dir',
        tmp_path / 'work',
        '--out',
        tmp_path / 'p.pkl',
        '--show-dir',
        tmp_path / 'pictures',
        '--cfg-options',
        "test_cfg.subnets=['largest']",
    )
    with (tmp_path / 'p.pkl').open('rb') as stream:
        predictions = pickle.load(stream)
    assert len(predictions) == 500
    assert {int(p['gt_label']) for p in predictions} == set(range(10))
    assert len(list((tmp_path / 'pictures').glob('*.png'))) == 500


def test_architecture_file_is_evaluated(trained, run_tool, tmp_path):
    arch = dict(embed_dim=24, depth=3, num_heads=[2, 3, 4], mlp_ratio=[1.0, 2.0, 1.0])
    (tmp_path / 'mine.json').write_text(json.dumps(arch))
    options = f"test_cfg.subnets=['{tmp_path / 'mine.json'}']"
    run_tool('tools/test.py', INSTANT, trained / 'epoch_2.pth', '--work-dir', tmp_path, '--cfg-options', options)
    (result,) = tmp_path.glob('*/*.json')
    assert 'mine/accuracy/top1' in json.loads(result.read_text())


def test_resume_continues_and_finishes(trained, run_tool, tmp_path):
    run_tool('tools/train.py', INSTANT, '--work-dir', tmp_path, '--seed', '3', '--cfg-options', 'train_cfg.max_epochs=1')
    assert not (tmp_path / 'epoch_2.pth').exists()
    done = run_tool('tools/train.py', INSTANT, '--work-dir', tmp_path, '--seed', '3', '--resume')
    assert 'resumed epoch: 1' in done.stdout + done.stderr
    assert (tmp_path / 'epoch_2.pth').is_file()


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['tools/train.py', 'configs/autoformer/no.py'], 'there is no such config'),
        (['tools/train.py', INSTANT, '--cfg-options', 'train_cfg.max_epoch=1'], 'Did you mean max_epochs'),
        (['tools/train.py', INSTANT, '--resume', 'nothing.pth'], 'nothing.pth: there is no such checkpoint'),
        (['tools/train.py', INSTANT, '--amp'], 'needs a GPU'),
        (['tools/train.py', INSTANT, '--launcher', 'pytorch'], 'tools/dist_train.sh'),
        (['tools/test.py', INSTANT, 'nothing.pth'], 'nothing.pth: there is no such checkpoint'),
        (['tools/test.py', INSTANT, 'x.pth', '--out', 'x.csv'], 'must end in .pkl'),
        (['tools/dist_train.sh', INSTANT], 'usage: tools/dist_train.sh CONFIG GPUS'),
        (['tools/dist_test.sh', INSTANT, 'x.pth', 'zero'], 'usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS'),
        (['tools/slurm_train.sh', 'partition'], 'usage: tools/slurm_train.sh'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_bad_arguments_end_in_one_sentence(run_tool, tmp_path, arguments, sentence):
    import torch

    if '--amp' in arguments and torch.cuda.is_available():
        pytest.skip('mixed precision is possible here')
    extra = ['--work-dir', tmp_path] if arguments[0].endswith('.py') else []
    done = run_tool(*arguments, *extra, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert 'Traceback' not in done.stderr


def test_weights_that_do_not_fit_are_refused(trained, run_tool, tmp_path):
    options = ['--cfg-options', 'model.max_relative_position=3']
    done = run_tool('tools/test.py', INSTANT, trained / 'epoch_2.pth', '--work-dir', tmp_path, *options, check=False)
    assert done.returncode == 2
    assert 'nothing was loaded' in done.stderr
    assert 'file (10, 8), model (8, 8)' in done.stderr


@pytest.mark.parametrize('option', ['--work-dir', '--out', '--show-dir'])
def test_folder_that_cannot_be_written_is_named_before_the_work(run_tool, tmp_path, option):
    (tmp_path / 'file').write_text('')
    target = tmp_path / 'file' / 'inside' / ('p.pkl' if option == '--out' else '')
    work_dir = [] if option == '--work-dir' else ['--work-dir', tmp_path / 'work']
    done = run_tool('tools/test.py', INSTANT, 'x.pth', *work_dir, option, target, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith('error: ') and f'name another with {option}' in done.stderr
