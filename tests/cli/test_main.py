"""The command ``openmsra``: quick where nothing is computed, one shape for all papers, exit codes that tell."""

import csv
import io
import resource
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmsra.cli import completion, forwarding, inference
from openmsra.cli.main import main
from openmsra.engine.launch import run_tool
from openmsra.errors import MissingFileError, ToolError
from openmsra.resources import config_files

ROOT = Path(__file__).resolve().parents[2]
DIGITS = 'autoformer_supernet_1xb32-2e_digits_instant'


def _run(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-m', 'openmsra', *arguments], capture_output=True, text=True, cwd=ROOT, **options)


def test_help_waits_for_nothing():
    """Three tenths of a second are promised; of the processor, since the machine may be busy with other tests."""
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = _run('--help')
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and 'Exit codes: 0 done; 2' in done.stdout
    assert end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime < 0.3


def test_no_command_imports_torch_before_its_arguments_are_read():
    code = (
        'import runpy, sys\nfrom pathlib import Path\nfor path in sorted(Path("tools").rglob("*.py")):\n'
        '    if not path.stem.endswith("_example"): runpy.run_path(str(path))\n    assert "torch" not in sys.modules, path\n'
        'import openmsra.cli.completion, openmsra.cli.inference, openmsra.cli.listing\nassert "torch" not in sys.modules'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['trian', 'x'], "no command is called 'trian'. Did you mean train?"),
        (['data', 'chekc'], 'Did you mean check?'),
        (['list', 'no-such-thing'], "no config matches 'no-such-thing'"),
        (['infer', 'vit'], "no paper is called 'vit'"),
        (['infer', 'maskco', '--weights', 'x.pth'], 'no inputs'),
        (['infer', 'maskco', 'nowhere/*.png', '--weights', 'x.pth'], 'nothing matches it as a pattern'),
        (['infer', 'maskco', 'README.md', '--weights', 'x.pth'], 'there is no such file; `openmsra weights`'),
    ],
)
def test_what_a_user_can_mend_ends_in_a_sentence_and_exit_code_2(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith('error: ') and sentence in message


def test_list_finds_by_part_of_the_name_by_pattern_and_by_paper(capsys):
    main(['list', 'ckdn'])
    names = capsys.readouterr().out.split()
    assert names == [name for name, file in config_files().items() if file.parent.name == 'ckdn']
    main(['list', '*digits_instant', '--long'])
    assert capsys.readouterr().out.splitlines() == [
        DIGITS,
        '    autoformer: The digits of scikit-learn (8 x 8 pixels, 10 classes): a search space of 4644 sub-networks that trains '
        'in a minute',
        'maskco_r18-tiny_1xb32-2e_digits_instant',
        '    maskco: Runs the whole path; far too short to compare anything',
    ]


def test_list_is_fine_with_a_pipe_that_closes():
    done = subprocess.run(f'{sys.executable} -m openmsra list | head -1', shell=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == '' and len(done.stdout.splitlines()) == 1


def test_a_tool_gets_its_arguments_under_the_name_of_the_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['pytest'])
    with pytest.raises(SystemExit) as exit_:
        main(['train', '--help'])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith('usage: openmsra train [-h]')


def test_all_forwarded_scripts_exist():
    scripts = [*forwarding.COMMANDS.values(), *inference.FORWARDED.values()]
    assert all((ROOT / 'tools' / script).is_file() for script in scripts)
    shown = forwarding.group('data')
    assert {'check', 'split', 'faces', 'videos', 'imagenet-search'} <= set(shown)
    assert forwarding.summary(shown['check']).startswith('Read every sample')


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        (['tr'], ['train']),
        (['infer', ''], sorted(inference.GIVES)),
        (['train', 'ckdn_r18_1xb8'], ['ckdn_r18_1xb8-2e_photos_instant']),
        (['demo', 'm'], ['maskco', 'mcn']),
        (['demo', '--w'], ['--work-dir']),
        (['train', DIGITS, '--res'], ['--resume']),
        (['train', DIGITS, '--trust'], ['--trust-checkpoint']),
        (['infer', 'maskco', '--nei'], ['--neighbours']),
        (['data', 'che'], ['check']),
        (['infer', 'maskco', 'some'], []),
    ],
)
def test_completion(words, expected):
    assert completion.candidates(words) == expected


def test_inputs_are_files_patterns_and_a_list_on_stdin(tmp_path, monkeypatch):
    names = [str(tmp_path / name) for name in ('a.png', 'b.png', 'c d.png')]
    for name in names:
        Path(name).touch()
    monkeypatch.setattr(sys, 'stdin', io.StringIO(f'{names[2]}\n\n'))
    assert inference.expand([str(tmp_path / '[ab].png'), '-']) == names
    with pytest.raises(MissingFileError, match='nowhere'):
        inference.expand(['nowhere'])
    with pytest.raises(ToolError, match='no inputs'):
        inference.expand([])


