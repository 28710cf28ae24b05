"""Weights and inputs of the oracles: every value follows from the name and shape of its tensor (numpy only)."""

import zlib

import numpy as np


def _normal(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)


def fill(key: str, shape: list[int], strong: bool = False) -> np.ndarray:
    """One tensor of the oracle weights.

    ``strong`` multiplies tokens and tables by 25 and negates every second norm scale: with the normal fill some
    mistakes (class row of the tables, exact GELU) are nearly invisible.
    """
    normal = _normal(zlib.crc32(key.encode()), tuple(shape))
    if key.endswith('.weight') and len(shape) >= 2:
        value = normal / np.sqrt(np.prod(shape[1:]))
    elif key.endswith('.weight'):
        value = 1 + 0.1 * normal
    elif key.endswith('.bias'):
        value = 0.1 * normal
    else:
        value = 0.02 * normal
    value = value.astype(np.float32)
    if strong and key.endswith('.weight') and len(shape) == 1:
        value[1::2] *= -1
    if strong and not key.endswith(('.weight', '.bias')):
        value = (value * np.float32(25)).astype(np.float32)
    return value


def oracle_input(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Standard normal input."""
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape, dtype=np.float32)
