"""CKDN: conditional knowledge distillation for degraded-reference image quality (ICCV 2021, arXiv 2108.07948).

network, designs         the parts, and what they are cut from: ResNets or other networks of torchvision
model, losses            the four-output network and its slim inference, both training stages
transforms, preprocessor the official preprocessing
pairs, crops, inferencer, compare, sheet, maps, export
                         scoring of image files and folders
pipal, fr_datasets, photos, photo_archive, degrade, restore
                         data sets, and degraded inputs for those that have none
hooks, metrics           the stage switch, correlations
"""

from openmsra import compat

compat.bridge_torchvision()

from openmsra.ckdn.data.degrade import SyntheticDegraded  # noqa: E402
from openmsra.ckdn.data.fr_datasets import FRLabelDataset  # noqa: E402
from openmsra.ckdn.data.pipal import PIPALDataset  # noqa: E402
from openmsra.ckdn.data.preprocessor import PairDataPreprocessor  # noqa: E402
from openmsra.ckdn.data.transforms import LoadPair, PackPair, ResizeCropPair  # noqa: E402
from openmsra.ckdn.hooks import TwoStageHook  # noqa: E402
from openmsra.ckdn.inferencer import CKDNInferencer  # noqa: E402
from openmsra.ckdn.losses import CKDNLoss, ConditionalDistillation, elo_expectation  # noqa: E402
from openmsra.ckdn.metrics import IQACorrelation  # noqa: E402
from openmsra.ckdn.model import CKDN  # noqa: E402

__all__ = [
    'CKDN',
    'CKDNInferencer',
    'CKDNLoss',
    'ConditionalDistillation',
    'FRLabelDataset',
    'IQACorrelation',
    'LoadPair',
    'PIPALDataset',
    'PackPair',
    'PairDataPreprocessor',
    'ResizeCropPair',
    'SyntheticDegraded',
    'TwoStageHook',
    'elo_expectation',
]
