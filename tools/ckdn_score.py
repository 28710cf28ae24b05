"""Score restored images against the degraded inputs they were made from.

Scores rank restored versions of one scene; across scenes they mix in content. Both images show one scene in one aspect
ratio. The centre crop of 288 pixels is what the network was trained with; grid and whole look at all pixels, but the
published figures do not speak of them.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

from openmsra.common.outputs import printable, writable_folder
from openmsra.engine.launch import run_tool
from openmsra.errors import ToolError

CONFIG = Path(__file__).resolve().parents[1] / 'configs/ckdn/ckdn_r50_8xb8-30e_pipal.py'
COLUMNS = ('restored', 'degraded', 'method', 'score', 'logit', 'logit_p10', 'tiles', 'height', 'width', 'crop')
SWAP_SAMPLE = 16  # pairs that are scored both ways round


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path, help='converted or trained checkpoint')
    parser.add_argument('--config', type=Path, default=CONFIG, help='config of the checkpoint')
    parser.add_argument('--restored', type=Path, nargs='+', required=True, help='image or folder, or several images')
    parser.add_argument('--degraded', type=Path, nargs='+', required=True, help='image or folder, or several images')
    parser.add_argument('--method-dirs', action='store_true', help='--restored has a sub-folder for each method: compare them')
    parser.add_argument('--crop', choices=('center', 'grid', 'whole'), default='center', help='what of an image is scored')
    parser.add_argument('--ref-interp', choices=('nearest', 'bicubic'), default='nearest', help='resizing of degraded images')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('ckdn_scores'),
        help='folder for scores.csv, .json, .html',
    )
    parser.add_argument('--maps', action='store_true', help='also write maps/*.png: red where an image is worst')
    parser.add_argument('--batch-size', type=int, default=8, help='crops in a forward pass')
    parser.add_argument('--workers', type=int, default=2, help='processes that decode while the network runs')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--allow-missing', action='store_true', help='leave out images without a partner')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    from openmsra.ckdn.data.pairs import swap_signs
    from openmsra.ckdn.inferencer import CKDNInferencer

    writable_folder(args.out)
    keys, pairs = find_pairs(args)
    inferencer = CKDNInferencer(args.config, args.checkpoint, args.device)
    workers = args.workers if len(pairs) > args.batch_size else 0
    growing = args.out / 'scores.jsonl'  # what is done, as long as the whole is not
    rows = inferencer(pairs, args.crop, args.ref_interp, args.batch_size, workers, progress=True, out_file=growing)
    rows = [dict(row, method=method, image=image) for (method, image), row in zip(keys, rows, strict=True)]
    failed, scored = ([row for row in rows if ('error' in row) == state] for state in (True, False))
    if scored:
        sample = inferencer.swapped_logits([(row['restored'], row['degraded']) for row in scored[:SWAP_SAMPLE]])
        for sign in swap_signs(args.restored[0], args.degraded[0], scored, sample):
            print(f'warning: are --restored and --degraded exchanged? {sign}.', file=sys.stderr)
        write(sorted(scored, key=lambda row: -row['score']), failed, inferencer.provenance, args)
        growing.unlink()
        if args.maps:
            write_maps(inferencer.model, scored, args)
    if failed:
        reasons = '\n'.join(printable(row['error']) for row in failed[:20])
        raise ToolError(
            f'{len(failed)} of {len(rows)} pairs could not be scored, the others are in {args.out}:\n{reasons}'
            if scored
            else f'no pair could be scored:\n{reasons}'
        )


def find_pairs(args: argparse.Namespace) -> tuple[list[tuple[str, str]], list[tuple[Path, Path]]]:
    """(method, image) and (restored file, degraded file) of all pairs."""
    from openmsra.ckdn.data.pairs import images_by_stem, match, method_folders

    folders = method_folders(args.restored[0]) if args.method_dirs else {'': args.restored}
    degraded = images_by_stem(args.degraded)
    pairs = {
        (method, image): pair
        for method, folder in folders.items()
        for image, pair in match(images_by_stem(folder), degraded, args.allow_missing).items()
    }
    return list(pairs), list(pairs.values())


def write(rows: list[dict], failed: list[dict], provenance: dict[str, str], args: argparse.Namespace) -> None:
    """scores.csv, scores.json and scores.html; with several methods also their comparison."""
    from openmsra.ckdn.report.compare import compare_methods
    from openmsra.ckdn.report.sheet import write_sheet

    comparison = compare_methods(rows) if len({row['method'] for row in rows}) > 1 else None
    plain = [{name: row[name] for name in COLUMNS} for row in rows]
    with (args.out / 'scores.csv').open('w', newline='', encoding='utf-8', errors='backslashreplace') as stream:
        writer = csv.DictWriter(stream, (*COLUMNS, *provenance))
        writer.writeheader()
        writer.writerows(row | provenance for row in plain)
    report = dict(
        **provenance,
        crop=args.crop,
        ref_interp=args.ref_interp,
        scores=plain,
        failed=failed,
        comparison=comparison,
    )
    (args.out / 'scores.json').write_text(json.dumps(report, indent=1) + '\n', encoding='utf-8')
    write_sheet(rows, args.out / 'scores.html', comparison)
    for line in comparison['methods'] if comparison else ():
        print(f'{line["method"]}: mean rank {line["mean_rank"]:.2f}, mean score {line["mean_score"]:.4f}')
    print(f'wrote {len(rows)} scores to {args.out}')


def write_maps(model, rows: list[dict], args: argparse.Namespace) -> None:
    """A picture of local scores for each pair, at its relative path below maps/."""
    from openmsra.ckdn.data.transforms import load_rgb
    from openmsra.ckdn.report.maps import overlay, quality_map

    for row in rows:
        file = args.out / 'maps' / row['method'] / f'{row["image"] or Path(row["restored"]).stem}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        scores = quality_map(model, row['restored'], row['degraded'], args.ref_interp)
        overlay(load_rgb(row['restored']), scores).save(file)


if __name__ == '__main__':
    run_tool(main)
