"""Two views of an image, and the check that their matrices tell the truth."""

import copy
import random

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.datasets.transforms import MultiBranch
from mmdet.structures.bbox import HorizontalBoxes, get_box_tensor

from openmsra.registry import TRANSFORMS
from openmsra.soft_teacher.geometry import project_boxes

# they move pixels, record nothing, and need more than one image or a library of their own to be tried out
UNRECORDED = {'Albu', 'Mosaic', 'CachedMosaic', 'MixUp', 'CachedMixUp', 'CopyPaste'}
TOLERANCE = 1.5  # pixels by which a box may leave the projected one
NEEDED = ('img_id', 'img_shape', 'homography_matrix')


@TRANSFORMS.register_module()
class ViewBranches(MultiBranch):
    """mmdet's ``MultiBranch`` whose unlabelled branches are tried out when they are built.

    Args:
        branch_field: names of all branches, the same in all data sets of a batch.
        branch_pipelines: a pipeline for each branch of this data set, ending with ``PackDetInputs``.

    Raises:
        ValueError: a transform of a branch ``unsup_*`` moves boxes without recording the matrix, or its ``PackDetInputs`` does
            not pack what the projection needs.
    """

    def __init__(self, branch_field: list[str], **branch_pipelines: list) -> None:
        super().__init__(branch_field, **branch_pipelines)
        for branch, pipeline in self.branch_pipelines.items():
            if branch.startswith('unsup_'):
                _check_packing(branch, pipeline)
                with _same_random_numbers_after():
                    _try_out(branch, pipeline)

    def transform(self, results: dict) -> dict | None:
        """Make all branches; a view that no transform has moved has the unit matrix."""
        return super().transform({'homography_matrix': np.eye(3, dtype=np.float32), **results})


def _check_packing(branch: str, pipeline: Compose) -> None:
    packed = getattr(pipeline.transforms[-1], 'meta_keys', ())
    if missing := [key for key in NEEDED if key not in packed]:
        raise ValueError(
            f'branch {branch}: its last transform, {type(pipeline.transforms[-1]).__name__}, does not pack '
            f'{", ".join(missing)}; add them to the meta_keys of PackDetInputs.'
        )


def _try_out(branch: str, pipeline: Compose, draws: int = 6) -> None:
    """Send a known box through each transform and compare it with the recorded matrix."""
    for transform in _leaves(pipeline):
        name = type(transform).__name__
        if name in UNRECORDED:
            raise ValueError(_refusal(branch, name))
        for _ in range(draws):
            results, box = _specimen()
            try:
                moved = transform(results)
            except (KeyError, AttributeError, TypeError):  # needs what the specimen has not: no transform of pixels alone
                break
            except ValueError as error:  # mmcv's own Resize, which knows no box types
                raise ValueError(_refusal(branch, name)) from error
            if moved is None or not len(moved['gt_bboxes']):
                continue
            matrix = torch.from_numpy(np.asarray(moved.get('homography_matrix', np.eye(3)), np.float32))
            expected = project_boxes(box, matrix, moved['img'].shape[:2])
            if (get_box_tensor(moved['gt_bboxes']) - expected).abs().max() > TOLERANCE or (
                moved['img'].shape[:2] != (192, 256) and 'homography_matrix' not in moved
            ):
                raise ValueError(_refusal(branch, name))


def _refusal(branch: str, name: str) -> str:
    return (
        f'branch {branch}: {name} moves pixels and does not record its homography_matrix, so that pseudo boxes would be '
        'projected to wrong places. Use OneGeometricOp, mmdet.Resize, mmdet.RandomFlip, mmdet.RandomCrop, or '
        "RandomResize with resize_type='mmdet.Resize'."
    )


def _leaves(pipeline) -> list:
    """Transforms of a pipeline, those inside of RandomOrder, RandomChoice and the like too; without the packing."""
    leaves = []
    for transform in pipeline.transforms:
        if hasattr(transform, 'transforms'):
            inner = transform.transforms
            for part in inner:
                leaves += _leaves(part) if hasattr(part, 'transforms') else [part]
        else:
            leaves.append(transform)
    return [transform for transform in leaves if not hasattr(transform, 'meta_keys')]


def _specimen() -> tuple[dict, torch.Tensor]:
    box = torch.tensor([[96.0, 64, 160, 120]])
    results = dict(
        img=np.random.randint(0, 255, (192, 256, 3), np.uint8),
        img_shape=(192, 256),
        ori_shape=(192, 256),
        height=192,
        width=256,
        gt_bboxes=HorizontalBoxes(box.clone()),
        gt_bboxes_labels=np.zeros(1, np.int64),
        gt_ignore_flags=np.zeros(1, bool),
    )
    return copy.deepcopy(results), box


class _same_random_numbers_after:  # noqa: N801 - reads as a phrase behind `with`
    """The trial draws no number that the training would have drawn."""

    def __enter__(self) -> None:
        self.states = random.getstate(), np.random.get_state(), torch.get_rng_state()

    def __exit__(self, *_) -> None:
        random.setstate(self.states[0])
        np.random.set_state(self.states[1])
        torch.set_rng_state(self.states[2])
