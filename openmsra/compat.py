"""The one place that knows versions and quirks of neighbours.

Each bridge acts only where it is needed; ``tests/test_compat.py`` fails when one is needed no longer.
"""

import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch

from openmsra.resources import PREFIX, base_file

# torchvision 0.28 registers fake kernels for these operators at import, and only these, without asking whether its
# compiled library could be loaded. That library is built against CUDA torch: on a CPU-only torch it cannot be.
_TORCHVISION_SCHEMAS = (
    'nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
    'qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
)
_MMACTION_MMCV_LIMIT = '2.1.0'  # the newest mmcv that mmaction2 1.2.0 accepts by its version number
_MMACTION_MISSING = 'mmaction.models.localizers.drn'


@cache
def bridge_torchvision() -> bool:
    """Make ``import torchvision`` work on a CPU-only torch; the Python transforms are all that is used of it.

    Returns:
        whether the bridge was needed.
    """
    if not _torchvision_lacks_operators():
        return False
    library = torch.library.Library('torchvision', 'DEF')
    for schema in _TORCHVISION_SCHEMAS:
        library.define(schema)
    bridge_torchvision.library = library  # the schemas live as long as this object
    for name in [name for name in sys.modules if name.partition('.')[0] == 'torchvision']:
        del sys.modules[name]  # what the failed import has left half done
    importlib.import_module('torchvision')
    return True


def leave_out_multimodal() -> None:
    """Let a later import of mmpretrain, mmdet's included, skip its models of images and text, which no paper uses.

    Where transformers 5 is installed, for whatever else, they end the import.
    """
    if importlib.util.find_spec('mmpretrain') is not None:
        importlib.import_module('mmpretrain.utils.dependency').WITH_MULTIMODAL = False


@cache
def import_mmpretrain(suffixes: tuple[str, ...] = ()) -> bool:
    """Import mmpretrain without what it would load for models that no paper uses, and let its folders of classes be ours.

    - mmdet, whole, with Matplotlib, scikit-learn and scikit-image, for one layer. Where it is imported already, it stays.
    - transformers, for models of images and text; they do not import at all beside transformers 5.

    Its data sets of folders take each folder for a class, ``.ipynb_checkpoints`` too, which shifts the numbers of all classes
    behind it, and read what lies in hidden folders; of images they know seven suffixes.

    Args:
        suffixes: more suffixes of images.

    Returns:
        whether mmdet was kept out.
    """
    bridge_torchvision()
    keep_out = 'mmpretrain' not in sys.modules and 'mmdet' not in sys.modules
    if keep_out:
        sys.modules['mmdet'] = None  # an import of it then fails, which mmpretrain is prepared for
    try:
        leave_out_multimodal()
        with quiet_imports():
            for name in ('datasets', 'evaluation', 'models'):
                importlib.import_module(f'mmpretrain.{name}')
    finally:
        if keep_out:
            del sys.modules['mmdet']
    custom = importlib.import_module('mmpretrain.datasets.custom')
    find_folders, get_samples = custom.find_folders, custom.get_samples

    def visible_folders(root: str, *args) -> tuple[list[str], dict[str, int]]:
        folders = [name for name in find_folders(root, *args)[0] if not name.startswith('.')]
        return folders, {name: number for number, name in enumerate(folders)}

    def visible_samples(root: str, folder_to_idx: dict, is_valid_file: Callable, *args) -> tuple[list, set]:
        def is_valid(name: str) -> bool:
            hidden = any(part.startswith('.') for part in name.split('/'))
            return not hidden and (is_valid_file(name) or name.lower().endswith(suffixes))

        return get_samples(root, folder_to_idx, is_valid, *args)

    custom.find_folders, custom.get_samples = visible_folders, visible_samples
    return keep_out


def _torchvision_lacks_operators() -> bool:
    try:
        importlib.import_module('torchvision')
    except RuntimeError as error:
        if 'torchvision::nms does not exist' not in str(error):
            raise
        return True
    return False


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Import siblings without what they say about packages that nothing here uses, and about metrics that are not theirs."""
    import mmengine.logging

    original = mmengine.logging.print_log

    def print_log(message: object, *args, **kwargs) -> None:
        if 'Could not import OneDL' not in str(message):
            original(message, *args, **kwargs)

    mmengine.logging.print_log = print_log
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'faster_coco_eval is not installed')
            warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')  # mmcv without operators
            yield
    finally:
        mmengine.logging.print_log = original


@cache
def format_configs_once() -> None:
    """Let mmengine format a config once.

    It formats the whole text anew for the log, for each visualizer and for each checkpoint, which takes more than a second
    with a detector.
    """
    from yapf.yapflib import yapf_api

    original, known = yapf_api.FormatCode, {}

    def remembered(text: str, **options):
        key = text, repr(options)
        if key not in known:
            known[key] = original(text, **options)
        return known[key]

    yapf_api.FormatCode = remembered


@cache
def let_configs_inherit_ours() -> None:
    """Let ``_base_`` name our configs as ``openmsra::paper/config.py``; mmengine does so for OpenMMLab's packages alone.

    A config of a user then inherits from openmsra wherever either of them lies.
    """
    from mmengine.config import Config

    original = Config._get_cfg_path

    def path_of(name: str, filename: str) -> tuple[str, str | None]:
        return (str(base_file(name)), None) if name.startswith(PREFIX) else original(name, filename)

    Config._get_cfg_path = staticmethod(path_of)


@cache
def bridge_mmaction() -> bool:
    """Make ``import mmaction.models`` work with today's mmcv: version gate and a sub-package its wheel lacks.

    Returns:
        whether a bridge was needed.
    """
    bridge_torchvision()
    gate = _mmaction_gate_is_closed()
    with _mmcv_version(_MMACTION_MMCV_LIMIT) if gate else _nothing():
        importlib.import_module('mmaction')
    missing = importlib.util.find_spec(_MMACTION_MISSING.rpartition('.')[0].rpartition('.')[0]) is not None and (
        not _mmaction_ships_drn()
    )
    if missing:
        _supply_missing_drn()
    return gate or missing


def _mmaction_gate_is_closed() -> bool:
    import mmcv
    from mmengine.utils import digit_version

    return digit_version(mmcv.__version__) >= digit_version('2.2.0')


def _mmaction_ships_drn() -> bool:
    spec = importlib.util.find_spec('mmaction')
    return any((location / 'drn' / 'drn.py').is_file() for location in _localizer_folders(spec))


def _localizer_folders(spec: importlib.machinery.ModuleSpec):
    from pathlib import Path

    return [Path(folder) / 'models' / 'localizers' for folder in spec.submodule_search_locations]


def _supply_missing_drn() -> None:
    class DRN:
        """Stands for the localizer that mmaction2's wheel forgot to ship; building it is an error."""

        def __init__(self, *args, **kwargs) -> None:
            raise ImportError('DRN is not part of the mmaction2 1.2.0 wheel; install mmaction2 from source to use it.')

    package, module = types.ModuleType(_MMACTION_MISSING), types.ModuleType(f'{_MMACTION_MISSING}.drn')
    package.__path__, module.DRN = [], DRN
    sys.modules.update({package.__name__: package, module.__name__: module})


@contextmanager
def _mmcv_version(version: str):
    import mmcv

    true_version, mmcv.__version__ = mmcv.__version__, version
    try:
        yield
    finally:
        mmcv.__version__ = true_version


@contextmanager
def _nothing():
    yield
