"""Pairs of image files in, scores out; decoding runs beside the network."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from openmsra.ckdn.data.crops import CROPS, cut
from openmsra.ckdn.data.transforms import INTERPOLATION, LoadPair
from openmsra.common.provenance import provenance
from openmsra.engine.data.loader import Batches, FittingCollate
from openmsra.engine.inferencer import append_row
from openmsra.engine.model import init_model
from openmsra.errors import CheckpointError, ImageError
from openmsra.registry import INFERENCERS

Pair = tuple[str | Path, str | Path]


class PairTiles(Dataset):
    """Tiles of (restored, degraded) image files; an image that cannot be scored yields its reason instead."""

    def __init__(self, pairs: Sequence[Pair], crop: str, ref_interp: str) -> None:
        self.pairs, self.crop, self.ref_interp, self.load = list(pairs), crop, ref_interp, LoadPair()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict:
        restored, degraded = map(str, self.pairs[index])
        row = dict(restored=restored, degraded=degraded)
        try:
            images = self.load(dict(restored_path=restored, degraded_path=degraded))
        except ImageError as error:
            return dict(row, error=str(error))
        tiles = cut(images['restored'], images['degraded'], self.crop, self.ref_interp)
        width, height = images['restored'].size
        return dict(row, height=height, width=width, degraded_size=images['degraded'].size, tiles=tiles)


@INFERENCERS.register_module()
class CKDNInferencer:
    """Scores restored images against the degraded images they were made from; higher is better.

    Scores rank restored versions of one scene; across scenes they mix in content.

    Args:
        config: of the checkpoint.
        checkpoint: converted or trained weights; there is no scoring without.
        device: where the network runs.

    ``provenance`` names checkpoint, its SHA-256, config and version, for files of scores.

    Raises:
        CheckpointError: no checkpoint, or it does not fit the config.
    """

    def __init__(self, config: str | Path, checkpoint: str | Path, device: str | torch.device = 'cpu') -> None:
        if not checkpoint:
            raise CheckpointError('CKDNInferencer: give a checkpoint; random weights score nothing.')
        self.model = init_model(config, checkpoint, device)
        self.model.fold_batch_norms()
        self.provenance = provenance(self.model.cfg, checkpoint)
        self.device = torch.device(device)

    def __call__(
        self,
        pairs: Sequence[Pair],
        crop: str = 'center',
        ref_interp: str = 'nearest',
        batch_size: int = 8,
        workers: int = 0,
        progress: bool = False,
        out_file: str | Path | None = None,
    ) -> list[dict]:
        """Score pairs of image files.

        Args:
            pairs: (restored, degraded) files.
            crop: 'center' (as in training), 'grid' or 'whole', see :func:`openmsra.ckdn.data.crops.cut`.
            ref_interp: interpolation of the degraded image, 'nearest' (official) or 'bicubic'.
            batch_size: tiles in a forward pass.
            workers: processes that decode while the network runs.
            progress: show a progress bar.
            out_file: gets a JSON line for each pair as soon as it is done.

        Returns:
            a row for each pair, in their order: ``restored``, ``degraded``, ``score`` in (0, 1), ``logit`` (mean over
            the tiles; the score is its sigmoid), ``logit_p10`` (10th percentile over the tiles), ``tiles``, ``height``,
            ``width``, ``crop``; or ``restored``, ``degraded`` and ``error`` for images that cannot be scored.

        Raises:
            ValueError: an option has an unknown value.
        """
        if crop not in CROPS or ref_interp not in INTERPOLATION or batch_size < 1:
            raise ValueError(f'{crop=} (of {CROPS}), {ref_interp=} (of {sorted(INTERPOLATION)}), {batch_size=} (at least 1)')
        tiles = PairTiles(pairs, crop, ref_interp)
        read = DataLoader(tiles, batch_size, num_workers=workers, collate_fn=FittingCollate(list))
        rows = []
        if out_file is not None:
            Path(out_file).write_text('', encoding='utf-8')
        with tqdm(total=len(pairs), unit='pair', disable=not progress) as bar:
            for chunk in Batches(iter(read)):
                scored = self._score(chunk, crop, batch_size)
                for row in scored if out_file is not None else ():
                    append_row(Path(out_file), row)
                rows += scored
                bar.update(len(chunk))
        return rows

    def swapped_logits(self, pairs: Sequence[Pair]) -> list[float]:
        """Logits of readable pairs with the roles exchanged; higher than the right way round, the folders may be swapped."""
        rows = self([(degraded, restored) for restored, degraded in pairs])
        return [row['logit'] for row in rows if 'error' not in row]

    def _score(self, chunk: list[dict], crop: str, batch_size: int) -> list[dict]:
        readable = [row for row in chunk if 'error' not in row]
        logits = iter(self._logits([row['tiles'] for row in readable], batch_size))
        rows = []
        for row in chunk:
            if 'error' not in row:
                tiles = row.pop('tiles')[0]
                values = torch.stack([next(logits) for _ in tiles])
                mean = values.mean()
                row |= dict(
                    score=float(mean.sigmoid()),
                    logit=float(mean),
                    logit_p10=float(values.quantile(0.1)),
                    tiles=len(tiles),
                    crop=crop,
                )
            rows.append(row)
        return rows

    @torch.inference_mode()
    def _logits(self, pairs: list[tuple[torch.Tensor, torch.Tensor]], batch_size: int) -> Iterator[torch.Tensor]:
        """Logits of all tiles in order; tiles of one size run together."""
        stack = self.model.data_preprocessor.stack
        for restored, degraded in _runs_of_one_size(pairs):
            for first, second in zip(restored.split(batch_size), degraded.split(batch_size), strict=True):
                batch = (stack(side.to(self.device, non_blocking=True)) for side in (first, second))
                yield from self.model.score_logits(*batch).cpu()


def _runs_of_one_size(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    run: list[tuple[torch.Tensor, torch.Tensor]] = []
    for pair in pairs:
        if run and run[0][0].shape[1:] != pair[0].shape[1:]:
            yield tuple(map(torch.cat, zip(*run)))
            run = []
        run.append(pair)
    if run:
        yield tuple(map(torch.cat, zip(*run)))
