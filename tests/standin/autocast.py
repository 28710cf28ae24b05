"""Mixed precision of the stand-in: the casts that autocast makes on CUDA, registered for its key.

The lists are those of https://docs.pytorch.org/docs/stable/amp.html, without what no network here calls.
"""

from collections.abc import Callable

import torch
from torch.utils._pytree import tree_map

KEY = 'AutocastPrivateUse1'
LOWER_PRECISION = """
    _convolution addbmm addmm addmv addr baddbmm bmm conv1d conv2d conv3d conv_transpose1d conv_transpose2d.input
    conv_transpose3d.input convolution einsum linear matmul mm mv prelu scaled_dot_product_attention
"""
FLOAT32 = """
    acos asin binary_cross_entropy_with_logits cosh cosine_embedding_loss cosine_similarity cumprod cumsum dist
    embedding_bag erfinv exp expm1 group_norm hinge_embedding_loss huber_loss kl_div l1_loss layer_norm log log10 log1p log2
    log_softmax.int logsumexp margin_ranking_loss mse_loss multi_margin_loss nll_loss nll_loss2d nll_loss_nd norm.Scalar
    norm.ScalarOpt_dim pow.Scalar pow.Tensor_Scalar pow.Tensor_Tensor prod prod.dim_int reciprocal rsqrt sinh smooth_l1_loss
    soft_margin_loss softmax.int softplus sum sum.dim_IntList tan triplet_margin_loss upsample_bilinear2d
    upsample_nearest2d upsample_trilinear3d
"""
TYPES = (torch.float, torch.bfloat16, torch.half)
WIDEST = 'addcdiv addcmul atan2 bilinear cross dot grid_sampler index_put scatter_add tensordot vdot'
_keys = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)
_libraries = torch.library.Library('_', 'IMPL'), torch.library.Library('aten', 'IMPL')  # what they register lives as long as they


def register(device: str) -> None:
    """Let ``torch.autocast(device)`` cast; operators on no list run in the types that they get."""
    _libraries[0].fallback(torch.library.fallthrough_kernel, KEY)

    def wide() -> torch.dtype:
        return torch.float32

    def lower() -> torch.dtype:
        return torch.get_autocast_dtype(device)

    for names, choose in ((LOWER_PRECISION, lower), (FLOAT32, wide), (WIDEST, None)):
        for name in names.split():
            packet, _, overload = name.partition('.')
            operator = getattr(getattr(torch.ops.aten, packet), overload or 'default')
            _libraries[1].impl(name, _casting(operator, device, choose), KEY)


def _casting(operator: Callable, device: str, choose: Callable[[], torch.dtype] | None) -> Callable:
    """``operator`` on arguments of the type that ``choose`` gives, or of the widest type among them."""

    def call(*args, **kwargs):
        tensors = []

        def eligible(x) -> bool:
            return (
                isinstance(x, torch.Tensor) and x.device.type == device and x.dtype in (torch.float, torch.bfloat16, torch.half)
            )

        tree_map(lambda x: tensors.append(x) if eligible(x) else None, (args, kwargs))
        if choose is not None:
            dtype = choose()
        else:
            dtype = torch.float32 if any(x.dtype == torch.float for x in tensors) else torch.get_autocast_dtype(device)
        with torch._C._ExcludeDispatchKeyGuard(_keys):
            args, kwargs = tree_map(lambda x: x.to(dtype) if eligible(x) else x, (args, kwargs))
            return operator(*args, **kwargs)

    return call
