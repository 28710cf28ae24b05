"""An accelerator made of CPU memory: tensors report the device 'standin', hold real numbers and refuse company from the CPU.

    with Accelerator():
        net.to('standin')(images.to('standin')).sum().backward()

raises where CUDA would: tensors of both devices in one operator, ``.numpy()`` of a device tensor. What makes the host wait for
the device is counted in :data:`synchronisations` with the line that asked for it: values that are read, sizes that depend on
values (``nonzero``, masks as indices). Blocking copies to the device, which wait for what is queued before them, are counted
apart, in :data:`uploads`. Every operator runs on the CPU on the held
tensors, mmcv's compiled ones and custom C++ ones included; nothing here is fast.

As on CUDA, CPU tensors may index device tensors, and zero-dimensional CPU tensors may meet them anywhere.
"""

import functools
import importlib.util
import sys
from collections import Counter
from collections.abc import Callable

import torch
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from tests.standin import autocast

NAME = 'standin'


class _Module:
    """What torch asks of the module of a device, ``torch.standin``."""

    is_available = staticmethod(lambda: True)
    is_initialized = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    current_device = staticmethod(lambda: 0)
    set_device = staticmethod(lambda device: None)
    synchronize = staticmethod(lambda device=None: None)
    _is_in_bad_fork = staticmethod(lambda: False)
    manual_seed = staticmethod(lambda seed: None)
    manual_seed_all = staticmethod(lambda seed: None)
    get_rng_state = staticmethod(lambda device=None: torch.get_rng_state())
    set_rng_state = staticmethod(lambda state, device=None: None)
    get_amp_supported_dtype = staticmethod(lambda: [torch.float16, torch.bfloat16])


_setup_privateuseone_for_python_backend(NAME, _Module())
autocast.register(NAME)
FAR, NEAR = torch.device(NAME, 0), torch.device('cpu')
# CUDA accepts indices from the CPU, and copies them over; of masks it looks for the true places first
INDEXED = {'aten::index.Tensor', 'aten::index_put_', 'aten::index_put', 'aten::_index_put_impl_'}
HOST_READS = {'aten::_local_scalar_dense', 'aten::equal', 'aten::is_nonzero'}  # .item(), bool(tensor)
UNKNOWN_SIZES = {
    'aten::nonzero',
    'aten::masked_select',
    'aten::_unique2',
    'aten::unique_dim',
    'aten::unique_consecutive',
    'aten::repeat_interleave.Tensor',
    'aten::bincount',
}
synchronisations: Counter[str] = Counter()  # 'file:line' of the code outside torch -> how often
uploads: Counter[str] = Counter()


class DeviceTensor(torch.Tensor):
    """A tensor on the stand-in, ``_held`` is its memory."""

    @staticmethod
    def __new__(cls, held: torch.Tensor):
        with torch.inference_mode(False):  # views of parameters share their version counters, which inference tensors lack
            return torch.Tensor._make_wrapper_subclass(
                cls,
                held.shape,
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                device=FAR,
                requires_grad=held.requires_grad,
            )

    def __init__(self, held: torch.Tensor) -> None:
        self._held = held

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    def tolist(self):
        _count()
        return self._held.tolist()

    def __deepcopy__(self, memo: dict):
        copied = DeviceTensor(self._held.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        elif self.requires_grad:
            copied.requires_grad_(True)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol):
        return _restored, (self._held.detach(), self.requires_grad, isinstance(self, torch.nn.Parameter))


def _restored(held: torch.Tensor, requires_grad: bool, parameter: bool) -> torch.Tensor:
    tensor = DeviceTensor(held)
    return torch.nn.Parameter(tensor, requires_grad) if parameter else tensor.requires_grad_(requires_grad)


