"""Evaluate a checkpoint with the test set and metrics of a config."""

import argparse
from pathlib import Path

from openmsra.engine.launch import add_common_arguments, apply_arguments, build_runner, require_writable, run_tool


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', metavar='FILE.pkl', help='write every prediction to this pickle file')
    parser.add_argument('--show-dir', metavar='DIR', help='write pictures of the predictions to this folder')
    parser.add_argument(
        '--allow-broken',
        action='store_true',
        help='count other samples in the place of those that cannot be read; the metrics are then named ..._with_N_replaced',
    )
    return parser.parse_args(argv)


def apply_test_arguments(cfg, args: argparse.Namespace) -> None:
    from openmsra.errors import ConfigError

    if args.out:
        if not args.out.endswith(('.pkl', '.pickle')):
            raise ConfigError(f'--out {args.out}: predictions are written as pickle; the name must end in .pkl.')
        require_writable(Path(args.out).parent, '--out')
        evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
        cfg.test_evaluator = [*evaluators, dict(type='DumpPredictions', out_file_path=args.out)]
    if args.allow_broken:
        cfg.merge_from_dict({'default_hooks.broken_data': dict(type='BrokenDataHook', allow_broken=True)})
    if args.show_dir:
        if 'visualization' not in cfg.default_hooks:
            raise ConfigError('--show-dir: this config has no default_hooks.visualization to draw with.')
        folder = str(Path(args.show_dir).resolve())
        require_writable(folder, '--show-dir')
        cfg.default_hooks.visualization.update(enable=True, interval=1, out_dir=folder)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from openmsra.engine.config.files import load_config

    cfg = load_config(args.config, args.cfg_options)
    apply_arguments(cfg, args)
    apply_test_arguments(cfg, args)
    cfg.load_from, cfg.resume = args.checkpoint, False
    build_runner(cfg).test()


if __name__ == '__main__':
    run_tool(main)
