"""Side by side: what the teacher found in the weak view, and what the student is taught in the strong view."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from openmsra.soft_teacher.extensions.masks import warp_masks
from openmsra.soft_teacher.monitor.quality import hidden_truth
from openmsra.soft_teacher.pseudo_labels import Lesson, Teaching

# BGR
COLOURS = dict(candidate=(160, 160, 160), cls=(0, 200, 255), reg=(255, 120, 0), both=(60, 200, 60), truth=(255, 255, 255))


def to_image(view: Tensor, preprocessor) -> np.ndarray:
    """uint8 BGR of a normalised view (3, H, W)."""
    pixels = view.cpu() * preprocessor.std.cpu() + preprocessor.mean.cpu() if preprocessor._enable_normalize else view.cpu()
    image = pixels.permute(1, 2, 0).clamp(0, 255).byte().numpy()
    return np.ascontiguousarray(image[..., ::-1] if preprocessor._channel_conversion else image)


def side_by_side(weak: np.ndarray, strong: np.ndarray, lesson: Lesson, teaching: Teaching, index: int) -> np.ndarray:
    """The pair of views of image ``index`` of a lesson, with boxes, enlarged to be readable, and a legend."""
    scale = max(1, round(320 / max(weak.shape[0], strong.shape[0])))
    weak, strong = (cv2.resize(view, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR) for view in (weak, strong))
    for box, score in zip(lesson.candidates[index].bboxes.tolist(), lesson.candidates[index].scores.tolist()):
        _box(weak, box, scale, 'candidate', f'{score:.2f}')
    truth = hidden_truth(lesson)
    for box in truth[index][0].tolist() if truth else []:
        _box(strong, box, scale, 'truth', '')
    pseudo, settings = lesson.pseudo[index], teaching.settings
    if 'mask_probs' in pseudo and len(pseudo):
        _tint(strong, pseudo, lesson, index, scale)
    by_score = settings.reg_select == 'score'
    for row in range(len(pseudo)):
        cls = bool(pseudo.scores[row] > settings.cls_pseudo_thr)
        reg = cls if by_score else bool(pseudo.reg_uncs[row] < settings.reg_pseudo_thr)
        if cls or reg:
            role = 'both' if cls and reg else 'cls' if cls else 'reg'
            _box(strong, pseudo.bboxes[row].tolist(), scale, role, f'{pseudo.labels[row]} u{pseudo.reg_uncs[row]:.3f}')
    return _joined([weak, strong])


def _box(image: np.ndarray, box: list[float], scale: int, role: str, text: str) -> None:
    x1, y1, x2, y2 = (round(value * scale) for value in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), COLOURS[role], 1 if role == 'truth' else 2)
    cv2.putText(image, text, (x1 + 3, max(y1 + 13, 13)), cv2.FONT_HERSHEY_SIMPLEX, 0.4, COLOURS[role], 1, cv2.LINE_AA)


def _tint(strong: np.ndarray, pseudo, lesson: Lesson, index: int, scale: int) -> None:
    from openmsra.soft_teacher.pseudo_labels import to_view

    new, old = lesson.strong_metas[index], lesson.metas[index]
    shape = new['img_shape'][:2]
    maps = warp_masks(pseudo.mask_probs, pseudo.weak_boxes, to_view(new, old, pseudo.bboxes.device), shape).amax(0)
    tint = cv2.resize((maps > 0.5).float().cpu().numpy(), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST) > 0
    part = strong[: tint.shape[0], : tint.shape[1]]
    part[tint] = part[tint] // 2 + 64


def _joined(views: list[np.ndarray]) -> np.ndarray:
    height, gap = max(view.shape[0] for view in views), 8
    padded = [cv2.copyMakeBorder(view, 0, height - len(view), 0, gap, cv2.BORDER_CONSTANT) for view in views]
    strip = np.hstack(padded)
    legend = np.zeros((22, strip.shape[1], 3), np.uint8)
    for place, (role, colour) in enumerate(COLOURS.items()):
        cv2.putText(legend, role, (6 + place * 92, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    return np.vstack([strip, legend])


@torch.no_grad()
def lesson_pictures(
    inputs: dict[str, Tensor], lesson: Lesson, teaching: Teaching, preprocessor, most: int = 4
) -> list[np.ndarray]:
    """Pictures of the first images of a batch.

    Args:
        inputs: ``unsup_teacher`` and ``unsup_student`` views (B, 3, H, W), normalised.
        lesson: of these views.
        teaching: of the detector.
        preprocessor: the ``DetDataPreprocessor`` that normalised them.
        most: pictures at most.
    """
    pairs = zip(inputs['unsup_teacher'][:most], inputs['unsup_student'][:most])
    return [
        side_by_side(to_image(weak, preprocessor), to_image(strong, preprocessor), lesson, teaching, index)
        for index, (weak, strong) in enumerate(pairs)
    ]


def save_pictures(pictures: list[np.ndarray], folder: Path, name: str) -> list[Path]:
    """Write ``{name}_{number}.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f'{name}_{number}.png' for number in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        cv2.imwrite(str(file), picture)
    return files
