"""Parameters and multiply-accumulates of a config's network, by its parts, for one input of its size.

Counted are convolutions and matrix products (attention too), as torch's own counter does; what an operator of mmcv computes,
such as RoIAlign, is not. FLOPs in papers are often these multiply-accumulates.
"""

import argparse

from openmsra.engine.config.options import OptionAction
from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or the name of one of ours')
    parser.add_argument('--shape', type=int, nargs='+', help='of the input without the batch, such as 3 224 224 or 3 32 224 224')
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, metavar='KEY=VALUE', help='override settings')
    args = parser.parse_args(argv)

    import torch

    from openmsra.apis import init_model
    from openmsra.engine.config.files import load_config

    cfg = load_config(args.config, args.cfg_options)
    model = init_model(_without_pretrained(cfg))
    shape = tuple(args.shape or default_shape(cfg, model))
    with torch.inference_mode():
        macs = count(model, shape)
    total = sum(parameter.numel() for parameter in model.parameters())
    print(f'{cfg.filename}\ninput {" x ".join(map(str, shape))}')
    print(f'{total / 1e6:.3f} million parameters, {macs[""] / 1e9:.3f} billion multiply-accumulates')
    print(f'{"part":<24}{"parameters":>14}{"multiply-accumulates":>24}')
    for name, part in model.named_children():
        size = sum(parameter.numel() for parameter in part.parameters())
        if size or macs.get(name):
            print(f'{name:<24}{size:>14,}{macs.get(name, 0):>24,}')


def _without_pretrained(cfg):
    """No weights are needed, nor the files or the network that they would come from."""
    cfg = cfg.copy()

    def strip(value) -> None:
        if isinstance(value, dict):
            if isinstance(value.get('init_cfg'), dict) and value['init_cfg'].get('type') == 'Pretrained':
                value['init_cfg'] = None
            for name in ('imagenet_weights', 'pretrained'):
                if name in value:
                    value[name] = None
            value = list(value.values())
        for child in value if isinstance(value, list | tuple) else ():
            strip(child)

    strip(cfg.model)
    return cfg


def default_shape(cfg, model) -> tuple[int, ...]:
    """(3, H, W) of images or (3, T, H, W) of clips, as the config says or as the paper has it.

    Raises:
        ToolError: nothing says it.
    """
    kind = cfg.model.type
    if kind.startswith('AutoFormer'):
        return model.in_channels, cfg.model.get('img_size', 224), cfg.model.get('img_size', 224)
    if kind == 'FTCN':
        return 3, model.clip_len, model.size, model.size
    known = dict(
        CKDN=(3, 288, 288),
        MaskCo=(3, 224, 224),
        SoftTeacher=(3, 800, 1216),
        MCN=(3, 16, 112, 112),
        VideoEncoder=(3, 16, 112, 112),
        VideoClassifier=(3, 16, 112, 112),
    )
    if kind not in known:
        raise ToolError(f"model.type='{kind}': give --shape.")
    return known[kind]


def count(model, shape: tuple[int, ...]) -> dict[str, int]:
    """Multiply-accumulates of the network ('') and of its direct parts by name."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    batch = torch.zeros(1, *shape)
    network = getattr(model, 'teacher', model)
    with FlopCounterMode(display=False) as counter:
        if type(model).__name__ == 'CKDN':
            model(dict(restored=batch, degraded=batch), mode='tensor')
        elif type(model).__name__ == 'VideoClassifier':
            model(batch[None], mode='tensor')
        elif network is not model:
            from mmdet.structures import DetDataSample

            sample = DetDataSample(metainfo=dict(img_shape=shape[1:], ori_shape=shape[1:], scale_factor=(1.0, 1.0)))
            network(batch, [sample], mode='predict')
        else:
            model(batch, mode='tensor')
    macs = {name: sum(values.values()) // 2 for name, values in counter.get_flop_counts().items()}
    if network is not model:
        return {'': macs['Global'], 'teacher': macs['Global']}
    prefix = f'{type(network).__name__}.'
    return {'': macs['Global']} | {name: macs[prefix + name] for name, _ in model.named_children() if prefix + name in macs}


if __name__ == '__main__':
    run_tool(main)
