"""Score thresholds by class that follow the teacher (ours): as many pseudo boxes as the labelled images let expect."""

import torch
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor, nn

from openmsra.common.ema import ramped_momentum

BINS = 200  # of the scores in [0, 1]


class ClassThresholds(nn.Module):
    """Running means of labelled objects and of teacher scores per image and class, and the thresholds that match them.

    The threshold of a class is the lowest score above which the teacher has at most ``share`` times as many candidates per
    unlabelled image as labelled images have objects. The means are buffers: they are saved and resumed with the model, and they
    are the same in all processes.

    Args:
        num_classes: C.
        share: of the expected objects.
        momentum: of the means over iterations; plain means at first.
    """

    def __init__(self, num_classes: int, share: float, momentum: float = 0.999) -> None:
        super().__init__()
        self.num_classes, self.share, self.momentum = num_classes, share, momentum
        self.register_buffer('objects', torch.zeros(num_classes))
        self.register_buffer('candidates', torch.zeros(num_classes, BINS))
        self.register_buffer('updates', torch.zeros(2, dtype=torch.long))  # of the two means

    @torch.no_grad()
    def see_labels(self, gt_instances: list[InstanceData]) -> None:
        """Objects of a labelled batch."""
        labels = torch.cat([instances.labels for instances in gt_instances])
        self._follow(self.objects, 0, torch.bincount(labels, minlength=self.num_classes) / len(gt_instances))

    @torch.no_grad()
    def see_candidates(self, candidates: list[InstanceData]) -> None:
        """Detections of the teacher in an unlabelled batch: ``labels`` and ``scores``."""
        labels, scores = (torch.cat([instances[key] for instances in candidates]) for key in ('labels', 'scores'))
        bins = labels * BINS + (scores * BINS).long().clamp(max=BINS - 1)
        counts = torch.bincount(bins, minlength=self.candidates.numel()).view_as(self.candidates)
        self._follow(self.candidates, 1, counts / len(candidates))

    def _follow(self, mean: Tensor, which: int, value: Tensor) -> None:
        momentum = ramped_momentum(int(self.updates[which]), self.momentum)
        mean.lerp_(reduce_mean(value.to(mean)), 1 - momentum)
        self.updates[which] += 1

    def values(self) -> Tensor:
        """(C,) thresholds in [0, 1]; 0 where all candidates are fewer than expected, 1 where the surest are too many."""
        above = self.candidates.flip(1).cumsum(1).flip(1)  # (C, BINS) candidates per image from each score on
        return (above > self.share * self.objects[:, None] + 1e-6).sum(1) / BINS
