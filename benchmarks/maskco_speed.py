"""MaskCo: a training step against mmpretrain's MoCo v2 with the same images, backbone, projection and queue.

    maskco   MaskCo as configured (mask, head, RoIAlign, four negatives of the same image), target 1.10
    mocov2   our MoCo v2 mode, target 1.0

A step is loss, backward pass and SGD, on batches already on the device. On the CPU images are smaller, to be done in time; the
share of the mask prediction head in the floating-point operations does not depend on it. The batch is 16, since torch
convolves smaller ones on one thread by a slow path.
"""

import copy

import torch

import openmsra.maskco  # noqa: F401 - registers the models
from benchmarks.timing import interleaved, ratio
from openmsra.registry import MODELS

NECK = dict(type='mmpretrain.MoCoV2Neck', in_channels=2048, hid_channels=2048, out_channels=128)


def run(repeats: int, device: torch.device) -> dict[str, dict]:
    """All rows; times in milliseconds."""
    batch, size, queue = (16, 128, 65536) if device.type == 'cpu' else (64, 224, 65536)
    views = [torch.randn(batch, 3, size, size, device=device) for _ in range(2)]
    steps = {name: _step(net, views) for name, net in _networks(queue, device).items()}
    times = interleaved(steps, repeats, device)
    settings = dict(batch=float(batch), side=float(size), queue=float(queue))
    return {
        'maskco': {**ratio(times, 'maskco', 'mmpretrain'), 'target': 1.10, **settings},
        'mocov2': {**ratio(times, 'mocov2', 'mmpretrain'), 'target': 1.0, **settings},
    }


def _networks(queue: int, device: torch.device) -> dict[str, torch.nn.Module]:
    backbone = dict(type='mmpretrain.ResNet', depth=50, norm_cfg=dict(type='BN'))
    head = dict(type='mmpretrain.ContrastiveHead', loss=dict(type='mmpretrain.CrossEntropyLoss'), temperature=0.2)
    ours = dict(type='MaskCo', backbone=backbone, neck=dict(NECK, with_avg_pool=False), queue_len=queue)
    configs = dict(
        maskco=dict(ours, mph=dict(type='MaskPredictionHead', channels=2048)),
        mocov2=dict(ours, region='view', mask=None),
        mmpretrain=dict(
            type='mmpretrain.MoCo',
            backbone=backbone,
            neck=dict(NECK, with_avg_pool=True),
            head=head,
            queue_len=queue,
            data_preprocessor=dict(type='mmpretrain.SelfSupDataPreprocessor'),
        ),
    )
    return {name: MODELS.build(copy.deepcopy(config)).to(device).train() for name, config in configs.items()}


def _step(net: torch.nn.Module, views: list[torch.Tensor]):
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 1e-4, momentum=0.9)
    count, size = len(views[0]), views[0].shape[-1]
    boxes = torch.tensor([0.2, 0.3, 0.6, 0.8], device=views[0].device).mul(size).expand(count, 1, 4)
    regions = dict(
        query=boxes,
        key=boxes,
        negatives=boxes.expand(-1, 4, -1),
        redraws=torch.zeros(count),
        valid=torch.ones(count, 4, dtype=torch.bool, device=boxes.device),
    )

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        net.loss(views, regions)['loss'].backward()
        optimiser.step()

    return step
