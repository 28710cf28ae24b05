"""CKDN: conditional knowledge distillation for degraded-reference image quality (ICCV 2021, arXiv 2108.07948).

network, designs   the parts, and what they are cut from: ResNets or other networks of torchvision
model, losses      the four-output network and its slim inference; the losses of both training stages
hooks              the switch between the stages, the watch over a collapse
metrics            the evaluation: correlations of scores with human ones
inferencer         scores of image files and folders; export writes the network that scores
data/              data sets, the official preprocessing, pairs of files, degraded inputs for data sets that have none, and scored
                   versions of photographs (versions, with the formulas of quality)
report/            comparison of methods, contact sheet, quality maps
"""

from openmsra import compat

compat.bridge_torchvision()

from openmsra.ckdn.data.degrade import SyntheticDegraded  # noqa: E402
from openmsra.ckdn.data.fr_datasets import FRLabelDataset  # noqa: E402
from openmsra.ckdn.data.pipal import PIPALDataset  # noqa: E402
from openmsra.ckdn.data.preprocessor import PairDataPreprocessor  # noqa: E402
from openmsra.ckdn.data.table import ScoredTable  # noqa: E402
from openmsra.ckdn.data.transforms import LoadPair, PackPair, RandomCropPair, ResizeCropPair  # noqa: E402
from openmsra.ckdn.data.versions import PhotoVersions  # noqa: E402
from openmsra.ckdn.hooks import CollapseWatchHook, TwoStageHook  # noqa: E402
from openmsra.ckdn.inferencer import CKDNInferencer  # noqa: E402
from openmsra.ckdn.losses import CKDNLoss, ConditionalDistillation, elo_expectation  # noqa: E402
from openmsra.ckdn.metrics import IQACorrelation  # noqa: E402
from openmsra.ckdn.model import CKDN  # noqa: E402

__all__ = [
    'CKDN',
    'CKDNInferencer',
    'CKDNLoss',
    'CollapseWatchHook',
    'ConditionalDistillation',
    'FRLabelDataset',
    'IQACorrelation',
    'LoadPair',
    'PIPALDataset',
    'PackPair',
    'PairDataPreprocessor',
    'PhotoVersions',
    'RandomCropPair',
    'ResizeCropPair',
    'ScoredTable',
    'SyntheticDegraded',
    'TwoStageHook',
    'elo_expectation',
]
