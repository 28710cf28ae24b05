"""Restorations of varying strength, classical and learned, of small degraded patches: what the miniature experiment scores."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor, nn

Restorer = Callable[[np.ndarray], np.ndarray]


def classical_restorers() -> dict[str, Restorer]:
    """Functions of an RGB patch (H, W, 3), uint8, to a restored one, by name."""
    return {
        'identity': lambda x: x,
        'gauss_weak': lambda x: cv2.GaussianBlur(x, (0, 0), 0.8),
        'gauss_strong': lambda x: cv2.GaussianBlur(x, (0, 0), 1.6),
        'median': lambda x: cv2.medianBlur(x, 3),
        'bilateral': lambda x: cv2.bilateralFilter(x, 5, 40, 2),
        'non_local_means': _non_local_means,
        'total_variation': _total_variation,
        'wiener': _wiener,
        'richardson_lucy': _richardson_lucy,
        'sharpened': _sharpened,
    }


def _non_local_means(patch: np.ndarray) -> np.ndarray:
    bgr = np.ascontiguousarray(patch[..., ::-1])  # OpenCV tells light from colour, so it must know which channel is which
    return cv2.fastNlMeansDenoisingColored(bgr, None, 12, 12, 5, 11)[..., ::-1]


def _total_variation(patch: np.ndarray) -> np.ndarray:
    from skimage.restoration import denoise_tv_chambolle

    return to_bytes(255 * denoise_tv_chambolle(patch / 255.0, weight=0.1, max_num_iter=40, channel_axis=-1))


def _wiener(patch: np.ndarray) -> np.ndarray:
    """Local Wiener filter of each channel, windows of 5 pixels, with the noise power of the patch's mean local variance."""
    pixels = patch.astype(np.float32)
    mean = cv2.blur(pixels, (5, 5))
    variance = np.maximum(cv2.blur(pixels**2, (5, 5)) - mean**2, 1e-3)
    noise = variance.mean()
    return to_bytes(mean + np.maximum(variance - noise, 0) / np.maximum(variance, noise) * (pixels - mean))


def _richardson_lucy(patch: np.ndarray) -> np.ndarray:
    """Six steps of Richardson-Lucy deconvolution of a Gaussian blur of 1.2 pixels."""
    observed = patch.astype(np.float32) + 1.0
    estimate = observed
    for _ in range(6):
        estimate = estimate * cv2.GaussianBlur(observed / cv2.GaussianBlur(estimate, (0, 0), 1.2), (0, 0), 1.2)
    return to_bytes(estimate - 1.0)


def _sharpened(patch: np.ndarray) -> np.ndarray:
    smooth = cv2.bilateralFilter(patch, 5, 60, 2).astype(np.float32)
    return to_bytes(smooth + 1.0 * (smooth - cv2.GaussianBlur(smooth, (0, 0), 1.5)))


def hallucinated(patch: np.ndarray, texture: np.ndarray, strength: float = 0.7) -> np.ndarray:
    """A smooth version of ``patch`` with the fine texture of another patch: sharp, plausible and wrong."""
    smooth = cv2.GaussianBlur(patch, (0, 0), 1.2).astype(np.float32)
    detail = texture.astype(np.float32) - cv2.GaussianBlur(texture, (0, 0), 1.2)
    return to_bytes(smooth + strength * detail)


def mixed(pristine: np.ndarray, restored: np.ndarray, share: float) -> np.ndarray:
    """What a better restorer might give: ``share`` of the pristine patch, the rest of a restored one."""
    return to_bytes(share * pristine.astype(np.float32) + (1 - share) * restored)


def to_bytes(pixels: np.ndarray) -> np.ndarray:
    """Grey levels of any type, rounded and clipped to uint8."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


class Denoiser(nn.Module):
    """A small residual network that removes degradations; (B, 3, H, W) in 0..1 to the same."""

    def __init__(self, channels: int = 24, layers: int = 5) -> None:
        super().__init__()
        widths = [3, *[channels] * (layers - 1), 3]
        steps = [step for a, b in zip(widths, widths[1:]) for step in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True))]
        self.body = nn.Sequential(*steps[:-1])

    def forward(self, image: Tensor) -> Tensor:
        return image + self.body(image)


def train_denoisers(degraded: np.ndarray, pristine: np.ndarray, steps: tuple[int, ...], seed: int = 0) -> dict[int, Restorer]:
    """One denoiser, kept after each number of steps: learned restorers of growing strength.

    Args:
        degraded, pristine: training patches (N, H, W, 3), uint8.
        steps: increasing numbers of Adam steps of 32 patches.
    """
    torch.manual_seed(seed)
    network = Denoiser()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    rng, kept = np.random.default_rng(seed), {}
    for step in range(1, max(steps) + 1):
        chosen = rng.integers(len(degraded), size=32)
        source, target = (_batch(patches[chosen]) for patches in (degraded, pristine))
        optimizer.zero_grad()
        (network(source) - target).abs().mean().backward()
        optimizer.step()
        if step in steps:
            kept[step] = _frozen(network)
    return kept


def _frozen(network: Denoiser) -> Restorer:
    copy = Denoiser()
    copy.load_state_dict(network.state_dict())
    copy.eval()

    @torch.inference_mode()
    def restore(patch: np.ndarray) -> np.ndarray:
        return to_bytes(255 * copy(_batch(patch[None]))[0].permute(1, 2, 0).numpy())

    return restore


def _batch(patches: np.ndarray) -> Tensor:
    return torch.from_numpy(patches).permute(0, 3, 1, 2).float() / 255
