"""AutoFormer: searching transformers for visual recognition (ICCV 2021, arXiv 2107.00651).

space                       architectures, and how one is drawn
relative_position, attention[_cpu], vit     the network as an ordinary vision transformer
elastic, supernet           the same with sliced weights: all architectures in one
losses                      classification and distillation
evaluation                  validation and test of named sub-networks
search/                     what architectures cost (complexity, latency, budgets), how they are scored, the evolution
inferencer                  images in, classes out

The data are images with a class: ImageNet and the transfer sets of mmpretrain, see configs/autoformer.
"""

from openmsra import compat
from openmsra.common.images import SUFFIXES

compat.import_mmpretrain(SUFFIXES)  # transforms, data sets, losses and metrics of the configs

import openmsra.common.loading  # noqa: E402, F401 - LoadImageFromFile of the pipelines
from openmsra.autoformer.evaluation import SubnetTestLoop, SubnetValLoop  # noqa: E402
from openmsra.autoformer.inferencer import AutoFormerInferencer  # noqa: E402
from openmsra.autoformer.search.complexity import count_flops, count_params  # noqa: E402
from openmsra.autoformer.search.loop import EvolutionLoop  # noqa: E402
from openmsra.autoformer.space import SearchSpace, arch_rng  # noqa: E402
from openmsra.autoformer.supernet import AutoFormerSupernet, extract_subnet  # noqa: E402
from openmsra.autoformer.vit import AutoFormerViT  # noqa: E402

__all__ = [
    'AutoFormerInferencer',
    'AutoFormerSupernet',
    'AutoFormerViT',
    'EvolutionLoop',
    'SearchSpace',
    'SubnetTestLoop',
    'SubnetValLoop',
    'arch_rng',
    'count_flops',
    'count_params',
    'extract_subnet',
]
