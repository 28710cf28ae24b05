"""MCN: meta-contrastive pre-training of video encoders (ICCV 2021, arXiv 2108.08426). No code was published.

model               MCN and its baselines
meta, tasks         the two stages of an iteration as functions; groups of videos, pairs of clips
losses, heads       contrastive and meta branch, feature combination
negatives           queue of keys, memory bank
encoders, features  R3D-18, R(2+1)D-18, S3D; one feature a video
recompute           activations that are computed again, through the inner step
hooks               watches the adaptation
data                clips of listed videos, views of them; official splits of UCF101, HMDB51 and Kinetics
evaluation          fine-tuning and linear probe, retrieval, their figures and pictures
export, inferencer  the encoder from and for other libraries; embeddings and neighbours
"""

from openmsra import compat

compat.bridge_mmaction()

from openmsra.common.clips import ClipDataPreprocessor  # noqa: E402
from openmsra.mcn.data.sampler import RecordingSampler  # noqa: E402
from openmsra.mcn.data.transforms import ClipJitter  # noqa: E402
from openmsra.mcn.data.videos import VideoClips  # noqa: E402
from openmsra.mcn.encoders import S3D, TinyVideoNet, VideoResNet  # noqa: E402
from openmsra.mcn.evaluation.accuracy import VideoAccuracy  # noqa: E402
from openmsra.mcn.evaluation.classifier import VideoClassifier  # noqa: E402
from openmsra.mcn.evaluation.retrieval import VideoRetrieval  # noqa: E402
from openmsra.mcn.features import VideoEncoder  # noqa: E402
from openmsra.mcn.hooks import AdaptationWatch  # noqa: E402
from openmsra.mcn.inferencer import MCNInferencer  # noqa: E402
from openmsra.mcn.model import MCN  # noqa: E402

__all__ = [
    'MCN',
    'S3D',
    'AdaptationWatch',
    'ClipDataPreprocessor',
    'ClipJitter',
    'MCNInferencer',
    'RecordingSampler',
    'TinyVideoNet',
    'VideoAccuracy',
    'VideoClassifier',
    'VideoClips',
    'VideoEncoder',
    'VideoResNet',
    'VideoRetrieval',
]
