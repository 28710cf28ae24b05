"""Contact sheets of retrieved neighbours, class-wise tables, activation maps."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

THUMB = 96  # side of a picture in pixels
RIGHT, WRONG, PLAIN = (40, 160, 40), (200, 40, 40), (120, 120, 120)


def contact_sheet(rows: Sequence[Sequence[tuple[np.ndarray, str, bool | None]]], file: str | Path) -> None:
    """Write pictures in rows, the query first; frames are green, red or grey where it is right, wrong or unknown.

    Args:
        rows: (frame (H, W, 3) RGB, caption, right) of query and neighbours.
    """
    from PIL import Image, ImageDraw

    step, caption = THUMB + 8, 14
    sheet = Image.new('RGB', (step * max(map(len, rows)) + 8, (step + caption) * len(rows) + 8), 'white')
    draw = ImageDraw.Draw(sheet)
    for top, row in enumerate(rows):
        for left, (frame, text, right) in enumerate(row):
            x, y = 8 + left * step, 8 + top * (step + caption)
            colour = PLAIN if right is None else RIGHT if right else WRONG
            draw.rectangle((x - 3, y - 3, x + THUMB + 2, y + THUMB + 2), fill=colour)
            sheet.paste(Image.fromarray(square(frame)), (x, y))
            draw.text((x, y + THUMB + 2), text[: THUMB // 6], fill='black')
    sheet.save(file)


def square(frame: np.ndarray, side: int = THUMB) -> np.ndarray:
    """The centre square of a frame, (side, side, 3)."""
    short = min(frame.shape[:2])
    top, left = ((length - short) // 2 for length in frame.shape[:2])
    return cv2.resize(frame[top : top + short, left : left + short], (side, side), interpolation=cv2.INTER_AREA)


def class_table(by_class: dict[int, dict[str, float]], counts: dict[int, int], names: Sequence[str]) -> str:
    """R@k of each class as Markdown, best first at the first k."""
    first = next(iter(next(iter(by_class.values()))))
    columns = list(next(iter(by_class.values())))
    lines = ['| class | queries | ' + ' | '.join(columns) + ' |', '|---' * (len(columns) + 2) + '|']
    for label, row in sorted(by_class.items(), key=lambda item: -item[1][first]):
        lines.append(f'| {names[label]} | {counts[label]} | ' + ' | '.join(f'{row[name]:.1f}' for name in columns) + ' |')
    return '\n'.join(lines) + '\n'


@torch.no_grad()
def activation(backbone: nn.Module, clip: Tensor, frames: int, size: tuple[int, int]) -> np.ndarray:
    """How strongly the last map of the encoder responds at each place: (frames, H, W) in 0..1.

    The length of the feature vector at each place, enlarged to the clip and scaled by its largest value.

    Args:
        clip: (1, 3, T, H, W), as the encoder takes it.
        frames, size: of the result.
    """
    strength = backbone(clip).norm(dim=1, keepdim=True)
    enlarged = nn.functional.interpolate(strength, (frames, *size), mode='trilinear', align_corners=False)[0, 0]
    return (enlarged / enlarged.amax().clamp(min=1e-12)).cpu().numpy()


def overlay(frame: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A frame (H, W, 3) with its map (H, W) in 0..1 in warm colours over it."""
    coloured = cv2.cvtColor(cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    return cv2.addWeighted(frame, 0.55, coloured, 0.45, 0)
