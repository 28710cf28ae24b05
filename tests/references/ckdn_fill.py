"""Weights of the CKDN oracles, and its two images: every value follows from name, shape or seed (numpy only)."""

import zlib

import numpy as np

from tests.references.oracle_fill import fill


def fill_ckdn(key: str, shape: list[int]) -> np.ndarray:
    """One tensor of the oracle weights; batch norm statistics have rules of their own."""
    if key.endswith('num_batches_tracked'):
        return np.zeros(shape, dtype=np.int64)
    if key.endswith(('running_mean', 'running_var')):
        normal = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()))).standard_normal(shape)
        return (0.1 * normal if key.endswith('mean') else 1 + 0.2 * np.abs(normal)).astype(np.float32)
    return fill(key, shape)


def synthetic_image(height: int, width: int, seed: int) -> np.ndarray:
    """RGB (H, W, 3) uint8: sines with noise."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal((height, width, 3))
    waves = [127.5 + 127.5 * np.sin(2 * np.pi * (x * (c + 1) / width + y * (3 - c) / height)) for c in range(3)]
    return np.clip(np.rint(np.stack(waves, axis=2) + 20 * noise), 0, 255).astype(np.uint8)
