"""Videos in, embeddings and nearest neighbours out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.structures import BaseDataElement
from torch import nn

from openmsra.common.probes import normalised, ranking
from openmsra.common.video import list_videos, read_frames
from openmsra.engine.checkpoint.io import load_file, load_weights
from openmsra.engine.inferencer import Inferencer
from openmsra.engine.model import init_model
from openmsra.mcn.data.videos import ClipDataset
from openmsra.mcn.export import encoder_weights
from openmsra.registry import INFERENCERS

CLIP_OPTIONS = ('clips', 'clip_len', 'interval', 'sampling', 'pipeline')


class _Files(ClipDataset):
    """Video files without a list."""

    def __init__(self, files: list[Path], **kwargs) -> None:
        self.files = files
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        return [dict(video=str(file), label=-1) for file in self.files]

    def frames(self, row: dict, choose: Callable[[int], np.ndarray]) -> np.ndarray:
        return read_frames(row['video'], choose)


@INFERENCERS.register_module()
class MCNInferencer(Inferencer):
    """Embeddings from a frozen encoder, the mean over clips at even distances: ``embed(videos, batch_size=1, out_dir=None)``.

    ``videos`` are a file, a folder (its videos and those of its sub-folders, sorted), a pattern, or a list of these. The rows are
    ``dict(video=path, feature=(C,))``; :func:`embeddings` makes arrays of unit length of them. The other arguments are those of
    :class:`~openmsra.engine.inferencer.Inferencer`.

    Args:
        config: with the clips and the pipeline of its test data; ``retrieval_..._ucf101`` in general.
        checkpoint: of the pre-training, or what ``tools/model_converters/mcn_export.py`` writes.
        device: where the network runs.

    Raises:
        CheckpointError: no checkpoint, or its encoder does not fit.
    """

    key = 'video'

    def __init__(self, config: str | Path | Config, checkpoint: str | Path, device: str | torch.device = 'cpu') -> None:
        super().__init__(config, checkpoint, device)
        settings = self.model.cfg.test_dataloader.dataset
        settings = settings.datasets[0] if 'datasets' in settings else settings
        self.options = {name: settings[name] for name in CLIP_OPTIONS}

    def load_model(
        self, config: str | Path | Config, checkpoint: str | Path, device: str | torch.device, cfg_options: dict | None
    ) -> nn.Module:
        """The model of ``config`` with the encoder of ``checkpoint``, whatever heads either has."""
        model = init_model(config, device=device, cfg_options=cfg_options)
        state = load_file(checkpoint)
        state = encoder_weights(state.get('state_dict', state))
        encoder = {name.removeprefix('backbone.'): value for name, value in state.items() if name.startswith('backbone.')}
        load_weights(model.backbone, encoder, checkpoint)
        return model

    def clips(self, files: list[Path]) -> ClipDataset:
        """The clips of video files as the encoder takes them."""
        with DefaultScope.overwrite_default_scope('openmsra'):
            return _Files(files, **self.options)

    def list_inputs(self, inputs: str | Path | list[str | Path]) -> list[tuple[str, tuple[ClipDataset, int]]]:
        """Each file with its place in a data set of all of them."""
        files = list_videos(inputs)
        dataset = self.clips(files)
        return [(str(file), (dataset, number)) for number, file in enumerate(files)]

    def preprocess(self, item: tuple[ClipDataset, int]) -> dict:
        """``inputs`` (C, 3, T, H, W) and a data sample."""
        dataset, number = item
        return dataset.prepare_data(number)

    def forward(self, batch: list[dict]) -> list:
        """Data samples with ``feature`` (C,)."""
        return self.model.test_step(pseudo_collate(batch))

    def postprocess(self, prediction: BaseDataElement) -> dict[str, np.ndarray]:
        """The feature, as long as the encoder gives it."""
        return dict(feature=prediction.feature.cpu().numpy())


def embeddings(rows: list[dict]) -> dict[str, np.ndarray]:
    """``video`` (n,) paths and ``feature`` (n, C) of unit length, of the rows without ``error``.

    Args:
        rows: what :class:`MCNInferencer` returns.
    """
    rows = [row for row in rows if 'error' not in row]
    names = [row['video'] for row in rows]
    return dict(video=np.array(names), feature=normalised(np.stack([row['feature'] for row in rows]), names))


def neighbours(queries: dict, gallery: dict, count: int = 5) -> list[dict]:
    """For each query its ``count`` nearest gallery videos with their cosine similarities, without the query itself.

    Args:
        queries, gallery: what :func:`embeddings` returns.

    Raises:
        ValueError: the gallery has fewer videos.
    """
    rows = []
    ranks = ranking(queries['feature'], gallery['feature'])
    for name, feature, ranked in zip(queries['video'], queries['feature'], ranks, strict=True):
        ranked = ranked[gallery['video'][ranked] != name]
        if count > len(ranked):
            raise ValueError(f'{count} neighbours of {name} are asked for, the gallery has {len(ranked)} other videos.')
        near = [
            dict(video=str(gallery['video'][index]), similarity=float(feature @ gallery['feature'][index]))
            for index in ranked[:count]
        ]
        rows.append(dict(video=str(name), neighbours=near))
    return rows
