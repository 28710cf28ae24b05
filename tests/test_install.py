"""requirements/install.sh says at once, in one sentence, why it cannot go on; and does nothing twice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
INSTALL = ROOT / 'requirements' / 'install.sh'


def _install(profile: str, tmp_path: Path, **env: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, 'PYTHON': sys.executable, 'VENV': str(tmp_path / 'venv'), **env}
    return subprocess.run(['bash', INSTALL, profile], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90)


def _program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f'#!/bin/bash\n{text}\n')
    (folder / name).chmod(0o755)
    return folder / name


def _refused(done: subprocess.CompletedProcess, sentence: str, tmp_path: Path) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert sentence in done.stderr
    assert done.stderr.startswith('error: ') and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / 'venv').exists(), 'something was installed before the check'


@pytest.mark.parametrize('version', ['3.9', '3.14', '2.7'])
def test_python_of_another_version(tmp_path, version):
    python = _program(tmp_path / 'bin', 'python', f'echo {version}')
    done = _install('light', tmp_path, PYTHON=str(python))
    _refused(done, f'is Python {version}, but openmsra needs 3.10 to 3.13; set PYTHON=', tmp_path)


def test_no_python(tmp_path):
    _refused(_install('light', tmp_path, PYTHON='python-nowhere'), "there is no 'python-nowhere'", tmp_path)


def test_python_without_venv(tmp_path):
    text = f'[[ $2 == *ensurepip* ]] && exit 1; exec {sys.executable} "$@"'
    done = _install('light', tmp_path, PYTHON=str(_program(tmp_path / 'bin', 'python', text)))
    _refused(done, 'install its venv module', tmp_path)


def test_no_compiler_matters_for_the_full_profile_only(tmp_path):
    _refused(_install('full', tmp_path, CXX='no-such-compiler'), 'no C++ compiler (no-such-compiler)', tmp_path)
    done = _install('light', tmp_path, CXX='no-such-compiler', OPENMSRA_NEED_MB='999999999')
    assert 'C++' not in done.stderr


def _machine_with_a_gpu(tmp_path: Path, **programs: str) -> dict[str, str]:
    """An environment in which nvidia-smi finds a GPU."""
    for name, text in dict({'nvidia-smi': 'exit 0'}, **programs).items():
        _program(tmp_path / 'bin', name, text)
    path = [
        str(tmp_path / 'bin'),
        *(folder for folder in os.environ['PATH'].split(os.pathsep) if not Path(folder, 'nvcc').exists()),
    ]
    return dict(PATH=os.pathsep.join(path), CUDA_HOME=str(tmp_path / 'nowhere'))


def test_gpu_without_nvcc(tmp_path):
    done = _install('full', tmp_path, **_machine_with_a_gpu(tmp_path), OPENMSRA_NEED_MB='999999999')
    _refused(done, 'this machine has an NVIDIA GPU but there is no nvcc', tmp_path)
    allowed = dict(OPENMSRA_CPU_OPERATORS='1', OPENMSRA_NEED_MB='999999999')
    assert 'there is no nvcc' not in _install('full', tmp_path, **_machine_with_a_gpu(tmp_path), **allowed).stderr


def test_cuda_can_be_asked_for_where_no_gpu_is_visible(tmp_path):
    """As while an image is built; without it the operators would be compiled for the CPU alone."""
    machine = dict(_machine_with_a_gpu(tmp_path, **{'nvidia-smi': 'exit 9'}), OPENMSRA_NEED_MB='999999999')
    assert 'nvcc' not in _install('full', tmp_path, **machine).stderr
    _refused(_install('full', tmp_path, **machine, FORCE_CUDA='1'), 'FORCE_CUDA=1 asks for CUDA but there is no nvcc', tmp_path)


def test_operators_that_were_built_without_cuda_or_not_at_all_are_refused_and_not_kept(tmp_path):
    """pip, torch and mmcv are played by a script, which compiles where it finds ninja; the CUDA version is 'not available'."""
    version = f'{sys.version_info.major}.{sys.version_info.minor}'
    python = f"""
        case "$*" in
            *" wheel --no-cache"*) [[ $PATH == {tmp_path}/venv/bin:* && ! -e "{tmp_path}/no compiler" ]] ;;
            *get_compiling_cuda_version*) exit 1 ;;
            *mmcv._ext*) [[ -e {tmp_path}/installed ]] ;;
            *torch.version.cuda*) echo 13.0 ;;
            *torch.__version__*) echo 2.13.0 ;;
            *version_info*) echo {version} ;;
            *force-reinstall*) touch {tmp_path}/installed ;;
        esac"""
    _program(tmp_path / 'venv', 'x', '')
    _program(tmp_path / 'venv' / 'bin', 'python', python)
    cache = tmp_path / 'cache'
    environment = dict(_machine_with_a_gpu(tmp_path, nvcc='exit 0'), OPENMSRA_CACHE=str(cache), OPENMSRA_NEED_MB='1')
    done = _install('full', tmp_path, **environment)
    assert done.returncode == 2
    assert "compiled without CUDA although this machine has an NVIDIA GPU: is nvcc's version" in done.stderr
    assert list(cache.iterdir()) == []
    (tmp_path / 'installed').unlink()
    (tmp_path / 'no compiler').touch()
    done = _install('full', tmp_path, **environment, OPENMSRA_CPU_OPERATORS='1')
    assert done.returncode == 2 and "compiling mmcv's operators" in done.stderr and list(cache.iterdir()) == []
    (tmp_path / 'no compiler').unlink()
    done = _install('full', tmp_path, **environment, OPENMSRA_CPU_OPERATORS='1')
    assert done.returncode == 0, done.stderr
    assert [path.name[:16] for path in cache.iterdir()] == ['mmcv-2.3.6-torch']


def test_no_space(tmp_path):
    done = _install('light', tmp_path, OPENMSRA_NEED_MB='999999999')
    _refused(done, 'MB left, but the environment needs 999999999 MB', tmp_path)


def test_no_network(tmp_path):
    nowhere = dict(PIP_INDEX_URL='http://127.0.0.1:9/simple', PIP_EXTRA_INDEX_URL='', PIP_FIND_LINKS='')
    (tmp_path / 'venv').mkdir()
    _program(tmp_path / 'venv' / 'bin', 'python', f'exec {sys.executable} "$@"')
    done = _install('light', tmp_path, PIP_CONFIG_FILE=os.devnull, **nowhere)
    assert done.returncode == 2
    assert 'the package index cannot be reached' in done.stderr


def test_unknown_profile(tmp_path):
    _refused(_install('medium', tmp_path), "profile 'medium' is neither light nor full", tmp_path)


def test_environment_of_another_python_is_kept_and_named(tmp_path):
    _program(tmp_path / 'venv', 'x', '')
    _program(tmp_path / 'venv' / 'bin', 'python', 'echo 3.9')
    done = _install('light', tmp_path)
    assert done.returncode == 2 and 'holds Python 3.9' in done.stderr
    assert (tmp_path / 'venv' / 'x').exists()


def test_finished_environment_is_left_alone(tmp_path):
    """With the stamp of these very requirement files nothing is run at all."""
    version = f'{sys.version_info.major}.{sys.version_info.minor}'
    _program(tmp_path / 'venv', 'x', '')
    _program(tmp_path / 'venv' / 'bin', 'python', f'[[ $1 == -c ]] && echo {version} || exit 9')
    stamp = subprocess.run(
        ['bash', '-c', 'cat requirements/*.txt requirements/install.sh setup.py | cksum | cut -d" " -f1'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (tmp_path / 'venv' / '.openmsra-full').write_text(f'{stamp}-{version}')
    for profile in ('full', 'light'):
        done = _install(profile, tmp_path)
        assert done.returncode == 0 and 'is up to date' in done.stdout


class PlayedMachine:
    """A finished look of an installation: pip and Python are played by a script that notes what it is asked for.

    Args:
        configured: a line of ``pip config list``.
        uv: what a program ``uv`` does, or ``None`` where there is none.
    """

    def __init__(self, tmp_path: Path, configured: str = '', uv: str | None = None) -> None:
        self.tmp_path, self.asked = tmp_path, tmp_path / 'asked'
        python = f"""
            echo "python $*" >>{self.asked}
            case "$*" in
                *'config list'*) echo "{configured}" ;;
                *'install'*' uv') exit 1 ;;
                *version_info*) echo {sys.version_info.major}.{sys.version_info.minor} ;;
            esac"""
        _program(tmp_path / 'venv', 'x', '')
        _program(tmp_path / 'venv' / 'bin', 'python', python)
        (tmp_path / 'bin').mkdir()
        if uv is not None:
            _program(tmp_path / 'bin', 'uv', f'echo "uv $*" >>{self.asked}\n{uv}')

    def install(self, **env: str) -> tuple[subprocess.CompletedProcess, list[str]]:
        """Install light; what was said and the commands that have installed something."""
        path = os.pathsep.join([str(self.tmp_path / 'bin'), '/usr/bin', '/bin'])
        done = _install('light', self.tmp_path, PATH=path, OPENMSRA_NEED_MB='1', **env)
        asked = [line.partition(' install ') for line in self.asked.read_text().splitlines() if ' install ' in line]
        return done, [f'{who.split()[0]} {what}' for who, _, what in asked]


TORCH = '-c requirements/constraints.txt{} torch torchvision'


def test_uv_installs_and_chooses_the_build_of_torch(tmp_path):
    done, asked = PlayedMachine(tmp_path, uv='').install()
    assert done.returncode == 0, done.stderr
    python = f'--python {tmp_path}/venv/bin/python'
    assert f'uv {python} {TORCH.format(" --torch-backend=auto")}' in asked
    assert sum(line.startswith('uv ') for line in asked) == 4
    assert not [line for line in asked if line.startswith('python') and 'torch' in line]


def test_where_uv_fails_pip_goes_on_and_uv_is_not_asked_again(tmp_path):
    fails = '[[ "$*" == *torchvision* ]] && { echo "error: Failed to fetch: the index cannot be reached"; exit 2; }; exit 0'
    done, asked = PlayedMachine(tmp_path, uv=fails).install()
    assert done.returncode == 0, done.stderr
    assert 'uv could not (error: Failed to fetch: the index cannot be reached): going on with pip' in done.stdout
    first = next(number for number, line in enumerate(asked) if line == f'python {TORCH.format("")}')
    assert not [line for line in asked[first:] if line.startswith('uv ')]
    assert any('nodeps.txt' in line for line in asked[first:])


def test_no_uv_at_all(tmp_path):
    done, asked = PlayedMachine(tmp_path).install()
    assert done.returncode == 0, done.stderr
    assert 'uv is not to be had' in done.stdout and f'python {TORCH.format("")}' in asked


@pytest.mark.parametrize('configured', ["global.index-url='file:///mirror'", ":env:.find-links='/wheels'"])
def test_where_pip_is_told_where_to_look_uv_is_not_asked(tmp_path, configured):
    done, asked = PlayedMachine(tmp_path, configured, uv='').install()
    assert done.returncode == 0 and 'places of its own: installing with pip' in done.stdout
    assert not [line for line in asked if line.startswith('uv ')]
    again = tmp_path / 'again'
    again.mkdir()
    done, asked = PlayedMachine(again, configured, uv='').install(OPENMSRA_INSTALLER='uv')
    assert done.returncode == 0 and [line for line in asked if line.startswith('uv ')]


@pytest.mark.parametrize('uv', ['', None])
def test_an_index_for_torch_is_asked_whoever_installs(tmp_path, uv):
    _, asked = PlayedMachine(tmp_path, uv=uv).install(TORCH_INDEX_URL='file:///index')
    (torch,) = (line for line in asked if 'torchvision' in line)
    assert torch.endswith(TORCH.format(' --index-url file:///index')) and torch.startswith('python' if uv is None else 'uv')


def test_installers_are_named(tmp_path):
    _refused(_install('light', tmp_path, OPENMSRA_INSTALLER='conda'), 'it may be auto, uv or pip', tmp_path)
