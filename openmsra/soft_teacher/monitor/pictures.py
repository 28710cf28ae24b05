"""Side by side: what the teacher detects in the weak view, and the pseudo labels of the strong view."""

from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from openmsra.common.images import write_rgb
from openmsra.soft_teacher.drawing import draw_box
from openmsra.soft_teacher.extensions.masks import warp_masks
from openmsra.soft_teacher.monitor.quality import hidden_ground_truth
from openmsra.soft_teacher.pseudo_labels import PseudoLabels, UnsupervisedBranch, between_views

# BGR
COLOURS = dict(candidate=(160, 160, 160), cls=(0, 200, 255), reg=(255, 120, 0), both=(60, 200, 60), truth=(255, 255, 255))


def to_image(view: Tensor, preprocessor) -> np.ndarray:
    """uint8 BGR of a normalised view (3, H, W)."""
    pixels = view.cpu() * preprocessor.std.cpu() + preprocessor.mean.cpu() if preprocessor._enable_normalize else view.cpu()
    image = pixels.permute(1, 2, 0).clamp(0, 255).byte().numpy()
    return np.ascontiguousarray(image[..., ::-1] if preprocessor._channel_conversion else image)


def side_by_side(
    weak: np.ndarray, strong: np.ndarray, pseudo_labels: PseudoLabels, branch: UnsupervisedBranch, index: int
) -> np.ndarray:
    """The pair of views of image ``index`` of a batch, with boxes, enlarged to be readable, and a legend."""
    scale = max(1, round(320 / max(weak.shape[0], strong.shape[0])))
    weak, strong = (cv2.resize(view, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR) for view in (weak, strong))
    candidates, instances = pseudo_labels.candidates[index], pseudo_labels.instances[index]
    for box, score in zip(candidates.bboxes.tolist(), candidates.scores.tolist()):
        _draw_box(weak, box, scale, 'candidate', f'{score:.2f}')
    ground_truth = hidden_ground_truth(pseudo_labels)
    for box in ground_truth[index][0].tolist() if ground_truth else []:
        _draw_box(strong, box, scale, 'truth', '')
    if 'mask_probs' in instances and len(instances):
        _tint_masks(strong, instances, pseudo_labels, index, scale)
    usable = zip(branch.usable_for_cls(instances).tolist(), branch.usable_for_reg(instances).tolist())
    for row, (cls, reg) in enumerate(usable):
        if cls or reg:
            text = f'{instances.labels[row]} u{instances.reg_uncs[row]:.3f}'
            _draw_box(strong, instances.bboxes[row].tolist(), scale, 'both' if cls and reg else 'cls' if cls else 'reg', text)
    return _joined([weak, strong])


def _draw_box(image: np.ndarray, box: list[float], scale: int, kind: str, text: str) -> None:
    draw_box(image, [round(value * scale) for value in box], COLOURS[kind], text, 1 if kind == 'truth' else 2)


def _tint_masks(image: np.ndarray, instances: InstanceData, pseudo_labels: PseudoLabels, index: int, scale: int) -> None:
    strong, weak = pseudo_labels.strong_metas[index], pseudo_labels.weak_metas[index]
    to_weak = between_views(strong, weak, instances.bboxes.device)
    masks = warp_masks(instances.mask_probs, instances.weak_boxes, to_weak, strong['img_shape'][:2]).amax(0)
    tint = cv2.resize((masks > 0.5).float().cpu().numpy(), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST) > 0
    part = image[: tint.shape[0], : tint.shape[1]]
    part[tint] = part[tint] // 2 + 64


def _joined(views: list[np.ndarray]) -> np.ndarray:
    height, gap = max(view.shape[0] for view in views), 8
    padded = [cv2.copyMakeBorder(view, 0, height - len(view), 0, gap, cv2.BORDER_CONSTANT) for view in views]
    strip = np.hstack(padded)
    legend = np.zeros((22, strip.shape[1], 3), np.uint8)
    for number, (kind, colour) in enumerate(COLOURS.items()):
        cv2.putText(legend, kind, (6 + number * 92, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    return np.vstack([strip, legend])


@torch.no_grad()
def pseudo_label_pictures(
    inputs: dict[str, Tensor], pseudo_labels: PseudoLabels, branch: UnsupervisedBranch, preprocessor, most: int = 4
) -> list[np.ndarray]:
    """Pictures of the first images of a batch.

    Args:
        inputs: ``unsup_teacher`` and ``unsup_student`` views (B, 3, H, W), normalised.
        pseudo_labels: of these views.
        branch: of the detector.
        preprocessor: the ``DetDataPreprocessor`` that normalised them.
        most: pictures at most.
    """
    pairs = zip(inputs['unsup_teacher'][:most], inputs['unsup_student'][:most])
    return [
        side_by_side(to_image(weak, preprocessor), to_image(strong, preprocessor), pseudo_labels, branch, index)
        for index, (weak, strong) in enumerate(pairs)
    ]


def save_pictures(pictures: list[np.ndarray], folder: Path, name: str) -> list[Path]:
    """Write ``{name}_{number}.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f'{name}_{number}.png' for number in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        write_rgb(file, picture[..., ::-1])
    return files
