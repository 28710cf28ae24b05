"""Score restored images against the degraded inputs they were made from.

Scores rank restored versions of one scene; across scenes they mix in content. Both images show one scene in one aspect
ratio. The centre crop of 288 pixels is what the network was trained with.
"""

import argparse
import csv
import json
from pathlib import Path

from openmsra.core.launch import run_tool

SUFFIXES = {'.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp'}
CONFIG = Path(__file__).resolve().parents[1] / 'configs/ckdn/ckdn_r50_8xb8-30e_pipal.py'


def images_by_stem(place: Path) -> dict[str, Path]:
    """Images of a folder by relative path without extension; a single file has the key ''.

    Raises:
        ValueError: the place does not exist, or two images of a folder share a stem.
    """
    if place.is_file():
        return {'': place}
    if not place.is_dir():
        raise ValueError(f'{place}: there is no such file or folder.')
    found: dict[str, Path] = {}
    for path in sorted(path for path in place.rglob('*') if path.suffix.lower() in SUFFIXES):
        stem = path.relative_to(place).with_suffix('').as_posix()
        if stem in found:
            raise ValueError(f'{path} and {found[stem]} have one stem; keep one of them.')
        found[stem] = path
    return found


def match(restored: dict[str, Path], degraded: dict[str, Path], allow_missing: bool) -> list[tuple[Path, Path]]:
    """Pairs of one stem.

    Raises:
        ValueError: partners are missing and that is not allowed, or nothing pairs up.
    """
    orphans = sorted(map(str, [restored[k] for k in restored.keys() - degraded.keys()]
                         + [degraded[k] for k in degraded.keys() - restored.keys()]))  # fmt: skip
    if orphans:
        message = f'{len(orphans)} image(s) without partner: {", ".join(orphans[:20])}'
        if not allow_missing:
            raise ValueError(f'{message}. Add them or pass --allow-missing.')
        print(message)
    common = sorted(restored.keys() & degraded.keys())
    if not common:
        raise ValueError('no restored image has a degraded partner of the same relative path.')
    return [(restored[key], degraded[key]) for key in common]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path, help='converted or trained checkpoint')
    parser.add_argument('--config', type=Path, default=CONFIG, help='config of the checkpoint')
    parser.add_argument('--restored', type=Path, required=True, help='image or folder')
    parser.add_argument('--degraded', type=Path, required=True, help='image or folder')
    parser.add_argument('--out', type=Path, default=Path('ckdn_scores'), help='folder for scores.csv, .json and .html')
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--workers', type=int, default=0, help='processes that decode while the network runs')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--allow-missing', action='store_true', help='leave out images without a partner')
    args = parser.parse_args(argv)
    pairs = match(*(images_by_stem(place) for place in (args.restored, args.degraded)), args.allow_missing)
    rows = score(pairs, args)
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / 'scores.csv').open('w', newline='', encoding='utf-8') as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (args.out / 'scores.json').write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')
    from openmsra.ckdn.sheet import write_sheet

    write_sheet(rows, args.out / 'scores.html')
    print(f'wrote {len(rows)} scores to {args.out}')


def score(pairs: list[tuple[Path, Path]], args: argparse.Namespace) -> list[dict]:
    """Rows (restored, degraded, score, logit), best first."""
    import torch
    from mmengine.dataset import pseudo_collate
    from torch.utils.data import DataLoader
    from tqdm import tqdm

    from openmsra.apis import init_model
    from openmsra.ckdn.datasets import PairList

    model = init_model(args.config, args.checkpoint, args.device)
    loader = DataLoader(PairList(pairs), args.batch_size, num_workers=args.workers, collate_fn=pseudo_collate)
    with torch.inference_mode():
        samples = [sample for batch in tqdm(loader) for sample in model.test_step(batch)]
    rows = [dict(restored=str(restored), degraded=str(degraded), score=sample.pred_score, logit=sample.pred_logit)
            for (restored, degraded), sample in zip(pairs, samples, strict=True)]  # fmt: skip
    return sorted(rows, key=lambda row: -row['score'])


if __name__ == '__main__':
    run_tool(main)
