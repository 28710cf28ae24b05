"""Random numbers that can be put aside and taken up again: of Python, numpy, torch and the current CUDA device."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def capture() -> dict[str, Any]:
    """State of all generators of this process, in tensors and plain containers."""
    name, keys, *rest = np.random.get_state()
    state = dict(
        python=random.getstate(),
        numpy=(name, torch.from_numpy(keys.astype(np.int64)), *rest),
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def restore(state: dict[str, Any]) -> None:
    """Set all generators to what :func:`capture` has returned."""
    version, numbers, gauss = state['python']
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = state['numpy']
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def isolated() -> Iterator[None]:
    """Random numbers drawn inside leave no trace outside (on the CPU: data are loaded there)."""
    python, numpy, torch_state = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_state)


def seed_sample(*key: int) -> None:
    """Seed the CPU generators with a function of ``key``, for example (seed, epoch, place, index)."""
    digest = _digest(key)
    np.random.seed(int.from_bytes(digest[:4], 'big'))
    random.seed(int.from_bytes(digest[4:12], 'big'))
    torch.default_generator.manual_seed(int.from_bytes(digest[12:], 'big') >> 1)


def number_below(count: int, *key: int) -> int:
    """A number in [0, count) that is a function of ``key``."""
    return int.from_bytes(_digest(key)[:8], 'big') % count


def _digest(key: tuple[int, ...]) -> bytes:
    return hashlib.blake2b(repr(key).encode(), digest_size=20).digest()
