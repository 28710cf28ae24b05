"""Which restored image belongs to which degraded one: by relative path, extensions may differ."""

import re
from pathlib import Path

from openmsra.common.files import visible_folders
from openmsra.common.images import images_of, list_images
from openmsra.errors import PairError

DEGRADED_NAMES = re.compile(r'(?<![a-z])(degraded|lq|lr|inputs?|noisy|blurred|blurry|low)(?![a-z])', re.I)
RESTORED_NAMES = re.compile(r'(?<![a-z])(restored|sr|outputs?|results?|enhanced|denoised|deblurred)(?![a-z])', re.I)


def images_by_stem(place: Path | list[Path]) -> dict[str, Path]:
    """Images of a folder by relative path without extension; a single file has the key ''.

    Of several places the images go by their names alone.

    Raises:
        PairError: a place does not exist, or two images share a stem.
    """
    if isinstance(place, list):
        if len(place) > 1:
            return _by_name(place)
        place = place[0]
    if place.is_file():
        return {'': place}
    if not place.is_dir():
        raise PairError(f'{place}: there is no such file or folder.')
    found: dict[str, Path] = {}
    for path in list_images(place):
        stem = path.relative_to(place).with_suffix('').as_posix()
        if stem in found:
            raise PairError(f'{path} and {found[stem]} have one stem; keep one of them.')
        found[stem] = path
    return found


def _by_name(places: list[Path]) -> dict[str, Path]:
    images: dict[str, Path] = {}
    for path in list_images(places):
        if path.stem in images:
            raise PairError(f'{path} and {images[path.stem]} have one stem; keep one of them, or name their folder alone.')
        images[path.stem] = path
    return images


def match(restored: dict[str, Path], degraded: dict[str, Path], allow_missing: bool) -> dict[str, tuple[Path, Path]]:
    """Pairs (restored, degraded) by stem.

    Raises:
        PairError: partners are missing and that is not allowed, or nothing pairs up.
    """
    orphans = sorted(
        map(
            str,
            [restored[k] for k in restored.keys() - degraded.keys()] + [degraded[k] for k in degraded.keys() - restored.keys()],
        )
    )
    if orphans:
        message = f'{len(orphans)} image(s) without partner: {", ".join(orphans[:20])}'
        if not allow_missing:
            raise PairError(f'{message}. Add them or pass --allow-missing.')
        print(message)
    common = sorted(restored.keys() & degraded.keys())
    if not common:
        raise PairError('no restored image has a degraded partner of the same relative path.')
    return {key: (restored[key], degraded[key]) for key in common}


def method_folders(place: Path) -> dict[str, Path]:
    """Sub-folders of ``place`` by name, each the results of one restoration method.

    Raises:
        PairError: no sub-folders, or images beside them, which would belong to no method.
    """
    if not place.is_dir():
        raise PairError(f'{place}: there is no such folder; --method-dirs needs one with a sub-folder for each method.')
    loose = [path.name for path in images_of(place)]
    folders = {path.name: path for path in visible_folders(place)}
    if loose or not folders:
        fault = f'images directly in it ({", ".join(loose[:5])})' if loose else 'no sub-folders'
        raise PairError(f'{place}: {fault}; --method-dirs needs a sub-folder for each method.')
    return folders


def swap_signs(restored: Path, degraded: Path, rows: list[dict], swapped_logits: list[float]) -> list[str]:
    """Reasons to think that the two folders were given in the wrong order; empty if there are none.

    Args:
        rows: scored pairs with ``height``, ``width``, ``degraded_size`` (w, h) and ``logit``.
        swapped_logits: logits of the first rows with the roles exchanged.
    """
    signs = []
    if DEGRADED_NAMES.search(restored.name) or RESTORED_NAMES.search(degraded.name):
        signs.append(f'the names say so (--restored {restored.name}, --degraded {degraded.name})')
    larger = sum(row['degraded_size'][0] > row['width'] and row['degraded_size'][1] > row['height'] for row in rows)
    if larger > len(rows) / 2:
        signs.append(f'{larger} of {len(rows)} degraded images are larger than the restored ones')
    better = sum(logit > row['logit'] for row, logit in zip(rows, swapped_logits))
    if len(swapped_logits) >= 4 and better >= 0.75 * len(swapped_logits):
        signs.append(f'exchanged, {better} of {len(swapped_logits)} pairs score higher')
    return signs
