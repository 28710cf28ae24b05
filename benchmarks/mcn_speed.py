"""MCN: the meta step, all tasks at once, against the same step task by task; 8 tasks of 4 clips (2 videos) a stage.

    r3d-18, r2plus1d-18, s3d   second order, target 0.75 of the loop with PyTorch's convolutions and batch norms
    small 2-D                  second order, target 0.55
    same convolutions          second order against the loop with the same layers (openmsra.common.convolution, .normalization)
    first order                first against second order, both vectorised, target 0.6

A step is loss and backward pass on clips already on the device; loop and vectorised step have the same loss function. Memory
is the allocator's peak above the start of the step on a GPU, and what autograd keeps for the backward passes on a CPU.
"""

import torch
from mmengine.registry import DefaultScope
from mmengine.structures import BaseDataElement

import openmsra.mcn  # noqa: F401 - registers the models
from benchmarks.memory import saved_bytes
from benchmarks.timing import interleaved, ratio
from openmsra.common.convolution import Conv2d, Conv3d
from openmsra.common.normalization import BatchNorm2d, BatchNorm3d
from openmsra.registry import MODELS
from tests.references.mcn import meta_gradient

TASKS, VIDEOS = 8, 2
TORCH_LAYERS = {ours: ours.__mro__[2] for ours in (Conv2d, Conv3d, BatchNorm2d, BatchNorm3d)}


class _Small2D(torch.nn.Module):
    """Four 3x3 convolutions on single frames (B, 3, 1, H, W)."""

    feat_dim, last_stage = 64, 'layers.9'

    def __init__(self) -> None:
        super().__init__()
        widths, layers = (3, 16, 32, 64, 64), []
        for a, b in zip(widths[:-1], widths[1:], strict=True):
            layers += [torch.nn.Conv2d(a, b, 3, stride=2, padding=1), torch.nn.GroupNorm(4, b), torch.nn.ReLU()]
        self.layers = torch.nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x[:, :, 0])[:, :, None]


MODELS.register_module('Small2D', module=_Small2D)
# backbone, frames, side. A CPU gets small clips and 3-D ResNets with one block in each stage, to be done in time.
RESNET = dict(type='VideoResNet', blocks=(1, 1, 1, 1))
ENCODERS = {
    'r3d-18': (dict(RESNET, kind='r3d'), 4, 16),
    'r2plus1d-18': (dict(RESNET, kind='r2plus1d'), 4, 16),
    's3d': (dict(type='S3D'), 8, 32),
    'small 2-D': (dict(type='Small2D'), 1, 32),
}


def run(repeats: int, device: torch.device) -> dict[str, dict]:
    """All rows; times in milliseconds, memory in MB."""
    rows = {}
    for name, (backbone, frames, side) in ENCODERS.items():
        if device.type != 'cpu' and frames > 1:
            backbone, frames, side = {key: value for key, value in backbone.items() if key != 'blocks'}, 16, 112
        second, first = _model(backbone, 'second', device), _model(backbone, 'first', device)
        plain = _with_torch_layers(_model(backbone, 'second', device))
        for model in (second, plain):
            model.load_state_dict(first.state_dict())
        clips = torch.randn(TASKS * VIDEOS, 4, 3, frames, side, side, device=device)
        sides = {
            'vectorised': lambda m=second, c=clips: _step(m, c),
            'loop': lambda m=plain, c=clips: _loop(m, c),
            'same': lambda m=second, c=clips: _loop(m, c),
            'first': lambda m=first, c=clips: _step(m, c),
        }
        times = interleaved(sides, repeats, device)
        memory = {f'{side}_mb': _peak(call, device) for side, call in sides.items()}
        shape = dict(frames=float(frames), side=float(side))
        rows[name] = {**ratio(times, 'vectorised', 'loop'), 'target': 0.55 if frames == 1 else 0.75, **shape, **memory}
        rows[f'{name}, same convolutions'] = {**ratio(times, 'vectorised', 'same'), **shape}
        rows[f'{name}, first order'] = {**ratio(times, 'first', 'vectorised'), 'target': 0.6, **shape}
    return rows


def _model(backbone: dict, order: str, device: torch.device):
    inner = dict(rate=0.01, order=order)
    config = dict(type='MCN', backbone=backbone, meta_head={}, inner=inner, tasks=TASKS, gain_interval=10**9)
    with DefaultScope.overwrite_default_scope('openmsra'):
        model = MODELS.build(config).to(device).train()
    model.iteration += 1  # the gain is measured in iteration 0
    return model


def _with_torch_layers(model):
    for module in model.modules():
        module.__class__ = TORCH_LAYERS.get(type(module), type(module))
    return model


SAMPLES = [BaseDataElement(video_id=number) for number in range(TASKS * VIDEOS)]


def _step(model, clips: torch.Tensor) -> None:
    model.zero_grad(set_to_none=True)
    model.loss(clips, SAMPLES)['loss'].backward()


def _loop(model, clips: torch.Tensor) -> None:
    """The same stages and losses, one task after the other with plain autograd."""
    ids = torch.arange(len(clips), device=clips.device)
    stages = model._stages(clips, ids)
    loss = model._loss_function(model.meta_weight)
    tasks = [[{name: _part(value, t) for name, value in stage.items()} for t in range(TASKS)] for stage in stages]
    meta_gradient(lambda parameters, task: loss(parameters, task)[0], model.trained_parameters(), *tasks, model.inner.rate)


def _part(value, task: int):
    return {name: tensor[task] for name, tensor in value.items()} if isinstance(value, dict) else value[task]


def _peak(call, device: torch.device) -> float:
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with saved_bytes() as held:
        call()
    return sum(storage.nbytes() for storage in held.values()) / 2**20
