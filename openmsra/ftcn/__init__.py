"""FTCN: fully temporal convolutions and a temporal transformer detect forged face videos (ICCV 2021, arXiv 2108.06693).

network, heads, model   the network with its options; its loss (binary cross-entropy) and its prediction
fast                    the exact rewrite of the network for inference on a CPU
scoring                 scores of clips while a video is read: in batches, or side by side on a processor
schedule                the learning rate of the official settings
hooks                   precise statistics of the batch norms
metrics                 clip-, frame- and video-level evaluation
inferencer, report      scores of a video over time; JSON, CSV, plot and annotated video of them
data/                   data sets of face clips and of face videos, augmentation, forgeries of a clip with itself,
                        perturbations for tests of robustness
faces/                  from videos to aligned faces: detectors, tracks, alignment, layouts of public data sets
"""

from openmsra import compat

compat.bridge_torchvision()

from openmsra.common.clips import ClipDataPreprocessor  # noqa: E402
from openmsra.ftcn.data.clips import AugmentClip, FaceClips, PackClip, StoreAsJPEG  # noqa: E402
from openmsra.ftcn.data.forge import ForgeFace  # noqa: E402
from openmsra.ftcn.data.perturb import PerturbClip, SoftenClip  # noqa: E402
from openmsra.ftcn.data.videos import FaceVideos, PairedSampler  # noqa: E402
from openmsra.ftcn.hooks import PreciseBNHook  # noqa: E402
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
    'FaceVideos',
    'ForgeFace',
    'PackClip',
    'PairedSampler',
    'PerturbClip',
    'PreciseBNHook',
    'SoftenClip',
    'StoreAsJPEG',
    'TrackScore',
    'VideoForgeryMetric',
    'VideoScore',
    'WarmupCosineLR',
]
