"""Pseudo labels outside of a training, for looking at them."""

import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from openmsra.errors import DataError
from openmsra.soft_teacher.detector import SoftTeacher
from openmsra.soft_teacher.monitor.quality import hidden_boxes
from openmsra.soft_teacher.pseudo_labels import PseudoLabels


def unlabelled_part(cfg: Config) -> dict:
    """The data set of a config whose pipeline makes the two views.

    Raises:
        DataError: there is none.
    """
    dataset = cfg.train_dataloader.dataset
    for part in dataset.get('datasets', [dataset]):
        if any('unsup_teacher' in transform for transform in part.get('pipeline', [])):
            return part
    raise DataError(f'{cfg.filename}: no data set of train_dataloader has the branch unsup_teacher.')


@torch.no_grad()
def pseudo_labels_of_views(model: SoftTeacher, batch: dict, trained: bool) -> PseudoLabels:
    """Those of a batch; without a trained teacher hidden labels with score 1 and no uncertainty stand in.

    Raises:
        DataError: not trained, and the images have no hidden labels.
    """
    weak, strong = (batch['data_samples'][branch] for branch in ('unsup_teacher', 'unsup_student'))
    if trained:
        pseudo_labels = model.unsup_branch.generate_pseudo_labels(batch['inputs']['unsup_teacher'], weak)
    else:
        metas = [sample.metainfo for sample in weak]
        pseudo_labels = PseudoLabels((), metas, [_hidden(meta) for meta in metas])
    device = batch['inputs']['unsup_teacher'].device
    model.unsup_branch.project_to_strong_views(pseudo_labels, [sample.metainfo for sample in strong], device)
    return pseudo_labels


def _hidden(meta: dict) -> InstanceData:
    if 'hidden_bboxes' not in meta:
        raise DataError(f'{meta.get("img_path")}: no hidden labels; give a checkpoint, or hidden=True in an UnlabelledCoco.')
    boxes, labels = hidden_boxes(meta)
    return InstanceData(bboxes=boxes, labels=labels, scores=torch.ones(len(boxes)), reg_uncs=torch.zeros(len(boxes)))
