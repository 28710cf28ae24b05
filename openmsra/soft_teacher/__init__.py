"""Soft Teacher: semi-supervised object detection and instance segmentation (ICCV 2021, arXiv 2106.09018).

detector        student and teacher, one training step (sec. 3.1); mean_teacher: the EMA; settings: the options
pseudo_labels   what the teacher detects, and which boxes supervise which part of the loss
losses          box jitter (sec. 3.3) and soft background weights (sec. 3.2) as functions
geometry        boxes between views; precision: coordinates in float32
two_stage       the unsupervised loss of Faster, Mask, Cascade R-CNN and HTC; roi_stages: their heads under one interface
hooks           checks, pictures of a test, export as a plain detector
inferencer      images in, drawn boxes and COCO results out; drawing: boxes with names that can be read
extensions/     beyond the paper: one-stage detectors, masks, score thresholds by class; the extra block of HTC++
data/           labelled and unlabelled images, splits, mixed batches, augmentations, two views whose matrices are checked
evaluation/     both networks in one validation, AP, several views of an image
monitor/        pseudo labels under watch: figures, pictures; browse: the same outside of a training
"""

from openmsra import compat

compat.bridge_torchvision()
compat.leave_out_multimodal()  # mmdet imports mmpretrain

with compat.quiet_imports():
    import mmdet.datasets  # transforms and metrics that configs name
    import mmdet.evaluation
    import mmdet.models  # noqa: F401 - detectors that configs name

from openmsra.soft_teacher.data.datasets import LabelledCoco, UnlabelledCoco, UnlabelledFolder  # noqa: E402
from openmsra.soft_teacher.data.sampler import MultiSourceSampler  # noqa: E402
from openmsra.soft_teacher.data.transforms import EmptyAnnotations, EraseSquares, LoadCheckedImage, OneColourOp, OneGeometricOp  # noqa: E402
from openmsra.soft_teacher.data.views import ViewBranches  # noqa: E402
from openmsra.soft_teacher.detector import BranchDataPreprocessor, SoftTeacher  # noqa: E402
from openmsra.soft_teacher.evaluation.loop import TeacherStudentValLoop  # noqa: E402
from openmsra.soft_teacher.evaluation.metric import CheckedCocoMetric  # noqa: E402
from openmsra.soft_teacher.evaluation.multi_scale import MultiScaleTestLoop  # noqa: E402
from openmsra.soft_teacher.extensions.global_attention import GlobalAttentionFPN  # noqa: E402
from openmsra.soft_teacher.hooks import DetectionPictures, ExportDetector, NumClassesHook  # noqa: E402
from openmsra.soft_teacher.inferencer import SoftTeacherInferencer  # noqa: E402
from openmsra.soft_teacher.monitor.hook import PseudoLabelMonitor  # noqa: E402

__all__ = [
    'BranchDataPreprocessor',
    'CheckedCocoMetric',
    'DetectionPictures',
    'EmptyAnnotations',
    'EraseSquares',
    'ExportDetector',
    'GlobalAttentionFPN',
    'LabelledCoco',
    'LoadCheckedImage',
    'MultiScaleTestLoop',
    'MultiSourceSampler',
    'NumClassesHook',
    'OneColourOp',
    'OneGeometricOp',
    'PseudoLabelMonitor',
    'SoftTeacher',
    'SoftTeacherInferencer',
    'TeacherStudentValLoop',
    'UnlabelledCoco',
    'UnlabelledFolder',
    'ViewBranches',
]
