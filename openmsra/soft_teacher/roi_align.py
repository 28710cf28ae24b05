"""RoIAlign as two small matrix products for each region; equal to mmcv's operator up to rounding.

On a CPU it is the faster form. On a GPU mmcv's gradient adds the shares of the regions in an order that changes from run to run
(``atomicAdd``), and torch does not know of it: there the products are the form with fixed algorithms (``--deterministic``).

What a bin averages are samples on a grid, and bilinear interpolation is linear in each coordinate, so that for a region

    out[p, q] = sum_y sum_x  V[p, y] U[q, x] F[y, x]

with V (P, H) and U (Q, W), which hold the shares of the rows and columns of the map F in the rows and columns of bins. mmcv's
operator takes the four neighbours of each sample anew for each channel.

Shapes: R regions, B images, C channels, maps of H x W, P x Q bins.
"""

from collections.abc import Iterator

import torch
from mmcv.ops import RoIAlign as MMCVRoIAlign
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from openmsra.engine.deterministic import must_be_fixed


class RoIAlign(MMCVRoIAlign):
    """mmcv's layer; average pools of single and double precision are matrix products on a CPU and with fixed algorithms."""

    @property
    def has_fixed_gradient(self) -> bool:
        """Whether it can repeat itself on a GPU."""
        return self.pool_mode == 'avg' or self.use_torchvision

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:  # noqa: A002 - mmcv's name
        """(B, C, H, W) and (R, 5), number of the image and x1, y1, x2, y2, to (R, C, P, Q).

        Raises:
            RuntimeError: fixed algorithms are asked for, and this pool has a gradient without one on the device.
        """
        fixed = must_be_fixed(input.device.type)
        usual = self.pool_mode == 'avg' and not self.use_torchvision and input.dtype in (torch.float32, torch.float64)
        if not usual and fixed and not self.use_torchvision:
            raise RuntimeError(
                f'RoIAlign: pool_mode={self.pool_mode!r} in {input.dtype} has no gradient that repeats itself on a GPU: '
                "pool_mode='avg' and float32 have one with --deterministic; else train without it."
            )
        if not (usual and (fixed or input.device.type == 'cpu')) or not len(rois):
            return super().forward(input.contiguous(), rois)  # the operator reads memory as if it were, whatever the strides say
        shares = bin_shares(
            rois[:, 1:].to(input.dtype), input.shape[2:], self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned
        )
        return _RoIAlign.apply(input, rois[:, 0].long(), *shares)


def use_products(network: nn.Module) -> None:
    """Let mmcv's RoIAlign layers of a network be those of this file."""
    for module in network.modules():
        if type(module) is MMCVRoIAlign:
            module.__class__ = RoIAlign


@torch.no_grad()
def bin_shares(
    boxes: Tensor, size: tuple[int, int], bins: tuple[int, int], scale: float, sampling_ratio: int, aligned: bool
) -> tuple[Tensor, Tensor]:
    """V (R, P, H) and U (R, Q, W) of boxes (R, 4), x1, y1, x2, y2 in pixels of the image.

    Args:
        size: H and W.
        bins: P and Q.
        scale: pixels of the map per pixel of the image.
        sampling_ratio: samples of a bin in each direction; 0: one for each begun pixel of the map.
        aligned: pixel centres are at halves; without it (detectors of 2017) regions are at least a pixel of the map wide.
    """
    starts, ends = (boxes * scale - (0.5 if aligned else 0.0)).unflatten(1, (2, 2)).unbind(1)
    lengths = ends - starts if aligned else (ends - starts).clamp(min=1)
    shares = []
    for axis, length, count in zip((1, 0), size, bins, strict=True):
        bin_length = lengths[:, axis] / count
        samples = torch.full_like(bin_length, sampling_ratio) if sampling_ratio > 0 else bin_length.ceil()
        shares.append(_shares(starts[:, axis], bin_length, samples, count, length))
    return tuple(shares)


def _shares(start: Tensor, bin_length: Tensor, samples: Tensor, count: int, length: int) -> Tensor:
    """(R, count, length); ``start``, ``bin_length`` and ``samples`` of a bin are (R,)."""
    start, bin_length, samples = (value[:, None, None] for value in (start, bin_length, samples))
    numbers = torch.arange(max(int(samples.max()), 1)).to(start)
    places = start + torch.arange(count).to(start)[:, None] * bin_length + (numbers + 0.5) * bin_length / samples
    share = ((places >= -1) & (places <= length) & (numbers < samples)) / samples.clamp(min=1)
    places = places.nan_to_num().clamp(0, length - 1)  # without extent 0 / 0 samples
    low = places.floor()
    upper = (places - low) * share
    out = start.new_zeros(len(start), count, length)
    out.scatter_add_(2, low.long(), share - upper)
    return out.scatter_add_(2, (low.long() + 1).clamp(max=length - 1), upper)


class _RoIAlign(Function):
    """(B, C, H, W), numbers of the images (R,), V and U to (R, C, P, Q)."""

    @staticmethod
    def forward(ctx, x: Tensor, images: Tensor, v: Tensor, u: Tensor) -> Tensor:
        ctx.save_for_backward(images, v, u)
        ctx.size = x.shape
        maps = x.permute(0, 2, 3, 1).contiguous()
        out = x.new_zeros(len(v), v.shape[1], u.shape[1], x.shape[1])
        with torch.autocast(x.device.type, enabled=False):
            for bins, region, rows, columns in _regions(out, maps, images, v, u):
                strips = torch.mm(rows, region.flatten(1)).unflatten(1, region.shape[1:])  # (P, w, C)
                torch.bmm(columns.expand(len(strips), -1, -1), strips, out=bins)
        return out.permute(0, 3, 1, 2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx, g: Tensor) -> tuple:
        images, v, u = ctx.saved_tensors
        batch, channels, *size = ctx.size
        maps = g.new_zeros(batch, *size, channels)
        with torch.autocast(g.device.type, enabled=False):
            for bins, region, rows, columns in _regions(g.permute(0, 2, 3, 1).contiguous(), maps, images, v, u):
                strips = torch.bmm(columns.t().expand(len(bins), -1, -1), bins)
                region.flatten(1).addmm_(rows.t(), strips.flatten(1))
        return maps.permute(0, 3, 1, 2).contiguous(), None, None, None


def _regions(bins: Tensor, maps: Tensor, images: Tensor, v: Tensor, u: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Of every region that meets its map: its bins (P, Q, C), the part (h, w, C) of the map, and the parts (P, h) of V and (Q, w)
    of U that are not 0."""
    (top, bottom), (left, right) = _reach(v), _reach(u)
    for number, (image, y1, y2, x1, x2) in enumerate(zip(images.tolist(), top, bottom, left, right, strict=True)):
        if y1 < y2 and x1 < x2:
            yield bins[number], maps[image, y1:y2, x1:x2], v[number, :, y1:y2], u[number, :, x1:x2]


def _reach(shares: Tensor) -> tuple[list[int], list[int]]:
    """First place of each region with a share, and that behind the last."""
    used = (shares > 0).any(1).int()
    length = shares.shape[2]
    first, last = used.argmax(1), length - used.flip(1).argmax(1)
    return first.tolist(), torch.where(used.any(1), last, first).tolist()
