"""Write the scoring network of CKDN as TorchScript (.pt) or ONNX (.onnx), checked for equality.

Inputs are ``restored`` and ``degraded``, (B, 3, 288, 288), RGB in 0..255 after the official preprocessing (short side 329,
centre crop 288; see openmsra/ckdn/data/transforms.py); the normalisation is part of the file. The output ``score`` is (B,).
"""

import argparse
from pathlib import Path

from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError

CONFIG = Path(__file__).resolve().parents[2] / 'configs/ckdn/ckdn_r50_8xb8-30e_pipal.py'
TOLERANCE = 1e-5  # of the scores, absolute


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path, help='converted or trained checkpoint')
    parser.add_argument('target', type=Path, help='file to write; its ending chooses the format')
    parser.add_argument('--config', type=Path, default=CONFIG, help='config of the checkpoint')
    parser.add_argument('--size', type=int, default=288, help='side of the square images in pixels')
    args = parser.parse_args(argv)
    if args.target.suffix not in ('.pt', '.onnx'):
        raise ToolError(f'{args.target}: the name must end in .pt (TorchScript) or .onnx.')
    writable_folder(args.target.parent)

    import torch

    from openmsra.apis import init_model
    from openmsra.ckdn.export import PixelScorer
    from openmsra.common.export import export_onnx, export_torchscript

    model = init_model(args.config, args.checkpoint)
    inputs = {role: torch.randint(256, (3, 3, args.size, args.size)).float() for role in ('restored', 'degraded')}
    with torch.no_grad():
        expected = model({role: model.data_preprocessor.stack(pixels) for role, pixels in inputs.items()})
        model.fold_batch_norms()
        scorer = PixelScorer(model).eval()
        written = (
            export_torchscript(scorer, inputs, args.target)
            if args.target.suffix == '.pt'
            else export_onnx(scorer, inputs, 'score', args.target)
        )
    error = float((written - expected).abs().max())
    if error > TOLERANCE:
        args.target.unlink()
        raise ToolError(f'{args.target}: scores differ by {error:.1e} from those of the model; the file was removed.')
    print(f'wrote {args.target}: largest difference {error:.1e}')


if __name__ == '__main__':
    run_tool(main)
