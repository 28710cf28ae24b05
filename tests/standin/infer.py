"""The inferencer of a config on the CPU and on the stand-in:  python tests/standin/infer.py CONFIG CHECKPOINT FOLDER

Ends with exit code 1 and the first difference when the rows are not equal.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.standin import device  # noqa: E402


def main() -> None:
    config, checkpoint, folder = map(Path, sys.argv[1:])
    options, inputs, call = CALLS[config.parent.name](folder)
    from openmsra.apis import init_inferencer

    expected = init_inferencer(config, checkpoint, 'cpu', **options)(inputs, **call)
    device.use_everywhere()
    with device.Accelerator():
        infer = init_inferencer(config, checkpoint, device.NAME, **options)
        assert {parameter.device.type for parameter in infer.model.parameters()} == {device.NAME}
        rows = infer(inputs, **call)
    assert expected
    require_equal(plain(expected), plain(rows), 'rows')


def _images(folder: Path, size: tuple[int, int] = (64, 64)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), size) for _ in range(3)]


def _autoformer(folder: Path) -> tuple[dict, list, dict]:
    return dict(arch='middle'), [image[..., 0] for image in _images(folder, (8, 8))], dict(topk=3)


def _ckdn(folder: Path) -> tuple[dict, list, dict]:
    files = [folder / f'{number}.png' for number in range(3)]
    for file, image in zip(files, _images(folder, (320, 320)), strict=True):
        cv2.imwrite(str(file), image)
    return {}, [(files[0], files[1]), (files[2], files[1])], {}


def _ftcn(folder: Path) -> tuple[dict, list, dict]:
    return {}, [(image, number / 25) for number, image in enumerate(_images(folder) * 4)], dict(name='generated')


def _maskco(folder: Path) -> tuple[dict, list, dict]:
    return dict(size=32), _images(folder), dict(boxes=[[[4, 4, 40, 60]], [[0, 0, 64, 64], [8, 16, 32, 48]], []])


def _mcn(folder: Path) -> tuple[dict, Path, dict]:
    writer = cv2.VideoWriter(str(folder / 'generated.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 25, (64, 64))
    for image in _images(folder) * 6:
        writer.write(image)
    writer.release()
    return {}, folder / 'generated.avi', {}


def _soft_teacher(folder: Path) -> tuple[dict, list, dict]:
    return {}, _images(folder, (96, 64)), {}


CALLS: dict[str, Callable] = {
    'autoformer': _autoformer,
    'ckdn': _ckdn,
    'ftcn': _ftcn,
    'maskco': _maskco,
    'mcn': _mcn,
    'soft_teacher': _soft_teacher,
}


def plain(value):
    """Nested dictionaries and lists of numbers, texts and arrays."""
    if hasattr(value, '__dict__'):
        return {name: plain(item) for name, item in vars(value).items()}
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def require_equal(expected, got, where: str) -> None:
    """Exit with the place of the first difference.

    Raises:
        SystemExit: there is one.
    """
    if isinstance(expected, dict | list):
        keys = list(expected) if isinstance(expected, dict) else range(len(expected))
        if len(expected) != len(got):
            sys.exit(f'{where}: {expected} became {got}')
        for key in keys:
            require_equal(expected[key], got[key], f'{where}.{key}')
    elif isinstance(got, torch.Tensor) or not np.array_equal(expected, got):
        sys.exit(f'{where}: {expected!r} became {got!r}')


if __name__ == '__main__':
    main()
