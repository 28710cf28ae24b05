"""MaskCo: contrastive mask prediction pre-trains image encoders (ICCV 2021, arXiv 2108.07954). No code was published.

model                   the chain of the paper and its loss, also as MoCo v2
regions, heads          masks, RoIAlign; mask prediction head
contrast                similarities of regions (InfoNCE, queue and ShuffleBN are in openmsra.common.contrastive)
hooks                   the queue and the pretext task under watch
data                    unlabelled images; views with corresponding regions, their geometry; labelled images and boxes for probes
evaluation              probes of frozen features
export, inferencer      the backbone as an ordinary ResNet; embeddings of images and regions
"""

from openmsra import compat
from openmsra.common.images import SUFFIXES

compat.import_mmpretrain(SUFFIXES)  # photometric transforms of the views, backbones, projection

import openmsra.common.loading  # noqa: E402, F401 - LoadImageFromFile of the pipelines
from openmsra.maskco.data.images import UnlabelledImages  # noqa: E402
from openmsra.maskco.data.preprocessor import ViewDataPreprocessor  # noqa: E402
from openmsra.maskco.data.probe_data import CocoRegions, LabelledFolder, SegmentedFrames  # noqa: E402
from openmsra.maskco.data.transforms import PackProbe, PackRegionViews, TwoRegionViews  # noqa: E402
from openmsra.maskco.evaluation.cell_probe import CellProbe  # noqa: E402
from openmsra.maskco.evaluation.frozen_probe import FrozenProbe  # noqa: E402
from openmsra.maskco.heads import MaskPredictionHead  # noqa: E402
from openmsra.maskco.hooks import PretextWatch  # noqa: E402
from openmsra.maskco.inferencer import MaskCoInferencer  # noqa: E402
from openmsra.maskco.model import MaskCo  # noqa: E402

__all__ = [
    'CellProbe',
    'CocoRegions',
    'FrozenProbe',
    'LabelledFolder',
    'MaskCo',
    'MaskCoInferencer',
    'MaskPredictionHead',
    'PackProbe',
    'PackRegionViews',
    'PretextWatch',
    'SegmentedFrames',
    'TwoRegionViews',
    'UnlabelledImages',
    'ViewDataPreprocessor',
]
