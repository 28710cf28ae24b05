"""What is installed without a checkout: configs and tools inside, found by the command; the source archive builds the same."""

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from openmsra import __version__

ROOT = Path(__file__).resolve().parents[1]
INSTANT = 'autoformer_supernet_1xb32-2e_digits_instant'


def _git_files() -> list[str]:
    listed = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT, capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A copy of the checkout, since setuptools leaves a build folder behind."""
    if not (files := _git_files()):
        pytest.skip('not a git checkout')
    folder = tmp_path_factory.mktemp('source')
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    command = [sys.executable, 'setup.py', '-q', 'bdist_wheel', '-d', str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob('*.whl'))


def test_wheel_holds_configs_tools_and_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = next(name.partition('/')[0] for name in names if name.endswith('.dist-info/METADATA'))
        metadata = message_from_string(archive.read(f'{info}/METADATA').decode())
        commands = archive.read(f'{info}/entry_points.txt').decode()
    expected = {name for name in _git_files() if name.split('/')[0] in ('configs', 'tools')} | {'model-index.yml'}
    shipped = {name.removeprefix('openmsra/.mim/') for name in names if name.startswith('openmsra/.mim/')}
    assert shipped == expected
    assert {name for name in _git_files() if name.startswith('openmsra/')} <= names and 'openmsra/py.typed' in names
    assert not [name for name in names if name.startswith(('tests', 'benchmarks', 'configs', 'tools'))]
    assert metadata['Version'] == __version__ and 'Apache' in f'{metadata["License"]} {metadata["License-Expression"]}'
    assert 'openmsra = openmsra.cli.main:main' in commands


@pytest.mark.reliability
def test_installed_wheel_works_outside_any_checkout(wheel, tmp_path):
    """In a fresh environment that borrows the dependencies of this one."""
    venv, elsewhere = tmp_path / 'venv', tmp_path / 'elsewhere'
    elsewhere.mkdir()
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(venv)], check=True)
    (packages,) = venv.glob('lib/python*/site-packages')
    borrowed = next(path for path in sys.path if path.endswith('site-packages'))
    (packages / 'borrowed.pth').write_text(f'{borrowed}\n')
    pip = [sys.executable, '-m', 'pip', '--python', str(venv / 'bin' / 'python'), 'install', '-q', '--no-deps', '--no-index']
    subprocess.run([*pip, str(wheel)], check=True)

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [str(venv / 'bin' / 'openmsra'), *arguments],
            cwd=elsewhere,
            capture_output=True,
            text=True,
            env=dict(OMP_NUM_THREADS='1'),
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    assert INSTANT in run('list').split()
    assert str(packages) in run('list', INSTANT, '--paths')
    run('train', INSTANT, '--work-dir', 'work')
    out = run('test', f'work/{INSTANT}.py', 'work/epoch_2.pth', '--work-dir', 'tested')
    assert 'largest/accuracy/top1' in out
    (elsewhere / 'child.py').write_text(f"_base_ = 'openmsra::autoformer/{INSTANT}.py'\ntrain_cfg = dict(max_epochs=1)\n")
    run('train', 'child.py')
    assert (elsewhere / 'work_dirs' / 'child' / 'epoch_1.pth').is_file()
    assert 'no configs' not in run('infer', '--help')


@pytest.mark.reliability
def test_source_archive_builds_the_same_wheel(source, wheel, tmp_path):
    subprocess.run([sys.executable, 'setup.py', '-q', 'sdist', '-d', str(tmp_path)], cwd=source, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob('*.tar.gz'))) as archive:
        archive.extractall(tmp_path / 'unpacked', filter='data')
    (folder,) = (tmp_path / 'unpacked').iterdir()
    subprocess.run(
        [sys.executable, 'setup.py', '-q', 'bdist_wheel', '-d', str(tmp_path)], cwd=folder, check=True, capture_output=True
    )
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(next(tmp_path.glob('*.whl'))) as second:
        assert set(first.namelist()) == set(second.namelist())
