"""Look at unlabelled images as Soft Teacher sees them: weak view with the teacher's boxes, strong view with the projected ones.

Without a checkpoint the hidden labels of the data set (UnlabelledCoco(hidden=True)) stand in for the teacher, so that views and
matrices can be checked before anything is trained.
"""

import argparse
from pathlib import Path

from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of Soft Teacher')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint of tools/train.py')
    parser.add_argument('--out', default='work_dirs/browse_ssod', help='folder for the pictures')
    parser.add_argument('--count', type=int, default=8, help='images')
    parser.add_argument('--seed', type=int, default=0, help='of the views')
    parser.add_argument('--device', default='cpu')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    writable_folder(args.out)

    from mmengine.dataset import pseudo_collate
    from mmengine.registry import DefaultScope
    from mmengine.runner import set_random_seed

    from openmsra.apis import init_model
    from openmsra.engine.config.files import load_config
    from openmsra.registry import DATASETS
    from openmsra.soft_teacher.monitor.browse import pseudo_labels_of_views, unlabelled_part
    from openmsra.soft_teacher.monitor.pictures import pseudo_label_pictures, save_pictures

    cfg = load_config(args.config)
    set_random_seed(args.seed)
    model = init_model(cfg, args.checkpoint, args.device)
    with DefaultScope.overwrite_default_scope('openmsra'):
        dataset = DATASETS.build(unlabelled_part(cfg))
    rows = [dataset[index] for index in range(min(args.count, len(dataset)))]
    batch = model.data_preprocessor(pseudo_collate(rows), True)
    pseudo_labels = pseudo_labels_of_views(model, batch, trained=args.checkpoint is not None)
    preprocessor = model.data_preprocessor.data_preprocessor
    pictures = pseudo_label_pictures(batch['inputs'], pseudo_labels, model.unsup_branch, preprocessor, args.count)
    for file in save_pictures(pictures, Path(args.out), 'pair'):
        print(f'wrote {file}')


if __name__ == '__main__':
    run_tool(main)
