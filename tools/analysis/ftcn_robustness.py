"""Test FTCN under seven perturbations in five levels: video AUC as a table, JSON and plot.

The perturbations act on the aligned clips of the config's test set, before the network sees them. The strengths are those of
DeeperForensics-1.0; noise and blocks are drawn for each frame, or once for a clip with `--temporal clip`.
"""

import argparse
import json
from pathlib import Path

from openmsra.engine.config.options import OptionAction
from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', type=Path)
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('--kinds', nargs='+', help='only these perturbations')
    parser.add_argument('--levels', nargs='+', type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument('--temporal', choices=['frame', 'clip'], default='frame')
    parser.add_argument('--out', type=Path, default=Path('ftcn_robustness'), help='folder of the JSON and the plot')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, metavar='KEY=VALUE', help='override settings')
    args = parser.parse_args(argv)

    from mmengine.logging import MMLogger
    from mmengine.registry import DefaultScope

    from openmsra.apis import init_model
    from openmsra.common.outputs import writable_folder
    from openmsra.common.provenance import provenance
    from openmsra.engine.config.files import load_config
    from openmsra.ftcn.data.perturb import KINDS
    from openmsra.registry import DATASETS

    writable_folder(args.out)
    kinds = args.kinds or list(KINDS)
    if not set(kinds) <= set(KINDS) or not set(args.levels) <= {1, 2, 3, 4, 5}:
        raise ToolError(f'--kinds takes {", ".join(KINDS)}, --levels 1 to 5; got {kinds}, {args.levels}')
    MMLogger.get_current_instance().setLevel('WARNING')  # the metric reports each evaluation
    cfg = load_config(args.config, args.cfg_options)
    model = init_model(cfg, args.checkpoint, args.device)
    with DefaultScope.overwrite_default_scope('openmsra'):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    result = dict(provenance(cfg, args.checkpoint), temporal=args.temporal, levels=args.levels, AUC={})
    result['clean'] = video_auc(cfg, model, dataset)
    print(f'{"clean":12} {result["clean"]:.1f}')
    for kind in kinds:
        steps = [dict(type='PerturbClip', kind=kind, level=level, temporal=args.temporal) for level in args.levels]
        result['AUC'][kind] = [video_auc(cfg, model, dataset, step) for step in steps]
        print(line(kind, result['AUC'][kind]), flush=True)
    (args.out / 'robustness.json').write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    draw(result, args.out / 'robustness.png')
    print(f'wrote {args.out}')


def video_auc(cfg, model, dataset, step: dict | None = None) -> float:
    """Video AUC in percent, with ``step`` in front of the last transform of the data set.

    Raises:
        ToolError: the set holds one class only.
    """
    import math

    import torch
    from mmengine.dataset import Compose, pseudo_collate
    from mmengine.registry import DefaultScope
    from torch.utils.data import DataLoader

    from openmsra.registry import METRICS

    steps, loader = cfg.test_dataloader.dataset.to_dict()['pipeline'], cfg.test_dataloader
    with DefaultScope.overwrite_default_scope('openmsra'):
        dataset.pipeline = Compose([*steps[:-1], *([step] if step else []), steps[-1]])
        metric = METRICS.build(cfg.test_evaluator)
    metric.dataset_meta = dataset.metainfo
    with torch.inference_mode():
        for batch in DataLoader(dataset, loader.batch_size, num_workers=loader.num_workers, collate_fn=pseudo_collate):
            metric.process(batch, [sample.to_dict() for sample in model.test_step(batch)])
    auc = metric.compute_metrics(metric.results)['video_AUC']
    if math.isnan(auc):
        raise ToolError('the test set holds videos of one class only: AUC is undefined.')
    return auc


def line(kind: str, values: list[float]) -> str:
    """One row of the table, with the mean over the levels."""
    return f'{kind:12} ' + ' '.join(f'{value:5.1f}' for value in values) + f'   mean {sum(values) / len(values):.1f}'


def draw(result: dict, file: Path) -> None:
    """A curve for each perturbation over its levels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout='constrained')
    axis = figure.subplots()
    for marker, (kind, values) in zip('os^vDP*', result['AUC'].items(), strict=False):
        axis.plot([0, *result['levels']], [result['clean'], *values], marker=marker, markersize=4, label=kind)
    axis.axhline(50, color='0.4', linestyle=':', linewidth=1)
    axis.set(xlabel='level (0: clean)', ylabel='video AUC (%)', xticks=[0, *result['levels']])
    axis.legend(loc='center left', bbox_to_anchor=(1.0, 0.5), fontsize=8)
    axis.spines[['top', 'right']].set_visible(False)
    figure.savefig(file, dpi=120)


if __name__ == '__main__':
    run_tool(main)
