"""Train, or run any other job that a config describes (a search, a linear probe)."""

import argparse

from openmsra.engine.launch import add_common_arguments, apply_arguments, build_runner, run_tool


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const=True,
        metavar='PATH',
        help='continue from PATH, or from the newest checkpoint of the work dir if no path is given (else load_from)',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision in float16 (needs a GPU)')
    parser.add_argument(
        '--amp-dtype',
        choices=['float16', 'bfloat16', 'float32'],
        help='automatic mixed precision in this type; bfloat16 needs no loss scale and works on a CPU too; float32 is without it',
    )
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate to the real batch size')
    return parser.parse_args(argv)


def apply_training_arguments(cfg, args: argparse.Namespace) -> None:
    import torch

    from openmsra.engine.runner import AUTO_RESUME
    from openmsra.errors import ConfigError

    if args.resume:
        cfg.resume = AUTO_RESUME if args.resume is True else True
        if args.resume is not True:
            cfg.load_from = args.resume
    dtype = args.amp_dtype or (cfg.optim_wrapper.get('dtype', 'float16') if args.amp else None)
    if dtype == 'float32':
        cfg.optim_wrapper.type = 'OptimWrapper'
        for key in ('dtype', 'loss_scale'):
            cfg.optim_wrapper.pop(key, None)
    elif dtype:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.dtype = dtype
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if dtype == 'float16' and not torch.cuda.is_available():
        raise ConfigError('--amp: mixed precision in float16 needs a GPU and torch sees none; --amp-dtype bfloat16 does not.')
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ConfigError('--auto-scale-lr: the config names no auto_scale_lr.base_batch_size to scale from.')
        cfg.auto_scale_lr.enable = True


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from openmsra.engine.config.files import load_config

    cfg = load_config(args.config, args.cfg_options)
    apply_arguments(cfg, args)
    apply_training_arguments(cfg, args)
    build_runner(cfg).train()


if __name__ == '__main__':
    run_tool(main)
