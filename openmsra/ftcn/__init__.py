"""FTCN: fully temporal convolutions and a temporal transformer detect forged face videos (ICCV 2021, arXiv 2108.06693).

network, model      the network with its options, loss and prediction
clips, synthetic    clips of aligned faces, clips with synthetic forgeries
schedule, metrics   the learning rate, clip- and video-level figures
"""

from openmsra import compat

compat.bridge_torchvision()

from openmsra.ftcn.clips import AugmentClip, FaceClips, PackClip  # noqa: E402
from openmsra.ftcn.metrics import VideoForgeryMetric  # noqa: E402
from openmsra.ftcn.model import FTCN, ClipDataPreprocessor  # noqa: E402
from openmsra.ftcn.schedule import WarmupCosineLR  # noqa: E402
from openmsra.ftcn.synthetic import SyntheticForgeries  # noqa: E402

__all__ = [
    'FTCN',
    'AugmentClip',
    'ClipDataPreprocessor',
    'FaceClips',
    'PackClip',
    'SyntheticForgeries',
    'VideoForgeryMetric',
    'WarmupCosineLR',
]
