"""What the data look like: readable files, sizes, splits, copies in two parts; and what the machine has."""

import hashlib
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openmsra.errors import DataError, ImageError

DECODED = 300  # files that are decoded completely; of the others the headers are read
SEED = 0  # of all random choices: the same data give the same lists


@dataclass
class Report:
    """What is printed at the end: facts about the data, and what a user should know before the training."""

    facts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Machine:
    """What a training can count on.

    Attributes:
        gpus: number of GPUs; 0 trains on the CPU.
        memory: of each GPU in GB.
        workers: data workers of a process.
    """

    gpus: int
    memory: float
    workers: int


def machine(size: str) -> Machine:
    """This machine, or what ``--size`` asks for: 'small' counts on no GPU, 'full' on at least one."""
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30 if gpus else 24.0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    gpus = {'small': 0, 'full': max(gpus, 1)}.get(size, gpus)
    return Machine(gpus, memory, min(8, max(1, cores // max(gpus, 1) - 1)) if cores > 2 else 1)


def readable_images(paths: Iterable[Path], report: Report, least_side: int = 8) -> dict[Path, tuple[int, int]]:
    """(width, height) of the images that can be read; the others are counted and named in the report.

    Raises:
        DataError: none can be read.
    """
    from openmsra.common.images import read_rgb, upright_size

    paths = list(paths)
    decoded = set(random.Random(SEED).sample(range(len(paths)), min(DECODED, len(paths))))
    sizes, faults = {}, []
    for number, path in enumerate(paths):
        try:
            size = upright_size(path)
            if number in decoded:
                read_rgb(path)
            if min(size) < least_side:
                raise ImageError(f'{path}: {size[0]} x {size[1]} pixels, smaller than {least_side}.')
        except ImageError as error:
            faults.append(str(error))
        else:
            sizes[path] = size
    report_faults(faults, len(paths), 'images', report)
    return sizes


def report_faults(faults: list[str], total: int, kind: str, report: Report) -> None:
    """Name what cannot be used.

    Raises:
        DataError: nothing can.
    """
    if faults and len(faults) == total:
        raise DataError(f'none of the {total} {kind} can be used; the first: {faults[0]}')
    if faults:
        shown = '; '.join(faults[:3])
        report.warnings.append(f'{len(faults)} of {total} {kind} cannot be used and are left out: {shown}')


def median(values: Iterable[float]) -> float:
    """The middle value, the upper one of two."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of all lie."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def hold_out(rows: list, share: float, group: Callable) -> tuple[list, list]:
    """(training, held out): about ``share`` of each group, at random but always the same, at least one where there are two."""
    groups = defaultdict(list)
    for row in rows:
        groups[group(row)].append(row)
    training, held_out = [], []
    for key in sorted(groups, key=str):
        members = sorted(groups[key], key=str)
        random.Random(f'{SEED}{key}').shuffle(members)
        count = min(len(members) - 1, max(1, round(share * len(members))))
        held_out += members[:count]
        training += members[count:]
    return training, held_out


def copies(parts: dict[str, Iterable[Path]]) -> list[tuple[str, Path, str, Path]]:
    """Files of one part whose content is also in another: (part, file, other part, file there).

    Only files of one size are read.
    """
    by_size = defaultdict(list)
    for part, files in parts.items():
        for file in files:
            by_size[file.stat().st_size].append((part, file))
    pairs = []
    for rows in by_size.values():
        if len({part for part, _ in rows}) < 2:
            continue
        first: dict[str, tuple[str, Path]] = {}
        for part, file in rows:
            digest = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
            other, place = first.setdefault(digest, (part, file))
            if other != part:
                pairs.append((part, file, other, place))
    return pairs


def report_copies(parts: dict[str, Iterable[Path]], report: Report) -> None:
    """Warn of files that are in two parts: figures of the second part would be too good."""
    pairs = copies(parts)
    if pairs:
        part, file, other, place = pairs[0]
        report.warnings.append(
            f'{len(pairs)} files are in two parts, such as {file} ({part}) and {place} ({other}): what is measured on them says '
            'nothing about new data. Remove them from one part.'
        )


def write_lines(file: Path, lines: Iterable[str]) -> Path:
    """A list beside the config."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
    return file


def rounded(value: float, step: int, least: int) -> int:
    """``value`` to a multiple of ``step``, not below ``least``."""
    return max(least, int(round(value / step)) * step)


def schedule(samples: int, batch: int, iterations: int, fewest: int = 4, most: int = 400) -> int:
    """Epochs in which about ``iterations`` steps are taken."""
    return max(fewest, min(most, round(iterations * batch / max(samples, 1))))
