"""Train a small denoiser on patches of photographs, with L1 alone and with L1 + CKDNLoss, and compare the two.

The example shows how the loss is used and what it does to a restoration; with the miniature metric (ranks by SSIM, no human
scores) it says nothing about perceived quality.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError

CONFIG = Path(__file__).resolve().parents[2] / 'configs/ckdn/ckdn_r18_1xb64-4e_photos_mini.py'
SHOWN = 6


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path, help='checkpoint of a CKDN model')
    parser.add_argument('--config', type=Path, default=CONFIG, help='config of the checkpoint')
    parser.add_argument('--archive', type=Path, default=Path('data/ckdn_photos.npz'), help='patches; made if absent')
    parser.add_argument('--weight', type=float, default=0.05, help='weight of CKDNLoss beside L1 (of images in 0..1)')
    parser.add_argument('--steps', type=int, default=300)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('ckdn_loss_example'), help='folder for figures.json and patches.png')
    args = parser.parse_args(argv)
    if args.steps < 1 or args.weight < 0:
        raise ToolError(f'--steps {args.steps} must be positive and --weight {args.weight} not negative.')
    writable_folder(args.out)
    from openmsra.apis import init_model
    from openmsra.ckdn import CKDNLoss

    loss = CKDNLoss(init_model(args.config, args.checkpoint), args.weight)
    train, test = (load(args.archive, split) for split in ('train', 'test'))
    networks = {name: train_denoiser(*train, term, args.steps, args.seed) for name, term in (('L1', None), ('L1 + CKDN', loss))}
    report(networks, loss, test, args)


def load(archive: Path, split: str) -> tuple[Tensor, Tensor]:
    """Degraded and pristine patches (N, 3, H, W) in 0..1."""
    from openmsra.miniatures.restored_photos import RestoredPhotos

    pixels = RestoredPhotos(str(archive), split, []).pixels
    degraded = pixels['degraded']
    pristine = np.repeat(pixels['pristine'][:, None], degraded.shape[1], axis=1)
    return tuple(
        torch.from_numpy(side.reshape(-1, *side.shape[2:])).permute(0, 3, 1, 2).float() / 255 for side in (degraded, pristine)
    )


def normalised(loss: nn.Module, image: Tensor) -> Tensor:
    """Images in 0..1 as the metric wants them; differentiable."""
    return loss.metric.data_preprocessor.stack(255 * image)


def train_denoiser(degraded: Tensor, pristine: Tensor, loss: nn.Module | None, steps: int, seed: int) -> nn.Module:
    """A denoiser trained with L1 to the pristine patch and, if given, with the metric against the degraded one."""
    from openmsra.miniatures.restorers import Denoiser

    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network = Denoiser()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(steps):
        chosen = torch.randint(len(degraded), (32,), generator=generator)
        restored = network(degraded[chosen])
        total = F.l1_loss(restored, pristine[chosen])
        if loss is not None:
            total = total + loss(normalised(loss, restored.clamp(0, 1)), normalised(loss, degraded[chosen]))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return network.eval()


@torch.inference_mode()
def report(networks: dict[str, nn.Module], loss: nn.Module, test: tuple[Tensor, Tensor], args: argparse.Namespace) -> None:
    """Error and score of each denoiser on unseen photographs; patches side by side."""
    degraded, pristine = test
    results = dict(degraded=degraded) | {name: network(degraded).clamp(0, 1) for name, network in networks.items()}
    figures = {}
    for name, image in results.items():
        error = (image - pristine).square().mean((1, 2, 3))
        score = loss.metric(dict(restored=normalised(loss, image), degraded=normalised(loss, degraded)))
        figures[name] = dict(psnr=float(-10 * error.clamp(min=1e-8).log10().mean()), score=float(score.mean()))
        print(f'{name}: PSNR {figures[name]["psnr"]:.2f} dB, CKDN score {figures[name]["score"]:.4f}')
    (args.out / 'figures.json').write_text(json.dumps(figures, indent=1) + '\n', encoding='utf-8')
    shown = torch.linspace(0, len(degraded) - 1, SHOWN).long()
    columns = torch.stack([*(image[shown] for image in results.values()), pristine[shown]], dim=1)
    sheet = columns.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (rows * H, columns * W, 3)
    picture = Image.fromarray((255 * sheet).round().byte().numpy())
    picture.resize((3 * picture.width, 3 * picture.height), Image.Resampling.NEAREST).save(args.out / 'patches.png')
    print(f'wrote {args.out}/patches.png (columns: {", ".join(results)}, pristine) and figures.json')


if __name__ == '__main__':
    run_tool(main)
