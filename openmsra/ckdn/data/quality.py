"""Full-reference measures without trained weights, for labels where no human looked: SSIM, GMSD, FSIM, VIF of grey images.

All take grey images (B, H, W) in 0..255 of any float type and give one value per image (B,).
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor


def grey(images: Tensor) -> Tensor:
    """Luma (B, H, W) of RGB images (B, 3, H, W) in 0..255."""
    return (images * images.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Wang et al. 2004: Gaussian window of 11 pixels and deviation 1.5, constants 0.01 and 0.03; higher is better."""
    window = _gaussian(11, 1.5, first)
    (mean1, mean2), (var1, var2), cross = _moments(first, second, window)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = (2 * mean1 * mean2 + c1) * (2 * cross + c2) / ((mean1**2 + mean2**2 + c1) * (var1 + var2 + c2))
    return values.flatten(1).mean(1)


def gmsd(first: Tensor, second: Tensor) -> Tensor:
    """Xue et al. 2014: deviation of the similarity of Prewitt gradients at half size; lower is better."""
    maps = [_gradient(F.avg_pool2d(x[:, None], 2)[:, 0], (1, 1, 1), 3) for x in (first, second)]
    return _similarity(*maps, 170.0).flatten(1).std(1, correction=0)


def vif(first: Tensor, second: Tensor) -> Tensor:
    """Visual information fidelity in the pixel domain (Sheikh and Bovik 2006), ``second`` is the reference; higher is better.

    Four scales; images need 42 pixels a side.
    """
    kept, total = 0, 0
    for scale in range(1, 5):
        side = 2 ** (5 - scale) + 1
        window = _gaussian(side, side / 5, first)
        if scale > 1:
            first, second = (_filtered(x, window)[:, ::2, ::2] for x in (first, second))
        _, (var1, var2), cross = _moments(first, second, window)
        var1, var2 = var1.clamp_min(0), var2.clamp_min(0)
        gain = cross / (var2 + 1e-10)
        noise = var1 - gain * cross
        flat, blank = var2 < 1e-10, var1 < 1e-10
        gain = gain.masked_fill(flat | blank, 0)
        noise = torch.where(flat, var1, noise).masked_fill(blank, 0)
        noise = torch.where(gain < 0, var1, noise).clamp_min(1e-10)
        var2, gain = var2.masked_fill(flat, 0), gain.clamp_min(0)
        kept = kept + torch.log10(1 + gain**2 * var2 / (noise + 2.0)).flatten(1).sum(1)
        total = total + torch.log10(1 + var2 / 2.0).flatten(1).sum(1)
    return kept / total.clamp_min(1e-10)


def fsim(first: Tensor, second: Tensor) -> Tensor:
    """Zhang et al. 2011: similarity of phase congruency and Scharr gradients, weighted by phase congruency; higher is better.

    For images below 384 pixels a side, which are not made smaller first.
    """
    congruency = [phase_congruency(x) for x in (first, second)]
    gradients = [_gradient(x, (3, 10, 3), 16) for x in (first, second)]
    weight = torch.maximum(*congruency)
    values = _similarity(*congruency, 0.85) * _similarity(*gradients, 160.0) * weight
    return values.flatten(1).sum(1) / weight.flatten(1).sum(1)


def phase_congruency(images: Tensor) -> Tensor:
    """Kovesi's measure (B, H, W), four log-Gabor scales and orientations, as FSIM takes it."""
    spectrum, filters = torch.fft.fft2(images), _log_gabor(*images.shape[-2:]).to(images)
    responses = torch.fft.ifft2(spectrum[:, None, None] * filters)  # (B, orientations, scales, H, W)
    even, odd, amplitude = responses.real, responses.imag, responses.abs()
    sum_even, sum_odd = even.sum(2), odd.sum(2)
    length = (sum_even**2 + sum_odd**2).sqrt() + 1e-4
    mean_even, mean_odd = (sum_even / length)[:, :, None], (sum_odd / length)[:, :, None]
    energy = (even * mean_even + odd * mean_odd - (even * mean_odd - odd * mean_even).abs()).sum(2)
    energy = (energy - _noise(amplitude[:, :, 0], filters)).clamp_min(0)
    return energy.sum(1) / (amplitude.sum((1, 2)) + 1e-4)


def _noise(smallest: Tensor, filters: Tensor) -> Tensor:
    """What noise alone would give (B, orientations, 1, 1), estimated from the smallest scale."""
    power = -(smallest.square().flatten(2).median(2).values) / math.log(0.5)
    power = power / filters[:, 0].square().sum((1, 2))
    waves = torch.fft.ifft2(filters).real * (filters.shape[-2] * filters.shape[-1]) ** 0.5
    alone = waves.square().sum((1, 2, 3))
    pairs = (waves.sum(1).square().sum((1, 2)) - alone) / 2
    energy = 2 * power * alone + 4 * power * pairs
    tau = (energy / 2).clamp_min(0).sqrt()
    threshold = tau * math.sqrt(math.pi / 2) + 2.0 * ((2 - math.pi / 2) * tau**2).sqrt()
    return (threshold / 1.7)[..., None, None]


@cache
def _log_gabor(height: int, width: int) -> Tensor:
    """Filters (4 orientations, 4 scales, H, W) in the frequency domain."""
    v, u = torch.meshgrid(*(torch.fft.fftfreq(n, dtype=torch.float64) for n in (height, width)), indexing='ij')
    radius, angle = (u**2 + v**2).sqrt(), torch.atan2(-v, u)
    low_pass = 1 / (1 + (radius / 0.45) ** 30)
    radius[0, 0] = 1
    filters = []
    for orientation in range(4):
        centre = orientation * math.pi / 4
        apart = torch.atan2(torch.sin(angle - centre), torch.cos(angle - centre)).abs()
        spread = torch.exp(-(apart**2) / (2 * (math.pi / 4 / 1.2) ** 2))
        for scale in range(4):
            frequency = 1 / (6 * 2**scale)
            radial = torch.exp(-(torch.log(radius / frequency) ** 2) / (2 * math.log(0.55) ** 2)) * low_pass
            radial[0, 0] = 0
            filters.append(radial * spread)
    return torch.stack(filters).unflatten(0, (4, 4))


def _gradient(images: Tensor, weights: tuple[float, ...], total: float) -> Tensor:
    column = images.new_tensor(weights) / total
    kernel = column[:, None] * images.new_tensor([1.0, 0.0, -1.0])
    pairs = F.conv2d(images[:, None], torch.stack([kernel, kernel.T])[:, None], padding=1)
    return pairs.square().sum(1).sqrt()


def _similarity(first: Tensor, second: Tensor, constant: float) -> Tensor:
    return (2 * first * second + constant) / (first**2 + second**2 + constant)


def _moments(first: Tensor, second: Tensor, window: Tensor) -> tuple:
    mean1, mean2 = _filtered(first, window), _filtered(second, window)
    variances = [_filtered(x * x, window) - mean**2 for x, mean in ((first, mean1), (second, mean2))]
    return (mean1, mean2), variances, _filtered(first * second, window) - mean1 * mean2


def _filtered(images: Tensor, window: Tensor) -> Tensor:
    """Separable filter, only where the window fits."""
    images = F.conv2d(images[:, None], window[None, None, :, None])
    return F.conv2d(images, window[None, None, None, :])[:, 0]


def _gaussian(side: int, deviation: float, like: Tensor) -> Tensor:
    steps = torch.arange(side, dtype=like.dtype) - side // 2
    window = torch.exp(-(steps**2) / (2 * deviation**2))
    return window / window.sum()