def run(func: Callable, args: tuple, kwargs: dict):
    """One operator: on the held tensors, with the rules of CUDA about who may meet whom."""
    far, near, name = [], [], func.name()
    if name.startswith('aten::to.'):  # whole, and with the device by place, in inference mode only
        with Accelerator():
            return func.decompose(*args, **kwargs)

    def held(x):
        if isinstance(x, DeviceTensor):
            far.append(x)
            return x._held
        if isinstance(x, torch.Tensor) and x.device == NEAR:
            near.append(x)
        return x

    plain_args, plain_kwargs = tree_map(held, args), tree_map(held, kwargs)
    wanted = plain_kwargs.get('device')
    if name == 'aten::_efficientzerotensor':  # zeros without memory, which only operators above this level understand
        func, name = torch.ops.aten.zeros.default, 'aten::zeros'
    if wanted is not None or name == 'aten::_to_copy':
        target = torch.device(wanted) if wanted is not None else (FAR if far else NEAR)
        if wanted is not None:
            plain_kwargs['device'] = NEAR
        plain_kwargs.pop('pin_memory', None)
        out = func(*plain_args, **plain_kwargs)
        if far and target == NEAR:
            _count()
        elif near and target.type == FAR.type and not plain_kwargs.get('non_blocking'):
            _count(uploads)
        return tree_map(lambda t: DeviceTensor(t) if isinstance(t, torch.Tensor) and target.type == FAR.type else t, out)
    if name == 'aten::copy_':  # the one operator that crosses
        func(*plain_args, **plain_kwargs)
        if far and not isinstance(args[0], DeviceTensor):
            _count()
        elif near and isinstance(args[0], DeviceTensor) and not (kwargs.get('non_blocking') or len(args) > 2 and args[2]):
            _count(uploads)
        return args[0]
    if name in HOST_READS or name in UNKNOWN_SIZES and far:
        _count() if far else None
        if name in HOST_READS:
            return func(*plain_args, **plain_kwargs)
    if far and name in INDEXED and _looks_for_true_places(args):
        _count()
    if far and name not in INDEXED and any(t.dim() for t in near):
        shapes = [tuple(t.shape) for t in near if t.dim()]
        raise RuntimeError(f'{name}: tensors on the device meet tensors of shape {shapes} on the CPU')
    out = func(*plain_args, **plain_kwargs)
    if not far:
        return out
    known = {id(t._held): t for t in far}

    if torch.Tag.inplace_view in func.tags:  # squeeze_ and the like: the outside must get the new shape too
        with no_dispatch():
            func(*args, **kwargs)

    def wrap(t):
        if not isinstance(t, torch.Tensor):
            return t
        return known[id(t)] if id(t) in known else DeviceTensor(t)

    return tree_map(wrap, out)


def _looks_for_true_places(args: tuple) -> bool:
    """Whether indices are masks on the device, other than ``x[mask] = number``, which fills without looking."""
    masks = [x for x in args[1] if isinstance(x, DeviceTensor) and x.dtype in (torch.bool, torch.uint8)]
    return bool(masks) and not (len(args[1]) == 1 and len(args) > 2 and args[2].numel() == 1)


def _count(counter: Counter[str] = synchronisations) -> None:
    """Note the innermost line that is not torch's and not ours."""
    frame = sys._getframe(2)
    while frame is not None and ('/torch/' in frame.f_code.co_filename or frame.f_code.co_filename == __file__):
        frame = frame.f_back
    place = '?' if frame is None else f'{_short(frame.f_code.co_filename)}:{frame.f_lineno}'
    counter[place] += 1


def _short(file: str) -> str:
    return file.partition('site-packages/')[2] or '/'.join(file.split('/')[-3:])


class Accelerator(TorchDispatchMode):
    """While it is active tensors are made on the device where code asks for it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


_library = torch.library.Library('aten', 'IMPL')


def _empty(size, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
    return DeviceTensor(torch.empty(size, dtype=dtype or torch.get_default_dtype(), device='cpu'))


def _empty_strided(size, stride, dtype=None, layout=None, device=None, pin_memory=None):
    return DeviceTensor(torch.empty_strided(size, stride, dtype=dtype or torch.get_default_dtype(), device='cpu'))


def _copy_from(source, target, non_blocking=False):
    if isinstance(target, DeviceTensor) and not isinstance(source, DeviceTensor) and not non_blocking:
        _count(uploads)
    _memory(target).copy_(_memory(source))
    return target


def _memory(tensor: torch.Tensor) -> torch.Tensor:
    return tensor._held if isinstance(tensor, DeviceTensor) else tensor


# C++ code that makes tensors (torch.tensor(list, device=...)) does not pass the mode
for _name, _function in {'empty.memory_format': _empty, 'empty_strided': _empty_strided, '_copy_from': _copy_from}.items():
    _library.impl(_name, _function, 'PrivateUse1')


def use_everywhere() -> None:
    """mmengine takes the stand-in for the device of this machine."""
    import mmengine.device.utils as utils

    utils.DEVICE = NAME
    import mmengine.structures.instance_data as instance_data

    instance_data.IndexType = instance_data.IndexType | DeviceTensor
    if importlib.util.find_spec('mmcv._ext'):
        _lend_operators(importlib.import_module('mmcv._ext'))


def _lend_operators(extension) -> None:
    """mmcv's compiled functions get the held tensors, so that their CPU kernels run."""

    def lent(function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args, **kwargs):
            plain_args, plain_kwargs = tree_map(_memory, args), tree_map(_memory, kwargs)
            out = function(*plain_args, **plain_kwargs)
            far = any(isinstance(x, DeviceTensor) for x in (*args, *kwargs.values()))
            return tree_map(lambda t: DeviceTensor(t) if far and isinstance(t, torch.Tensor) else t, out)

        return call

    for name, function in vars(extension).items():
        if callable(function) and not name.startswith('_'):
            setattr(extension, name, lent(function))