@pytest.fixture(scope='module')
def supernet(tmp_path_factory):
    """A work dir as a training leaves it: the config and weights."""
    from openmsra.apis import init_model
    from openmsra.engine.checkpoint.io import save_file

    folder = tmp_path_factory.mktemp('work')
    model = init_model(DIGITS)
    model.cfg.pop('pipeline')  # as the runner does when it writes the config
    model.cfg.dump(folder / f'{DIGITS}.py')
    save_file(dict(state_dict=model.state_dict()), folder / 'epoch_1.pth')
    return folder / 'epoch_1.pth'


def test_infer_writes_a_table_and_pictures_with_the_config_beside_the_weights(supernet, tmp_path, capsys):
    from openmsra.apis import init_inferencer

    rng = np.random.default_rng(0)
    for name in ('one.png', 'two.png'):
        Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(tmp_path / name)
    (tmp_path / 'broken.png').write_bytes(b'no image')
    out = tmp_path / 'out'
    with pytest.raises(SystemExit) as exit_:
        main(['infer', 'autoformer', str(tmp_path / '*.png'), '--weights', str(supernet), '--out', str(out), '--topk', '2'])
    assert exit_.value.code == 2 and '1 of 3 images were left out' in capsys.readouterr().err
    with (out / 'results.csv').open(newline='') as stream:
        broken, *rows = csv.DictReader(stream)
    assert 'not an image' in broken['error']
    expected = init_inferencer(supernet.parent / f'{DIGITS}.py', supernet, arch='largest')(tmp_path / 'one.png', topk=2)[0]
    assert [rows[0]['class_1'], rows[0]['class_2']] == expected['classes']
    assert float(rows[0]['score_1']) == pytest.approx(expected['scores'][0], abs=1e-5)
    picture = Image.open(out / '00001_one.png')
    assert picture.size == (192, 192 + 28)


def test_neighbours_are_the_nearest_others(tmp_path):
    import argparse

    features = np.array([[1, 0], [0.9, 0.1], [0, 2]], np.float32)
    rows = [dict(image=f'{n}.png', feature=feature) for n, feature in enumerate(features)]
    flat = inference._neighbour_rows([*rows, dict(image='x', error='broken')], argparse.Namespace(out=tmp_path, neighbours=5))
    assert [row.get('neighbour_1') for row in flat] == ['1.png', '0.png', '1.png', None]
    assert float(flat[0]['similarity_1']) == pytest.approx(0.9 / np.hypot(0.9, 0.1), abs=1e-4)
    assert 'neighbour_3' not in flat[0] and flat[3]['error'] == 'broken'
    with np.load(tmp_path / 'embeddings.npz') as arrays:
        assert np.allclose(np.linalg.norm(arrays['feature'], axis=1), 1)


def test_a_config_may_inherit_from_ours_wherever_it_lies(tmp_path):
    from openmsra.engine.config.files import load_config

    mine = tmp_path / 'mine.py'
    mine.write_text(f"_base_ = 'openmsra::autoformer/{DIGITS}.py'\ntrain_cfg = dict(max_epochs=3)\n")
    cfg = load_config(mine)
    assert cfg.train_cfg.max_epochs == 3 and cfg.model.type == 'AutoFormerSupernet' and '_scope_' not in cfg.model
    mine.write_text("_base_ = 'openmsra::autoformer/none.py'\n")
    with pytest.raises(MissingFileError, match='openmsra has no such config'):
        load_config(mine)


def test_a_run_starts_by_name():
    from openmsra.engine.config.files import load_config

    assert load_config(DIGITS).filename == str(config_files()[DIGITS])
    with pytest.raises(MissingFileError, match=f'Did you mean .*{DIGITS}'):
        load_config(DIGITS[:-1])


def test_scripts_run_under_their_own_name_too():
    assert runpy.run_path(str(ROOT / 'tools' / 'train.py'))['parse_args'](['x.py', '--resume']).resume is True


@pytest.mark.parametrize(
    'error',
    [
        ModuleNotFoundError("No module named 'mmcv._ext'", name='mmcv._ext'),
        ModuleNotFoundError("No module named 'mmdet'", name='mmdet'),
    ],
)
def test_a_missing_package_ends_in_one_sentence(error, monkeypatch, capsys):
    """Whoever imports it, and whoever wraps the error, as mmengine does where a config names modules."""

    def build(*_):
        try:
            raise error
        except ImportError as cause:
            raise ImportError('Failed to import custom modules') from cause

    monkeypatch.setattr('openmsra.cli.doctor.main', build)
    for run in (lambda: main(['doctor']), lambda: run_tool(build)):
        with pytest.raises(SystemExit, match='2'):
            run()
        said = capsys.readouterr().err
        assert said.startswith('error: this needs ') and ('make install-full' in said or '`openmsra doctor`' in said)


def test_a_module_of_the_user_keeps_its_traceback():
    def build(*_):
        try:
            raise ModuleNotFoundError("No module named 'mmdet'", name='mmdet')
        except ImportError as cause:  # a config of theirs that goes on without it
            raise ModuleNotFoundError("No module named 'mine'", name='mine') from cause

    with pytest.raises(ModuleNotFoundError, match='mine'):
        run_tool(build)
