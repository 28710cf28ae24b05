"""The published recipes as benchmarks and checks need them: which there are, without their files, with a batch of their data."""

import copy
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict

ROOT = Path(__file__).resolve().parents[1]


def published(paper: str | None = None) -> list[Path]:
    """Config files of a published size, all papers' or one's, sorted; mmdet's detectors of MaskCo are not among them."""
    files = sorted(ROOT.glob(f'configs/{paper or "*"}/*.py'))
    return [
        file
        for file in files
        if not file.name.startswith('_') and file.parent.name != '_base_' and not file.stem.endswith(('_mini', '_instant'))
    ]


def without_weights(value):
    """A copy of a model config that starts from no file."""
    if isinstance(value, dict):
        kept = ConfigDict({key: without_weights(child) for key, child in value.items()})
        if isinstance(kept.get('init_cfg'), dict) and kept['init_cfg'].get('type') == 'Pretrained':
            kept['init_cfg'] = None
        for key in ('pretrained', 'imagenet_weights'):
            if isinstance(kept.get(key), str):
                kept[key] = None
        return kept
    return type(value)(map(without_weights, value)) if isinstance(value, list | tuple) else copy.copy(value)


def shrink_batch(cfg: Config, batch: int) -> None:
    """Set the size of the training batch, and of the sampler that draws it from two sources."""
    cfg.train_dataloader.batch_size = batch
    if 'source_ratio' in cfg.train_dataloader.sampler:
        cfg.train_dataloader.sampler.update(batch_size=batch, source_ratio=[1, 1] if batch > 1 else [1, 0])


def use_bfloat16(cfg: Config) -> None:
    """Mixed precision that a CPU has too."""
    if 'Amp' in cfg.optim_wrapper.get('type', ''):
        cfg.optim_wrapper.dtype = 'bfloat16'


def batch_of(loader, size: int) -> dict:
    """A batch of ``size`` samples through the collate function, of two samples repeated.

    Of a loader that draws from several sources, the first sample of each, in their shares.
    """
    if hasattr(loader.sampler, 'members'):
        firsts = [members[0] for members in loader.sampler.members]
        indices = [firsts[k] for k in np.searchsorted(np.cumsum(loader.sampler.weights), (np.arange(size) + 0.5) / size)]
    else:
        first = next(iter(loader.batch_sampler))
        indices = [getattr(first[-(k % 2)], 'index', first[-(k % 2)]) for k in range(size)]
    samples = {index: loader.dataset[index] for index in sorted(set(indices))}
    return loader.collate_fn([copy.deepcopy(samples[index]) for index in indices])


def fix_largest(model: torch.nn.Module) -> None:
    """Let a supernet train its largest network in every step: what memory has to be there for."""
    if hasattr(model, 'sample_subnets'):
        largest = model.space.largest()
        model._next_subnets = lambda: {'': largest}


def gradient_step(model: torch.nn.Module, data: dict) -> dict[str, float]:
    """Loss and norm of its gradient in evaluation mode, where nothing is drawn; the same on every device."""
    model.eval()
    model.zero_grad(set_to_none=True)
    prepared = model.data_preprocessor(data, True)
    losses = model(**prepared, mode='loss') if isinstance(prepared, dict) else model(*prepared, mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    squares = [parameter.grad.double().square().sum() for parameter in model.parameters() if parameter.grad is not None]
    return dict(loss=float(loss), gradient_norm=float(torch.stack([square.cpu() for square in squares]).sum().sqrt()))
