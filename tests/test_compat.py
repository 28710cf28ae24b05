"""The bridges of openmsra.compat work, and each is still needed: where one is not, delete it."""

import subprocess
import sys

import pytest
import torch

from openmsra import compat


def _python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(torch.version.cuda is not None, reason='only a CPU-only torch lacks the operators')
def test_torchvision_bridge_is_still_needed():
    done = _python('import torchvision')
    assert done.returncode != 0, 'torchvision imports on a CPU-only torch: delete bridge_torchvision'
    assert 'torchvision::nms does not exist' in done.stderr


def test_torchvision_imports_behind_the_bridge():
    done = _python(
        'from openmsra import compat; compat.bridge_torchvision(); '
        'from torchvision.transforms.functional import hflip; import torch; '
        'print(hflip(torch.arange(3.)[None, None]).tolist())'
    )
    assert done.stdout.strip() == '[[[2.0, 1.0, 0.0]]]', done.stderr


HEAVY = "[name for name in ('mmdet', 'matplotlib', 'sklearn', 'skimage') if sys.modules.get(name)]"


def test_mmpretrain_still_loads_what_import_mmpretrain_keeps_out():
    code = 'import sys; from openmsra import compat; compat.{call}(); import mmpretrain.models; print({heavy})'
    whole = _python(code.format(call='bridge_torchvision', heavy=HEAVY))
    alone = _python(code.format(call='import_mmpretrain', heavy=HEAVY) + '; import mmdet')
    assert alone.stdout.splitlines()[-1] == '[]' and alone.returncode == 0, alone.stderr
    pytest.importorskip('mmdet')
    assert "'mmdet'" in whole.stdout, 'mmpretrain loads no mmdet any more: delete import_mmpretrain'


@pytest.mark.parametrize(
    ('imported', 'works'),
    [
        ('from openmsra import compat; compat.bridge_torchvision(); import mmpretrain.models', False),
        ('from openmsra import compat; compat.import_mmpretrain(); import mmpretrain.models', True),
        *((f'import openmsra.{paper}', True) for paper in ('autoformer', 'ckdn', 'ftcn', 'maskco', 'mcn')),
        pytest.param('import openmsra.soft_teacher', True, marks=pytest.mark.full),
    ],
)
def test_imports_beside_transformers_5(imported, works, tmp_path):
    """A package of that name and version, without the names that transformers 5 has dropped."""
    pytest.importorskip('pycocotools')
    (tmp_path / 'transformers').mkdir()
    (tmp_path / 'transformers/__init__.py').write_text("__version__ = '5.17.0'\n")
    metadata = tmp_path / 'transformers-5.17.0.dist-info/METADATA'
    metadata.parent.mkdir()
    metadata.write_text('Metadata-Version: 2.1\nName: transformers\nVersion: 5.17.0\n')
    done = _python(f'import sys; sys.path.insert(0, {str(tmp_path)!r}); {imported}')
    assert (done.returncode == 0) == works, done.stderr


def test_mmaction_version_gate_is_still_needed():
    done = _python('from openmsra import compat; compat.bridge_torchvision(); import mmaction')
    assert 'MMCV' in done.stderr, 'mmaction accepts this mmcv: delete the version gate from bridge_mmaction'


def test_mmaction_still_lacks_drn():
    assert not compat._mmaction_ships_drn(), 'mmaction ships localizers/drn: delete its stand-in from bridge_mmaction'


def test_mmaction_imports_behind_the_bridge_and_mmcv_keeps_its_version():
    done = _python(
        'import mmcv; before = mmcv.__version__\n'
        'from openmsra import compat; print(compat.bridge_mmaction())\n'
        'import mmaction.models, mmaction.datasets\n'
        'assert mmcv.__version__ == before\n'
        'try:\n    mmaction.models.localizers.DRN()\n'
        "except ImportError as error:\n    assert 'mmaction2' in str(error)\n"
        "else:\n    raise AssertionError('the stand-in for DRN was built')\n"
    )
    assert done.returncode == 0, done.stderr
    assert 'True' in done.stdout.splitlines()


def test_config_is_formatted_once_and_alike():
    done = _python(
        'from mmengine.config import Config\n'
        'from yapf.yapflib import yapf_api\n'
        'calls, original = [], yapf_api.FormatCode\n'
        'yapf_api.FormatCode = lambda *args, **kwargs: calls.append(1) or original(*args, **kwargs)\n'
        'cfg = Config(dict(a=1, b=dict(c=list(range(60)))))\n'
        'before = [cfg.pretty_text, cfg.pretty_text]\n'
        'assert len(calls) == 2, "mmengine remembers the text itself: delete format_configs_once"\n'
        'from openmsra import compat; compat.format_configs_once()\n'
        'assert [cfg.pretty_text, cfg.pretty_text] == before and len(calls) == 3\n'
        'cfg.a = 2\n'
        'assert "a = 2" in cfg.pretty_text and len(calls) == 4\n'
    )
    assert done.returncode == 0, done.stderr


def test_cuda_build_without_a_gpu_says_nothing_before_us(tmp_path):
    """torch warns as it is imported, where it is built for CUDA and there is nvcc, but no GPU: played here on any build."""
    code = (
        f"import os; os.environ['CUDA_HOME'] = {str(tmp_path)!r}\n"
        "{first}import torch; torch.version.cuda = '13.0'; torch.cuda._is_compiled = lambda: True\n"
        'torch.cuda.is_available = lambda: False\n'
        "import torch.utils.cpp_extension as extension; print(extension.CUDA_HOME); extension.logger.warning('another')"
    )
    alone, ours = (_python(code.format(first=first)) for first in ('', 'import openmsra; '))
    assert 'No CUDA runtime is found' in alone.stderr, 'torch says it no longer: delete the filter in openmsra/__init__.py'
    assert ours.stdout.strip() == str(tmp_path)
    assert 'No CUDA runtime' not in ours.stderr and 'another' in ours.stderr
