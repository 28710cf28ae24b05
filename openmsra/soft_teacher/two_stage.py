"""Soft Teacher for two-stage detectors: detection in the weak view, and the loss in the strong view (sec. 3.2 and 3.3).

Shapes: B images, R sampled regions, C classes.
"""

import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi, bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from openmsra.soft_teacher.extensions.class_thresholds import ClassThresholds
from openmsra.soft_teacher.extensions.masks import mask_targets, masked_bce
from openmsra.soft_teacher.geometry import project_boxes
from openmsra.soft_teacher.losses import background_weights, box_uncertainty, jitter_boxes, soft_cls_loss
from openmsra.soft_teacher.pseudo_labels import PseudoLabels, UnsupervisedBranch, between_views
from openmsra.soft_teacher.roi_stages import Features, RoIStages, pick_class
from openmsra.soft_teacher.settings import Settings


class TwoStageBranch(UnsupervisedBranch):
    """The unsupervised step of Faster, Mask and Cascade R-CNN and HTC."""

    def __init__(
        self,
        student: TwoStageDetector,
        teacher: TwoStageDetector,
        settings: Settings,
        class_thresholds: ClassThresholds | None = None,
    ) -> None:
        if not (student.with_rpn and student.with_roi_head):
            raise TypeError('Soft Teacher needs a two-stage detector with an RPN and a R-CNN head.')
        super().__init__(student, teacher, settings, class_thresholds)
        self.stages, self.teacher_stages = RoIStages(student.roi_head), RoIStages(teacher.roi_head)

    @torch.no_grad()
    def generate_pseudo_labels(self, inputs: Tensor, samples: list[DetDataSample]) -> PseudoLabels:
        teacher, metas = self.teacher, [sample.metainfo for sample in samples]
        features = teacher.extract_feat(inputs)
        head_inputs = self.teacher_stages.head_inputs(features)
        train = self.settings.teacher_proposal_cfg == 'train'
        proposals = teacher.rpn_head.predict_by_feat(
            *teacher.rpn_head(features),
            batch_img_metas=metas,
            rescale=False,
            cfg=teacher.train_cfg.rpn_proposal if train else teacher.test_cfg.rpn,
        )
        detections = teacher.roi_head.predict_bbox(
            features, metas, proposals, rcnn_test_cfg=teacher.test_cfg.rcnn, rescale=False, **head_inputs
        )
        pseudo_labels = PseudoLabels(
            features,
            metas,
            candidates=[self.keep_candidates(instances) for instances in detections],
            proposals=[instances.bboxes for instances in proposals],
            head_inputs=head_inputs,
        )
        self._add_uncertainty(pseudo_labels)
        if self.teacher_stages.with_mask:
            self._add_masks(pseudo_labels)
        return pseudo_labels

    def _add_uncertainty(self, pseudo_labels: PseudoLabels) -> None:
        """All N jitters of all images go through the teacher's head at once."""
        settings, candidates = self.settings, pseudo_labels.candidates
        jittered = [
            jitter_boxes(instances.bboxes, settings.jitter_times, settings.jitter_scale, settings.jitter_dist)
            for instances in candidates
        ]
        refined = self.teacher_stages.refine(
            pseudo_labels.features,
            [boxes.flatten(0, 1) for boxes in jittered],
            [instances.labels.repeat(settings.jitter_times) for instances in candidates],
            pseudo_labels.weak_metas,
            pseudo_labels.head_inputs,
            stages=1 if settings.jitter_stages == 'first' else len(self.teacher_stages),
        )
        for instances, boxes, noisy in zip(candidates, refined, jittered, strict=True):
            instances.reg_uncs = box_uncertainty(boxes.view(noisy.shape), settings.jitter_norm)

    def _add_masks(self, pseudo_labels: PseudoLabels) -> None:
        candidates = pseudo_labels.candidates
        masks = self.teacher_stages.mask_probabilities(
            pseudo_labels.features,
            bbox2roi([instances.bboxes for instances in candidates]),
            torch.cat([instances.labels for instances in candidates]),
            pseudo_labels.head_inputs,
        )
        for instances, probabilities in zip(candidates, masks.split([len(each) for each in candidates]), strict=True):
            instances.mask_probs = probabilities

    def loss(self, inputs: Tensor, samples: list[DetDataSample], pseudo_labels: PseudoLabels) -> dict[str, Tensor]:
        features, metas = self.student.extract_feat(inputs), [sample.metainfo for sample in samples]
        self.project_to_strong_views(pseudo_labels, metas, inputs.device)
        losses, proposals = self._rpn_loss(features, metas, pseudo_labels)
        if self.settings.use_teacher_proposal:
            proposals = [
                project_boxes(boxes, between_views(weak, strong, boxes.device), strong['img_shape'])
                for boxes, weak, strong in zip(pseudo_labels.proposals, pseudo_labels.weak_metas, metas, strict=True)
            ]
        return losses | self._roi_loss(features, proposals, metas, pseudo_labels)

    def _rpn_loss(self, features: Features, metas: list[dict], pseudo_labels: PseudoLabels) -> tuple[dict, list[Tensor]]:
        samples = []
        for instances, meta in zip(self.select_for_rpn(pseudo_labels), metas, strict=True):
            objects = InstanceData(bboxes=instances.bboxes, labels=torch.zeros_like(instances.labels))
            samples.append(DetDataSample(metainfo=meta, gt_instances=objects))
        proposal_cfg = self.student.train_cfg.get('rpn_proposal', self.student.test_cfg.rpn)
        losses, proposals = self.student.rpn_head.loss_and_predict(features, samples, proposal_cfg=proposal_cfg)
        named = {name if 'rpn' in name or 'loss' not in name else f'rpn_{name}': value for name, value in losses.items()}
        return named, [instances.bboxes for instances in proposals]

    def _roi_loss(self, features: Features, proposals: list[Tensor], metas: list[dict], pseudo_labels: PseudoLabels) -> dict:
        stages, losses, head_inputs = self.stages, {}, self.stages.head_inputs(features)
        for_cls, for_reg = self.select_for_cls(pseudo_labels), self.select_for_reg(pseudo_labels)
        for stage in range(len(stages)):
            sampled = stages.sample(stage, features, proposals, for_cls)
            stage_losses, outputs = self._cls_loss(stage, features, sampled, metas, for_cls, head_inputs, pseudo_labels)
            sampled_for_reg = stages.sample(stage, features, proposals, for_reg)
            stage_losses['loss_bbox'] = self._reg_loss(stage, features, sampled_for_reg, head_inputs, outputs)
            if stage + 1 < len(stages) or stages.interleaved:
                proposals = self._refined(stage, sampled, outputs, metas)
            if stages.with_mask:
                if stages.interleaved:
                    sampled = stages.sample(stage, features, proposals, for_cls)
                stage_losses['loss_mask'] = self._mask_loss(stage, features, sampled, metas, for_cls, head_inputs, pseudo_labels)
            losses |= {
                stages.name(name, stage): value * stages.weight(stage) if 'loss' in name else value
                for name, value in stage_losses.items()
            }
        return losses

    def _cls_loss(
        self,
        stage: int,
        features: Features,
        sampled: list,
        metas: list[dict],
        for_cls: list[InstanceData],
        head_inputs: dict,
        pseudo_labels: PseudoLabels,
    ) -> tuple[dict, dict]:
        """Cross entropy with soft background weights; also the outputs of the head, which a next stage needs."""
        stages, head = self.stages, self.stages.part('bbox_head', stage)
        rois = bbox2roi([result.priors for result in sampled])
        logits, deltas = stages.bbox_forward(stage, features, rois, head_inputs)
        targets = head.get_targets(sampled, stages.part('train_cfg', stage))
        labels, weights = targets[:2]
        background = (labels == head.num_classes).nonzero().flatten()  # as indices: a mask makes the host wait at each use
        pseudo_labels.bg_weights = self._bg_weights(sampled, logits[background], metas, for_cls, pseudo_labels)
        weights[background] = pseudo_labels.bg_weights
        outputs = dict(rois=rois, cls_score=logits, bbox_pred=deltas, bbox_targets=targets)
        if not len(rois):
            return dict(loss_cls=logits.sum() * 0, acc=logits.new_zeros(1)), outputs
        entropy = head.loss_cls(logits, labels, reduction_override='none')
        accuracy = (logits.argmax(1) == labels).float().mean()[None] * 100
        loss = soft_cls_loss(entropy, weights, labels != head.num_classes, self.settings.cls_norm)
        return dict(loss_cls=loss, acc=accuracy), outputs

    @torch.no_grad()
    def _bg_weights(
        self,
        sampled: list,
        logits: Tensor,
        metas: list[dict],
        for_cls: list[InstanceData],
        pseudo_labels: PseudoLabels,
    ) -> Tensor:
        """r of the sampled background regions, which the teacher looks at in its weak view."""
        mode, regions = self.settings.bg_weight, [result.neg_priors for result in sampled]
        student, teacher = logits.float().softmax(1)[:, -1], logits.new_ones(len(logits), dtype=torch.float)
        iou = torch.zeros_like(teacher)
        if mode in ('teacher', 'pred_diff'):
            weak_metas = pseudo_labels.weak_metas
            weak_regions = [
                project_boxes(boxes, between_views(strong, weak, boxes.device), weak['img_shape'])
                for boxes, weak, strong in zip(regions, weak_metas, metas, strict=True)
            ]
            teacher = self.teacher_stages.background(pseudo_labels.features, weak_regions, weak_metas, pseudo_labels.head_inputs)
        elif mode in ('iou', 'reverse_iou'):
            iou = torch.cat(
                [
                    bbox_overlaps(boxes, instances.bboxes).amax(1) if len(instances) else boxes.new_zeros(len(boxes))
                    for boxes, instances in zip(regions, for_cls, strict=True)
                ]
            )
        return background_weights(mode, teacher, student, iou)

    def _reg_loss(self, stage: int, features: Features, sampled: list, head_inputs: dict, outputs: dict) -> Tensor:
        """The detector's box loss. Only positives have one, so only they pass the head; the divisor is that of all.

        Args:
            outputs: of the head for the regions of the classification, see :meth:`_cls_loss`.
        """
        head = self.stages.part('bbox_head', stage)
        labels, weights, targets, target_weights = head.get_targets(sampled, self.stages.part('train_cfg', stage))
        positive = (labels != head.num_classes).nonzero().flatten()
        rois = bbox2roi([result.priors for result in sampled])[positive]
        deltas = self._deltas(stage, features, rois, head_inputs, outputs)
        loss = head.loss(None, deltas, rois, labels[positive], weights[positive], targets[positive], target_weights[positive])[
            'loss_bbox'
        ]
        share = 1.0 if self.settings.reg_norm == 'foreground' else len(rois) / max(len(labels), 1)
        return loss * share

    def _deltas(self, stage: int, features: Features, rois: Tensor, head_inputs: dict, outputs: dict) -> Tensor:
        """Deltas of ``rois``; regions that have passed the head for the classification are looked up in ``outputs``."""
        row, column = (rois[:, None] == outputs['rois']).all(-1).nonzero(as_tuple=True)
        index = torch.full((len(rois),), -1, device=rois.device)
        index[row] = column
        known, unknown = (index >= 0).nonzero().flatten(), (index < 0).nonzero().flatten()
        fresh = self.stages.bbox_forward(stage, features, rois[unknown], head_inputs)[1]
        deltas = fresh.new_empty(len(rois), fresh.shape[1])
        deltas[unknown] = fresh
        deltas[known] = outputs['bbox_pred'][index[known]]
        return deltas

    @torch.no_grad()
    def _refined(self, stage: int, sampled: list, outputs: dict, metas: list[dict]) -> list[Tensor]:
        refined = self.stages.part('bbox_head', stage).refine_bboxes(sampled, outputs, metas)
        if refined is None:  # there was no region
            return [outputs['rois'].new_zeros(0, 4) for _ in metas]
        return [instances.bboxes for instances in refined]

    def _mask_loss(
        self,
        stage: int,
        features: Features,
        sampled: list,
        metas: list[dict],
        for_cls: list[InstanceData],
        head_inputs: dict,
        pseudo_labels: PseudoLabels,
    ) -> Tensor:
        """Per-pixel cross entropy with the warped teacher masks, on the positives of the classification."""
        head = self.stages.part('mask_head', stage)
        rois = bbox2roi([result.pos_priors for result in sampled])
        logits = self.stages.mask_forward(stage, features, rois, head_inputs)
        if not len(logits):
            return logits.sum() * 0
        targets, valid = zip(
            *[
                mask_targets(
                    result.pos_priors,
                    instances.mask_probs[result.pos_assigned_gt_inds],
                    instances.weak_boxes[result.pos_assigned_gt_inds],
                    between_views(strong, weak, logits.device),
                    weak['img_shape'],
                    logits.shape[-2:],
                    self.settings.mask_margin,
                )
                for result, instances, weak, strong in zip(sampled, for_cls, pseudo_labels.weak_metas, metas, strict=True)
            ],
            strict=True,
        )
        chosen = pick_class(logits, torch.cat([result.pos_gt_labels for result in sampled]))
        return masked_bce(chosen, torch.cat(targets), torch.cat(valid)) * head.loss_mask.loss_weight
