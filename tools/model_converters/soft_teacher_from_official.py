"""Convert an official Soft Teacher checkpoint (microsoft/SoftTeacher) to openmsra; every key fits or nothing is written.

With --export one network is written, as a plain detector for mmdet; this also exports checkpoints of openmsra.
"""

import argparse
from pathlib import Path

from openmsra.common.outputs import writable_folder
from openmsra.engine.launch import run_tool

CONFIG = Path(__file__).resolve().parents[2] / 'configs/soft_teacher/soft-teacher_faster-rcnn-r50_8xb5-180k_coco-10pct.py'


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, metavar='SRC', help='checkpoint with keys teacher.* and student.*')
    parser.add_argument('target', type=Path, metavar='DST', help='file to write')
    parser.add_argument('--config', default=CONFIG, help=f'of the detector (default: {CONFIG})')
    parser.add_argument('--export', choices=['teacher', 'student', 'mean'], help='write this network as a plain detector')
    args = parser.parse_args(argv)
    writable_folder(args.target.parent)

    from openmsra.engine.checkpoint.io import load_file, load_weights, save_file, weights_of
    from openmsra.engine.config.files import load_config
    from openmsra.errors import ToolError
    from openmsra.registry import MODELS
    from openmsra.soft_teacher.hooks import plain_detector

    cfg = load_config(args.config)
    checkpoint = load_file(args.source)
    state = weights_of(checkpoint, args.source)
    if not any(key.startswith('teacher.') for key in state):
        raise ToolError(f'{args.source}: no key starts with "teacher."; it is no checkpoint of Soft Teacher.')
    load_weights(MODELS.build({**cfg.model, '_scope_': 'openmsra'}), state, args.source)
    meta = checkpoint.get('meta', {}).get('dataset_meta') or {}
    if not meta and args.config == CONFIG:
        from mmdet.datasets import CocoDataset

        meta = dict(classes=CocoDataset.METAINFO['classes'])
    done = plain_detector(state, args.export, meta) if args.export else dict(state_dict=state, meta=dict(dataset_meta=meta))
    save_file(done, args.target)
    print(f'wrote {args.target}: {len(done["state_dict"])} entries' + (f' of the {args.export}' if args.export else ''))


if __name__ == '__main__':
    run_tool(main)
