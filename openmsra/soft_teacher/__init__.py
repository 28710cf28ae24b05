"""Soft Teacher: semi-supervised object detection and instance segmentation (ICCV 2021, arXiv 2106.09018).

geometry, pseudo_labels, masks   the maths: views, box jitter, soft background weights, mask targets
settings, detector               options; student and teacher
lessons, thresholds              what the teacher says, and which boxes teach what
roi_stages, two_stage, one_stage Faster, Mask and Cascade R-CNN, HTC; RetinaNet, FCOS, ATSS
hooks, loops                     EMA, schedules, export; evaluation of both networks
quality, monitor, pictures       pseudo labels under watch; browse: the same outside of a training
datasets, splits, scenes         labelled and unlabelled images; drawing splits; miniature scenes
sampler                          mixed batches
transforms, views                official augmentations; two views whose matrices are checked
inferencer                       images in, drawn boxes and COCO results out
"""

from openmsra import compat

compat.bridge_torchvision()

import mmdet.datasets  # noqa: E402, F401 - transforms and metrics that configs name
import mmdet.evaluation  # noqa: E402, F401
import mmdet.models  # noqa: E402, F401 - detectors that configs name

from openmsra.soft_teacher.data.datasets import LabelledCoco, UnlabelledCoco, UnlabelledFolder  # noqa: E402
from openmsra.soft_teacher.data.sampler import MultiSourceSampler  # noqa: E402
from openmsra.soft_teacher.data.transforms import EmptyAnnotations, EraseSquares, OneColourOp, OneGeometricOp  # noqa: E402
from openmsra.soft_teacher.data.views import ViewBranches  # noqa: E402
from openmsra.soft_teacher.detector import BranchDataPreprocessor, SoftTeacher  # noqa: E402
from openmsra.soft_teacher.evaluation.loop import TeacherStudentValLoop  # noqa: E402
from openmsra.soft_teacher.hooks import ExportTeacher, MeanTeacher, UnsupWeightSchedule  # noqa: E402
from openmsra.soft_teacher.inferencer import SoftTeacherInferencer  # noqa: E402
from openmsra.soft_teacher.monitor.hook import PseudoLabelMonitor  # noqa: E402

__all__ = [
    'BranchDataPreprocessor',
    'EmptyAnnotations',
    'EraseSquares',
    'ExportTeacher',
    'LabelledCoco',
    'MeanTeacher',
    'MultiSourceSampler',
    'OneColourOp',
    'OneGeometricOp',
    'PseudoLabelMonitor',
    'SoftTeacher',
    'SoftTeacherInferencer',
    'TeacherStudentValLoop',
    'UnlabelledCoco',
    'UnlabelledFolder',
    'UnsupWeightSchedule',
    'ViewBranches',
]
