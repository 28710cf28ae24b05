"""Soft Teacher for two-stage detectors: what the teacher says about a weak view, and what the student learns from it."""

import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi, bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from openmsra.soft_teacher.extensions.class_thresholds import ClassThresholds
from openmsra.soft_teacher.extensions.masks import mask_targets, masked_bce
from openmsra.soft_teacher.geometry import project_boxes
from openmsra.soft_teacher.losses import background_reliability, box_uncertainty, jitter_boxes, soft_cls_loss
from openmsra.soft_teacher.pseudo_labels import Lesson, Teaching, to_view
from openmsra.soft_teacher.roi_stages import Features, RoIStages, pick_class
from openmsra.soft_teacher.settings import Settings


class TwoStageTeaching(Teaching):
    """The unsupervised step of Faster, Mask and Cascade R-CNN and HTC."""

    def __init__(
        self, student: TwoStageDetector, teacher: TwoStageDetector, settings: Settings, thresholds: ClassThresholds | None = None
    ) -> None:
        if not (student.with_rpn and student.with_roi_head):
            raise TypeError('Soft Teacher needs a two-stage detector with an RPN and a R-CNN head.')
        super().__init__(student, teacher, settings, thresholds)
        self.stages, self.teacher_stages = RoIStages(student.roi_head), RoIStages(teacher.roi_head)

    @torch.no_grad()
    def teach(self, inputs: Tensor, samples: list[DetDataSample]) -> Lesson:
        """Detect on weak views (B, 3, H, W): candidates with their uncertainty."""
        teacher, metas = self.teacher, [sample.metainfo for sample in samples]
        features = teacher.extract_feat(inputs)
        context = self.teacher_stages.context(features)
        train = self.settings.teacher_proposal_cfg == 'train'
        proposals = teacher.rpn_head.predict_by_feat(
            *teacher.rpn_head(features),
            batch_img_metas=metas,
            rescale=False,
            cfg=teacher.train_cfg.rpn_proposal if train else teacher.test_cfg.rpn,
        )
        detections = teacher.roi_head.predict_bbox(
            features, metas, proposals, rcnn_test_cfg=teacher.test_cfg.rcnn, rescale=False, **context
        )
        lesson = Lesson(
            features, metas, [self.candidates(found) for found in detections], [found.bboxes for found in proposals], context
        )
        self._add_uncertainty(lesson)
        if self.teacher_stages.with_mask:
            self._add_masks(lesson)
        return lesson

    def _add_uncertainty(self, lesson: Lesson) -> None:
        """All N jitters of all images go through the teacher's head at once."""
        settings, found = self.settings, lesson.candidates
        jittered = [jitter_boxes(own.bboxes, settings.jitter_times, settings.jitter_scale, settings.jitter_dist) for own in found]
        stages = 1 if settings.jitter_stages == 'first' else len(self.teacher_stages)
        refined = self.teacher_stages.refine(
            lesson.features,
            [boxes.flatten(0, 1) for boxes in jittered],
            [own.labels.repeat(settings.jitter_times) for own in found],
            lesson.metas,
            lesson.context,
            stages,
        )
        for own, boxes, first in zip(found, refined, jittered, strict=True):
            own.reg_uncs = box_uncertainty(boxes.view(first.shape), settings.jitter_norm)

    def _add_masks(self, lesson: Lesson) -> None:
        found = lesson.candidates
        maps = self.teacher_stages.mask_probabilities(
            lesson.features, bbox2roi([own.bboxes for own in found]), torch.cat([own.labels for own in found]), lesson.context
        )
        for own, probabilities in zip(found, maps.split([len(own) for own in found]), strict=True):
            own.mask_probs = probabilities

    def losses(self, inputs: Tensor, samples: list[DetDataSample], lesson: Lesson) -> dict[str, Tensor]:
        """Losses of strong views (B, 3, H, W) under mmdet's names, not yet weighted by alpha."""
        features, metas = self.student.extract_feat(inputs), [sample.metainfo for sample in samples]
        self.project(lesson, metas, inputs.device)
        losses, proposals = self._rpn_losses(features, metas, lesson)
        if self.settings.use_teacher_proposal:
            proposals = [
                project_boxes(boxes, to_view(old, new, boxes.device), new['img_shape'])
                for boxes, old, new in zip(lesson.proposals, lesson.metas, metas, strict=True)
            ]
        return losses | self._roi_losses(features, proposals, metas, lesson)

    def _rpn_losses(self, features: Features, metas: list[dict], lesson: Lesson) -> tuple[dict, list[Tensor]]:
        samples = []
        for own, meta in zip(self.for_rpn(lesson), metas, strict=True):
            truth = InstanceData(bboxes=own.bboxes, labels=torch.zeros_like(own.labels))
            samples.append(DetDataSample(metainfo=meta, gt_instances=truth))
        proposal_cfg = self.student.train_cfg.get('rpn_proposal', self.student.test_cfg.rpn)
        losses, proposals = self.student.rpn_head.loss_and_predict(features, samples, proposal_cfg=proposal_cfg)
        named = {name if 'rpn' in name or 'loss' not in name else f'rpn_{name}': value for name, value in losses.items()}
        return named, [found.bboxes for found in proposals]

    def _roi_losses(self, features: Features, proposals: list[Tensor], metas: list[dict], lesson: Lesson) -> dict:
        stages, losses, context = self.stages, {}, self.stages.context(features)
        for_cls, for_reg = self.for_cls(lesson), self.for_reg(lesson)
        for stage in range(len(stages)):
            sampled = stages.sample(stage, features, proposals, for_cls)
            own, found = self._cls_loss(stage, features, sampled, metas, for_cls, context, lesson)
            own['loss_bbox'] = self._reg_loss(stage, features, stages.sample(stage, features, proposals, for_reg), context, found)
            last = stage + 1 == len(stages)
            if not last or stages.interleaved:
                proposals = self._refined(stage, sampled, found, metas)
            if stages.with_mask:
                if stages.interleaved:
                    sampled = stages.sample(stage, features, proposals, for_cls)
                own['loss_mask'] = self._mask_loss(stage, features, sampled, metas, for_cls, context, lesson)
            losses |= {
                stages.name(name, stage): value * stages.weight(stage) if 'loss' in name else value for name, value in own.items()
            }
        return losses

    def _cls_loss(
        self,
        stage: int,
        features: Features,
        sampled: list,
        metas: list[dict],
        pseudo: list[InstanceData],
        context: dict,
        lesson: Lesson,
    ) -> tuple[dict, dict]:
        """Cross entropy with soft background weights; also what a next stage needs."""
        stages, head, settings = self.stages, self.stages.part('bbox_head', stage), self.settings
        rois = bbox2roi([own.priors for own in sampled])
        logits, deltas = stages.boxes(stage, features, rois, context)
        targets = head.get_targets(sampled, stages.part('train_cfg', stage))
        labels, weights = targets[:2]
        background = labels == head.num_classes
        weights[background] = lesson.reliability = self._reliability(sampled, logits[background], metas, pseudo, lesson)
        found = dict(rois=rois, cls_score=logits, bbox_pred=deltas, bbox_targets=targets)
        if not len(rois):
            return dict(loss_cls=logits.sum() * 0, acc=logits.new_zeros(1)), found
        entropy = head.loss_cls(logits, labels, reduction_override='none')
        accuracy = (logits.argmax(1) == labels).float().mean()[None] * 100
        return dict(loss_cls=soft_cls_loss(entropy, weights, ~background, settings.cls_norm), acc=accuracy), found

    @torch.no_grad()
    def _reliability(
        self, sampled: list, logits: Tensor, metas: list[dict], pseudo: list[InstanceData], lesson: Lesson
    ) -> Tensor:
        """r of the sampled background regions, which the teacher looks at in its own view."""
        mode, regions = self.settings.bg_weight, [own.neg_priors for own in sampled]
        student, teacher = logits.float().softmax(1)[:, -1], logits.new_ones(len(logits), dtype=torch.float)
        iou = torch.zeros_like(teacher)
        if mode in ('teacher', 'pred_diff'):
            weak = [
                project_boxes(boxes, to_view(new, old, boxes.device), old['img_shape'])
                for boxes, old, new in zip(regions, lesson.metas, metas, strict=True)
            ]
            teacher = self.teacher_stages.background(lesson.features, weak, lesson.metas, lesson.context)
        elif mode in ('iou', 'reverse_iou'):
            iou = torch.cat(
                [
                    bbox_overlaps(boxes, own.bboxes).amax(1) if len(own) else boxes.new_zeros(len(boxes))
                    for boxes, own in zip(regions, pseudo, strict=True)
                ]
            )
        return background_reliability(mode, teacher, student, iou)

    def _reg_loss(self, stage: int, features: Features, sampled: list, context: dict, found: dict) -> Tensor:
        """The detector's box loss. Only positives have one, so only they pass the head; the divisor is that of all."""
        head = self.stages.part('bbox_head', stage)
        labels, weights, targets, target_weights = head.get_targets(sampled, self.stages.part('train_cfg', stage))
        positive = labels != head.num_classes
        rois = bbox2roi([own.priors for own in sampled])[positive]
        deltas = self._deltas(stage, features, rois, context, found)
        loss = head.loss(None, deltas, rois, labels[positive], weights[positive], targets[positive], target_weights[positive])[
            'loss_bbox'
        ]
        share = 1.0 if self.settings.reg_norm == 'foreground' else len(rois) / max(len(labels), 1)
        return loss * share

    def _deltas(self, stage: int, features: Features, rois: Tensor, context: dict, found: dict) -> Tensor:
        """Deltas of ``rois``; regions that have passed the head for the classification are looked up in ``found``."""
        row, column = (rois[:, None] == found['rois']).all(-1).nonzero(as_tuple=True)
        place = torch.full((len(rois),), -1, device=rois.device)
        place[row] = column
        known = place >= 0
        fresh = self.stages.boxes(stage, features, rois[~known], context)[1]
        deltas = fresh.new_empty(len(rois), fresh.shape[1])
        deltas[~known] = fresh
        deltas[known] = found['bbox_pred'][place[known]]
        return deltas

    @torch.no_grad()
    def _refined(self, stage: int, sampled: list, found: dict, metas: list[dict]) -> list[Tensor]:
        refined = self.stages.part('bbox_head', stage).refine_bboxes(sampled, found, metas)
        if refined is None:  # there was no region
            return [found['rois'].new_zeros(0, 4) for _ in metas]
        return [own.bboxes for own in refined]

    def _mask_loss(
        self,
        stage: int,
        features: Features,
        sampled: list,
        metas: list[dict],
        pseudo: list[InstanceData],
        context: dict,
        lesson: Lesson,
    ) -> Tensor:
        """Per-pixel cross entropy with the warped teacher masks, on the positives of the classification."""
        head = self.stages.part('mask_head', stage)
        logits = self.stages.masks(stage, features, bbox2roi([own.pos_priors for own in sampled]), context)
        if not len(logits):
            return logits.sum() * 0
        targets, valid = zip(
            *[
                mask_targets(
                    own.pos_priors,
                    truth.mask_probs[own.pos_assigned_gt_inds],
                    truth.weak_boxes[own.pos_assigned_gt_inds],
                    to_view(new, old, logits.device),
                    old['img_shape'],
                    logits.shape[-2:],
                    self.settings.mask_margin,
                )
                for own, truth, old, new in zip(sampled, pseudo, lesson.metas, metas, strict=True)
            ],
            strict=True,
        )
        chosen = pick_class(logits, torch.cat([own.pos_gt_labels for own in sampled]))
        return masked_bce(chosen, torch.cat(targets), torch.cat(valid)) * head.loss_mask.loss_weight
