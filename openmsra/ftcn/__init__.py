"""FTCN: fully temporal convolutions and a temporal transformer detect forged face videos (ICCV 2021, arXiv 2108.06693).

network, heads, model   the network with its options, loss and prediction; fast is its exact rewrite for inference
clips, synthetic        clips of faces, clips with synthetic forgeries
perturb                 seven perturbations of clips in five levels
schedule, metrics       the learning rate, clip- and video-level figures
layouts, prepare        the videos of public data sets, crops of their faces on the disk
faces, tracking, align  detectors and tracks of faces, one transform per clip
inferencer, report      scores of a video over time; JSON, CSV, plot and annotated video of them
"""

from openmsra import compat

compat.bridge_torchvision()

from openmsra.common.clips import ClipDataPreprocessor  # noqa: E402
from openmsra.ftcn.data.clips import AugmentClip, FaceClips, PackClip  # noqa: E402
from openmsra.ftcn.data.perturb import PerturbClip  # noqa: E402
from openmsra.ftcn.inferencer import FTCNInferencer, TrackScore, VideoScore  # noqa: E402
from openmsra.ftcn.metrics import VideoForgeryMetric  # noqa: E402
from openmsra.ftcn.model import FTCN  # noqa: E402
from openmsra.ftcn.schedule import WarmupCosineLR  # noqa: E402

__all__ = [
    'FTCN',
    'AugmentClip',
    'ClipDataPreprocessor',
    'FTCNInferencer',
    'FaceClips',
    'PackClip',
    'PerturbClip',
    'TrackScore',
    'VideoForgeryMetric',
    'VideoScore',
    'WarmupCosineLR',
]
