"""Cut one architecture out of a supernet: as weights (.pth), TorchScript (.pt) or ONNX (.onnx), checked for equality."""

import argparse
from pathlib import Path

from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool

TOLERANCE = 2e-5  # of the logits, absolute


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the supernet')
    parser.add_argument('checkpoint', help='checkpoint of the supernet')
    parser.add_argument('arch', type=Path, help='JSON file with one architecture (a search writes best.json)')
    parser.add_argument('target', type=Path, help='file to write; its ending chooses the format')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)

    import torch

    from openmsra.apis import init_model
    from openmsra.autoformer import extract_subnet
    from openmsra.common.annotations import read_json
    from openmsra.common.export import export_onnx, export_torchscript
    from openmsra.engine.checkpoint.io import save_file
    from openmsra.errors import ConfigError

    if args.target.suffix not in ('.pth', '.pt', '.onnx'):
        raise ConfigError(f'{args.target}: the name must end in .pth (weights), .pt (TorchScript) or .onnx.')
    writable_folder(args.target.parent)
    supernet = init_model(args.config, args.checkpoint)
    arch = read_json(args.arch, dict(embed_dim=int, depth=int, num_heads=list, mlp_ratio=list))
    try:
        network = extract_subnet(supernet, arch)
    except ValueError as error:
        raise ConfigError(f'{args.arch}: {error}') from None
    images = torch.randn(3, network.in_channels, *network.img_size)
    with torch.no_grad():
        supernet.set_subnet(network.arch)
        expected = supernet(images)
        if args.target.suffix == '.pth':
            save_file(dict(state_dict=network.state_dict(), meta=dict(arch=network.arch, grid=list(network.grid))), args.target)
            written = network(images)
        else:
            inputs = dict(images=images)
            written = (
                export_torchscript(network, inputs, args.target)
                if args.target.suffix == '.pt'
                else export_onnx(network, inputs, 'logits', args.target)
            )
    error = (written - expected).abs().max().item()
    if error > TOLERANCE:
        args.target.unlink()
        raise ConfigError(f'{args.target}: logits differ by {error:.1e} from those of the supernet; the file was removed.')
    print(f'wrote {args.target}: {supernet.count_params(network.arch):,} parameters, largest difference {error:.1e}')


if __name__ == '__main__':
    run_tool(main)
