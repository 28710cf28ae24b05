"""AutoFormer: searching transformers for visual recognition (ICCV 2021, arXiv 2107.00651).

space, complexity        architectures and what they cost
attention, vit           the network as an ordinary vision transformer
elastic, supernet        the same with sliced weights: all architectures in one
loops, search            evaluation of sub-networks and the evolution search
inferencer               images in, classes out
"""

from openmsra import compat

compat.bridge_torchvision()  # before mmpretrain, which imports torchvision

import mmpretrain.datasets  # noqa: E402, F401
import mmpretrain.evaluation  # noqa: E402, F401
import mmpretrain.models  # noqa: E402, F401

from openmsra.autoformer.inferencer import AutoFormerInferencer  # noqa: E402
from openmsra.autoformer.loops import SubnetTestLoop, SubnetValLoop  # noqa: E402
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
