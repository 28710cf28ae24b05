"""Standard, cascade and hybrid-task-cascade R-CNN heads of mmdet under one interface: a list of stages."""

import torch
from mmdet.models.roi_heads import CascadeRoIHead, HybridTaskCascadeRoIHead, StandardRoIHead
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor, nn

Features = tuple[Tensor, ...]


class RoIStages:
    """Stages of a R-CNN head; a standard head has one.

    Args:
        roi_head: of a detector; it is not copied.

    Raises:
        TypeError: a head of another kind, or one whose scores have no column of the background.
    """

    def __init__(self, roi_head: nn.Module) -> None:
        if not isinstance(roi_head, StandardRoIHead | CascadeRoIHead):
            raise TypeError(f'Soft Teacher knows standard, cascade and HTC R-CNN heads, not {type(roi_head).__name__}.')
        self.head = roi_head
        self.cascade = isinstance(roi_head, CascadeRoIHead)
        self.htc = isinstance(roi_head, HybridTaskCascadeRoIHead)
        for stage in range(len(self)):
            if self.part('bbox_head', stage).custom_cls_channels:
                raise TypeError(
                    'Soft Teacher needs softmax scores with a column of the background; '
                    f'{type(self.part("bbox_head", stage).loss_cls).__name__} has other channels.'
                )

    def __len__(self) -> int:
        return self.head.num_stages if self.cascade else 1

    @property
    def with_mask(self) -> bool:
        return self.head.with_mask

    @property
    def interleaved(self) -> bool:
        """Whether masks are learnt on boxes that the stage has refined (HTC)."""
        return self.htc and self.head.interleaved and self.with_mask

    def part(self, name: str, stage: int):
        """``bbox_head``, ``mask_head``, ``bbox_assigner``, ``bbox_sampler`` or ``train_cfg`` of a stage."""
        value = getattr(self.head, name)
        return value[stage] if self.cascade else value

    def weight(self, stage: int) -> float:
        return self.head.stage_loss_weights[stage] if self.cascade else 1.0

    def name(self, loss: str, stage: int) -> str:
        """mmdet's name of a loss of a stage."""
        return f's{stage}.{loss}' if self.cascade else loss

    def head_inputs(self, features: Features) -> dict[str, Tensor]:
        """What an HTC head needs beside the features: its semantic map; no semantic loss is taken on unlabelled images."""
        return dict(semantic_feat=self.head.semantic_head(features)[1]) if self.htc and self.head.with_semantic else {}

    def bbox_forward(self, stage: int, features: Features, rois: Tensor, head_inputs: dict) -> tuple[Tensor, Tensor]:
        """Logits (R, C + 1) and deltas (R, 4 C or 4) of regions (R, 5)."""
        of_stage = (stage,) if self.cascade else ()
        outputs = self.head._bbox_forward(*of_stage, features, rois, **head_inputs)
        return outputs['cls_score'], outputs['bbox_pred']

    def mask_forward(self, stage: int, features: Features, rois: Tensor, head_inputs: dict) -> Tensor:
        """Mask logits (R, C or 1, m, m) of a stage."""
        of_stage = (stage,) if self.cascade else ()
        return self.head._mask_forward(*of_stage, features, rois, **head_inputs)['mask_preds']

    def mask_probabilities(self, features: Features, rois: Tensor, labels: Tensor, head_inputs: dict) -> Tensor:
        """(R, m, m) of the given classes, mean over the stages as in a test."""
        masks = [
            pick_class(self.mask_forward(stage, features, rois, head_inputs), labels).float().sigmoid()
            for stage in range(len(self))
        ]
        return torch.stack(masks).mean(0)

    def background(self, features: Features, boxes: list[Tensor], metas: list[dict], head_inputs: dict) -> Tensor:
        """(R,) probability of the background; logits are averaged over stages whose boxes move as in a test."""
        rois, counts = bbox2roi(boxes), [len(each) for each in boxes]
        if not len(rois):
            return rois.new_zeros(0)
        logits = []
        for stage in range(len(self)):
            scores, deltas = self.bbox_forward(stage, features, rois, head_inputs)
            logits.append(scores.float())
            if stage + 1 < len(self):
                rois = self.regress(stage, rois, scores[:, :-1].argmax(1), deltas, counts, metas)
        return torch.stack(logits).mean(0).softmax(1)[:, -1]

    def refine(
        self,
        features: Features,
        boxes: list[Tensor],
        labels: list[Tensor],
        metas: list[dict],
        head_inputs: dict,
        stages: int = 1,
    ) -> list[Tensor]:
        """Boxes regressed for the given class by the first ``stages`` stages; nothing else is decoded."""
        rois, counts, labels = bbox2roi(boxes), [len(each) for each in boxes], torch.cat(labels)
        for stage in range(stages if len(rois) else 0):
            deltas = self.bbox_forward(stage, features, rois, head_inputs)[1]
            rois = self.regress(stage, rois, labels, deltas, counts, metas)
        return list(rois[:, 1:].split(counts))

    def regress(self, stage: int, rois: Tensor, labels: Tensor, deltas: Tensor, counts: list[int], metas: list[dict]) -> Tensor:
        """Regions (R, 5) regressed for their classes and clipped to their images."""
        head = self.part('bbox_head', stage)
        by_image = zip(rois.split(counts), labels.split(counts), deltas.float().split(counts), metas, strict=True)
        return torch.cat(
            [
                torch.cat([regions[:, :1], head.regress_by_class(regions[:, 1:], classes, change, meta)], 1)
                for regions, classes, change, meta in by_image
            ]
        )

    def sample(self, stage: int, features: Features, proposals: list[Tensor], instances: list[InstanceData]) -> list:
        """Assign and sample the proposals of each image as in supervised training."""
        assigner, sampler = self.part('bbox_assigner', stage), self.part('bbox_sampler', stage)
        if self.cascade:
            self.head.current_stage = stage
        results = []
        for i, (boxes, objects) in enumerate(zip(proposals, instances, strict=True)):
            priors = InstanceData(priors=boxes)
            assigned = assigner.assign(priors, objects, None)
            results.append(sampler.sample(assigned, priors, objects, feats=[level[i][None] for level in features]))
        return results


def pick_class(maps: Tensor, labels: Tensor) -> Tensor:
    """The map (R, m, m) of each region's class; class-agnostic maps have one channel."""
    return maps[torch.arange(len(maps), device=maps.device), labels] if maps.shape[1] > 1 else maps[:, 0]
