"""Choose FTCN's threshold for a rate of false alarms, and turn its scores into probabilities.

SCORES is the summary.json that tools/ftcn_video.py wrote for videos whose truth is known, LABELS a list with lines `path 0|1`
(1 is fake), as tools/dataset_converters/ftcn_faces.py takes it. The videos must be like the ones that are to be judged, and of
other people than the training's. tools/ftcn_video.py takes the result with --calibration, for the same weights, detector and
stride only.
"""

import argparse
import json
from pathlib import Path

from openmsra.engine.launch import run_tool
from openmsra.errors import DataError


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('scores', type=Path, metavar='SCORES', help='summary.json of tools/ftcn_video.py')
    parser.add_argument('labels', type=Path, metavar='LABELS', help='list with lines `path 0|1`; 1 is fake')
    parser.add_argument('--fpr', type=float, default=1.0, help='percent of the real videos that may be called fake')
    parser.add_argument('--out', type=Path, default=Path('ftcn_calibration.json'))
    args = parser.parse_args(argv)
    if not 0 < args.fpr < 100:
        parser.error(f'--fpr must lie between 0 and 100, got {args.fpr}')

    from openmsra.common.outputs import writable_folder
    from openmsra.ftcn.calibration import calibrate

    writable_folder(args.out.parent)
    labels, scores, provenance = known_scores(args.scores, args.labels)
    calibration = calibrate(labels, scores, args.fpr / 100, provenance)
    calibration.save(args.out)
    figures = calibration.figures
    print(
        f'threshold {calibration.threshold:.6g}: {100 * figures["FPR"]:.2f} % false alarms (below '
        f'{100 * figures["FPR_high"]:.2f} % with 95 % confidence), '
        f'{100 * figures["TPR"]:.1f} % of the forgeries found; Brier score {figures["brier_before"]:.4f} '
        f'-> {figures["brier"]:.4f}\nwrote {args.out}'
    )


def known_scores(scores: Path, labels: Path) -> tuple:
    """Labels and scores (n,) of the videos that have both, and what the scores were made with.

    Raises:
        DataError: the scores are of several networks or settings, a video is named twice, or none has a label.
    """
    import numpy as np

    from openmsra.common.annotations import read_text
    from openmsra.ftcn.calibration import SAME
    from openmsra.ftcn.faces.layouts import plain_list

    truth = {row['video']: row['label'] for row in plain_list(labels.parent, labels.name)}
    rows = [row for row in json.loads(read_text(scores)) if row.get('score') is not None]
    provenances = {tuple(row.get(key) for key in SAME) for row in rows}
    if len(provenances) > 1:
        raise DataError(f'{scores}: scores of {len(provenances)} networks or settings; calibrate each for itself.')
    pairs = {}
    for row in rows:
        names = [name for name in truth if row['video'] == name or row['video'].endswith(f'/{name}')]
        if len(names) > 1 or (names and names[0] in pairs):
            raise DataError(f'{labels}: {row["video"]} could be {", ".join(names)} or is scored twice; give longer paths.')
        if names:
            pairs[names[0]] = truth[names[0]], row['score']
    if not pairs:
        raise DataError(f'{labels}: none of the {len(rows)} scored videos of {scores} is in this list.')
    known, values = map(np.array, zip(*pairs.values(), strict=True))
    return known, values, dict(zip(SAME, provenances.pop(), strict=True))


if __name__ == '__main__':
    run_tool(main)
