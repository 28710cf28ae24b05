"""MCN: meta-contrastive pre-training of video encoders (ICCV 2021, arXiv 2108.08426). No code was published.

meta, tasks         the two stages of an iteration as functions; groups of videos, pairs of clips
losses, heads       contrastive and meta branch, feature combination
negatives           queue of keys, memory bank
encoders, features  R3D-18, R(2+1)D-18, S3D; one feature a video
model               MCN and its baselines
videos, transforms  clips of listed videos, views of them; motions has small videos of moving cut-outs
classifier          fine-tuning and linear probe as a classifier
retrieval, accuracy figures of both; hooks watches the adaptation
export, inferencer  the encoder for mmaction2; embeddings and neighbours; pictures draws them
splits              official splits of UCF101, HMDB51 and Kinetics
"""

from openmsra import compat

compat.bridge_mmaction()

from openmsra.common.clips import ClipDataPreprocessor  # noqa: E402
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
    'TinyVideoNet',
    'VideoAccuracy',
    'VideoClassifier',
    'VideoClips',
    'VideoEncoder',
    'VideoResNet',
    'VideoRetrieval',
]
