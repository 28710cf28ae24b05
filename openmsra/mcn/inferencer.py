"""Videos in, embeddings and nearest neighbours out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from openmsra.common.probes import normalised, ranking
from openmsra.common.video import list_videos, read_frames
from openmsra.engine.checkpoint.io import load_file, load_weights
from openmsra.engine.model import init_model
from openmsra.errors import CheckpointError, VideoError
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
class MCNInferencer:
    """Embeddings from a frozen encoder: one of unit length a video, the mean over clips at even distances.

    Args:
        config: with the clips and the pipeline of its test data; ``retrieval_..._ucf101`` in general.
        checkpoint: of the pre-training, or what ``tools/model_converters/mcn_export.py`` writes.
        device: where the network runs.

    Raises:
        CheckpointError: no checkpoint, or its encoder does not fit.
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path, device: str | torch.device = 'cpu') -> None:
        if not checkpoint:
            raise CheckpointError('MCNInferencer: give a checkpoint; embeddings of random weights mean nothing.')
        self.model = init_model(config, device=device)
        state = load_file(checkpoint)
        state = encoder_weights(state.get('state_dict', state))
        encoder = {name.removeprefix('backbone.'): value for name, value in state.items() if name.startswith('backbone.')}
        load_weights(self.model.backbone, encoder, checkpoint)
        settings = self.model.cfg.test_dataloader.dataset
        settings = settings.datasets[0] if 'datasets' in settings else settings
        self.options = {name: settings[name] for name in CLIP_OPTIONS}

    def clips(self, files: list[Path]) -> ClipDataset:
        """The clips of video files as the encoder takes them."""
        with DefaultScope.overwrite_default_scope('openmsra'):
            return _Files(files, **self.options)

    @torch.inference_mode()
    def __call__(self, videos: str | Path | list[str | Path]) -> dict:
        """Embed.

        Args:
            videos: a file, a folder (its videos with those of its sub-folders, sorted), or a list of these.

        Returns:
            ``video`` (n,) paths, ``feature`` (n, C) of unit length, and ``skipped``: path -> reason of those that do not decode.

        Raises:
            FileNotFoundError: no such file, or a folder without videos.
            VideoError: no video at all decodes.
        """
        dataset = self.clips(list_videos(videos))
        names, features, skipped = [], [], {}
        for number in range(len(dataset)):
            name = dataset.get_data_info(number)['video']
            try:
                data = pseudo_collate([dataset.prepare_data(number)])
            except VideoError as error:
                skipped[name] = str(error)
                continue
            features.append(self.model.test_step(data)[0].feature.cpu().numpy())
            names.append(name)
        if not names:
            raise VideoError(f'none of the {len(dataset)} videos could be decoded; the first: {next(iter(skipped.values()))}')
        return dict(video=np.array(names), feature=normalised(np.stack(features), names), skipped=skipped)


def neighbours(queries: dict, gallery: dict, count: int = 5) -> list[dict]:
    """For each query its ``count`` nearest gallery videos with their cosine similarities, without the query itself.

    Args:
        queries, gallery: what :class:`MCNInferencer` returns.

    Raises:
        ValueError: the gallery has fewer videos.
    """
    found = []
    ranks = ranking(queries['feature'], gallery['feature'])
    for name, feature, row in zip(queries['video'], queries['feature'], ranks, strict=True):
        row = row[gallery['video'][row] != name]
        if count > len(row):
            raise ValueError(f'{count} neighbours of {name} are asked for, the gallery has {len(row)} other videos.')
        near = [
            dict(video=str(gallery['video'][place]), similarity=float(feature @ gallery['feature'][place]))
            for place in row[:count]
        ]
        found.append(dict(video=str(name), neighbours=near))
    return found
