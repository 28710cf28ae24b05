"""Memory of one training step of each MCN recipe, counted with fake tensors.  python benchmarks/mcn_memory.py

Every tensor that an operation makes counts from when it is made until nothing refers to it: weights, gradients, momentum of the
optimiser, activations, temporaries of our code. What a GPU adds (workspace of cuDNN, fragmentation, its context: 2 to 4 GB)
does not. The step has the recipe's clips, batch of a GPU, precision and negatives. Nothing is computed, so this takes seconds.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
from mmengine.registry import DefaultScope
from mmengine.structures import BaseDataElement
from torch._subclasses.fake_tensor import FakeTensorMode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.memory import GIB, LiveBytes  # noqa: E402
from openmsra.engine.config.files import load_config  # noqa: E402

CONFIGS = ROOT / 'configs/mcn'


def step_bytes(config: str | Path, options: dict | None = None) -> int:
    """Peak bytes of a training step of a pre-training config."""
    from openmsra.registry import MODELS

    cfg = load_config(config)
    cfg.merge_from_dict(options or {})
    dataset = cfg.train_dataloader.dataset
    videos, side = cfg.train_dataloader.batch_size, 112
    memory, samples = LiveBytes(), [BaseDataElement(video_id=number) for number in range(videos)]
    dtype = getattr(torch, cfg.optim_wrapper.get('dtype') or 'float16') if 'Amp' in cfg.optim_wrapper.get('type', '') else None
    with DefaultScope.overwrite_default_scope('openmsra'):
        model = MODELS.build(cfg.model).train()
    for tensor in (*model.parameters(), *model.buffers()):
        memory.count(tensor)
    with FakeTensorMode(allow_non_fake_inputs=True), _without_questions(), memory:
        parameters = [value for value in model.parameters() if value.requires_grad]
        momentum = [torch.empty_like(value) for value in parameters]
        clips = torch.empty(videos, dataset.clips, 3, dataset.clip_len, side, side)
        with torch.autocast('cpu', dtype, enabled=dtype is not None):
            losses = model.loss(clips, samples)
        torch.autograd.grad(losses['loss'], parameters)
    del momentum
    return memory.peak


@contextmanager
def _without_questions() -> Iterator[None]:
    """What asks for values, of which fake tensors have none: which iteration it is, which rows of a memory bank are free."""
    with (
        patch('openmsra.mcn.negatives.MemoryBank._rows', lambda bank, ids: torch.zeros_like(ids)),
        patch('openmsra.mcn.model.MCN._iterations_done', property(lambda self: 1_000_001)),  # after a warm-up, no gain measured
    ):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', default='', help='configs whose name contains this')
    args = parser.parse_args()
    import openmsra.mcn  # noqa: F401 - registers the models

    print('| recipe | GiB a GPU | keeping all activations |\n|---|---|---|')
    for path in sorted(CONFIGS.glob('*_8xb*-*00e_*.py')):
        if path.name.startswith(('mcn', 'moco', 'contrastive', 'multitask')) and args.only in path.name:
            whole = step_bytes(path, {'model.backbone.recompute': False, 'optim_wrapper': dict(type='OptimWrapper', dtype=None)})
            print(f'| {path.stem} | {step_bytes(path) / GIB:.1f} | {whole / GIB:.1f} |', flush=True)


if __name__ == '__main__':
    main()
