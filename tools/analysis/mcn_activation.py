"""Where an encoder responds: frames of videos with the strength of its last map over them, one row of the picture a video."""

import argparse
from pathlib import Path

from openmsra.common.outputs import left_out, writable_folder
from openmsra.engine.launch import run_tool
from openmsra.errors import UserError


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config with test data, e.g. retrieval_r2plus1d-18_1xb4_ucf101')
    parser.add_argument('checkpoint', type=Path, help='checkpoint of the pre-training or of tools/model_converters/mcn_export.py')
    parser.add_argument('videos', type=Path, nargs='+', help='videos and folders of videos')
    parser.add_argument('--frames', type=int, default=4, help='frames of a clip, at even distances')
    parser.add_argument('--out', type=Path, default=Path('activation.png'))
    args = parser.parse_args(argv)
    writable_folder(args.out.parent)

    import numpy as np

    from openmsra.common.video import list_videos
    from openmsra.mcn.evaluation.pictures import activation, contact_sheet, overlay
    from openmsra.mcn.inferencer import MCNInferencer

    inferencer = MCNInferencer(args.config, args.checkpoint)
    rows, faults, files = [], {}, list_videos(args.videos)
    for file in files:
        try:
            clips = inferencer.clips([file]).prepare_data(0)['inputs']
        except UserError as error:
            faults[str(file)] = str(error)
            continue
        clip = clips[len(clips) // 2 : len(clips) // 2 + 1]  # the middle one
        images = clip[0].permute(1, 2, 3, 0).numpy()
        inputs = inferencer.model.data_preprocessor(dict(inputs=clip))['inputs']
        heat = activation(inferencer.model.backbone, inputs, len(images), images.shape[1:3])
        chosen = np.linspace(0, len(images) - 1, args.frames).round().astype(int)
        rows.append(
            [
                (image, file.stem if place == 0 else '', None)
                for place, number in enumerate(chosen)
                for image in (images[number], overlay(images[number], heat[number]))
            ]
        )
    if rows:
        contact_sheet(rows, args.out)
        print(f'wrote {args.out}')
    if faults:
        raise left_out(faults, len(files), 'videos', args.out)


if __name__ == '__main__':
    run_tool(main)
