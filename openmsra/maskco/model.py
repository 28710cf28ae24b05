"""MaskCo: predict the feature of a masked region and find it among many; MoCo v2 on the same code path."""

import copy

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from mmengine.model import BaseModel
from torch import nn

from openmsra.core.contrastive import enqueue, info_nce
from openmsra.core.ema import ema_update
from openmsra.maskco.contrast import logits_of, shuffle_over_devices, unshuffle_over_devices
from openmsra.maskco.regions import FILLS, MASK_SHAPES, RegionPool, fill_mask
from openmsra.registry import MODELS


@MODELS.register_module()
class MaskCo(BaseModel):
    """Contrastive mask prediction (ICCV 2021, arXiv 2108.07954).

    The query view is masked at its regions; backbone, mask prediction head, RoIAlign and projection give one vector per
    region. The momentum encoder gives the vectors of the same regions of the unmasked key view. InfoNCE finds the
    right one among the queue and other regions of the image. The paper's text fixes this chain and nothing more:
    layouts, sizes, fill and counts are ours, temperature, queue, projection and momentum those of MoCo v2.

    ``region='view', mask=None, mph=None`` is MoCo v2.

    Args:
        backbone: a network whose last output is a map (B, C, H, W).
        neck: projection of a vector (B, C * bins ** 2); mmpretrain's ``MoCoV2Neck`` with ``with_avg_pool=False``.
        queue_len: K, keys kept as negatives.
        feat_dim: D, length of the projected vectors.
        momentum: step of the key encoder.
        temperature: tau.
        region: 'box' contrasts regions, 'view' whole views.
        mask: fill of the hole, one of 'mean', 'image_mean', 'noise', 'blur', 'learned'; ``None`` hides nothing.
        mask_shape: 'box' hides all of a region (ours), 'ellipse' the inscribed ellipse.
        mph: mask prediction head; ``None`` for none.
        mph_side: 'query' (ours) or 'both'; then the key encoder holds a momentum copy of it.
        pool: arguments of :class:`RegionPool`.

    Raises:
        ValueError: an option that contradicts another.
    """

    def __init__(
        self, backbone: dict, neck: dict, queue_len: int = 65536, feat_dim: int = 128, momentum: float = 0.001,
        temperature: float = 0.2, region: str = 'box', mask: str | None = 'mean', mask_shape: str = 'box',
        mph: dict | None = None, mph_side: str = 'query', pool: dict | None = None, data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:  # fmt: skip
        super().__init__(data_preprocessor, init_cfg)
        _check_options(region, mask, mask_shape, mph, mph_side)
        if queue_len < 1 or temperature <= 0:
            raise ValueError(f'MaskCo: queue_len={queue_len}, temperature={temperature}; both must be positive.')
        self.backbone, self.neck = MODELS.build(backbone), MODELS.build(neck)
        self.mph = MODELS.build(mph) if mph else nn.Identity()
        self.momentum, self.temperature = momentum, temperature
        self.region, self.mask, self.mask_shape, self.mph_side = region, mask, mask_shape, mph_side
        self.fill = nn.Parameter(torch.zeros(3)) if mask == 'learned' else None
        self.pool = RegionPool(**(pool or {}))
        self.encoder_k = copy.deepcopy(self._encoder_q()).requires_grad_(False)
        self.register_buffer('queue', F.normalize(torch.randn(feat_dim, queue_len), dim=0))
        self.register_buffer('queue_ptr', torch.zeros(1, dtype=torch.long))

    def _encoder_q(self) -> nn.Sequential:
        """The parts of the query branch that the key branch follows."""
        parts = (self.backbone, self.neck, self.mph) if self.mph_side == 'both' else (self.backbone, self.neck)
        return nn.Sequential(*parts)

    def init_weights(self) -> None:
        """Initialise; the key encoder starts as a copy of the query encoder."""
        super().init_weights()
        ema_update(self.encoder_k, self._encoder_q(), 0.0)

    def forward(self, inputs: torch.Tensor | list[torch.Tensor], regions: dict | None = None, mode: str = 'tensor'):
        """Features (``mode='tensor'``), losses ('loss') or features for probes ('predict')."""
        if mode == 'tensor':
            return self.backbone(inputs)
        if mode == 'loss':
            return self.loss(inputs, regions)
        if mode == 'predict':
            return self.predict(inputs, regions)
        raise ValueError(f"MaskCo: mode={mode!r}; valid are 'tensor', 'loss', 'predict'.")

    def loss(self, inputs: list[torch.Tensor], regions: dict) -> dict[str, torch.Tensor]:
        """InfoNCE of a batch; the keys enter the queue as soon as the gradient of the queries is known.

        Args:
            inputs: query and key views, each (B, 3, S, S), normalised.
            regions: ``query`` and ``key`` boxes (B, R, 4), ``negatives`` (B, J, 4) and ``valid`` (B, J) of the key
                view, ``redraws`` (B,).

        Returns:
            ``loss`` and figures for the log.
        """
        query_view, key_view = inputs
        queries = self.encode_queries(query_view, regions['query'])
        with torch.no_grad():
            ema_update(self.encoder_k, self._encoder_q(), 1 - self.momentum)
            positives, negatives = self.encode_keys(key_view, regions)
            keys = torch.cat(all_gather(positives.flatten(0, 1).contiguous()))
        with torch.autocast(queries.device.type, enabled=False):
            logits = logits_of(queries, positives, self.queue, negatives, regions['valid'], self.temperature)
            loss = info_nce(logits)
        self._enqueue_when_used(queries, keys)
        return dict(loss=loss, **self._figures(queries, logits, loss, regions))

    def encode_queries(self, views: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Unit vectors (B, R, D) of the (masked) regions; R is 1 with ``region='view'``."""
        return self._vectors(self.mph(self.backbone(self.hide(views, boxes))[-1]), boxes, self.neck, views.shape[-1])

    def encode_keys(self, views: torch.Tensor, regions: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit vectors of the positives (B, R, D) and of other regions of the same image (B, J, D)."""
        count = regions['key'].shape[1]
        boxes = torch.cat([regions['key'], regions['negatives']], dim=1)
        (views, boxes), places = shuffle_over_devices(views, boxes)
        features = self.encoder_k[0](views)[-1]
        if self.mph_side == 'both':
            features = self.encoder_k[2](features)
        vectors = self._vectors(features, boxes, self.encoder_k[1], views.shape[-1])
        vectors = unshuffle_over_devices(vectors, places)
        count = 1 if self.region == 'view' else count
        return vectors[:, :count], vectors[:, count:]

    def hide(self, views: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Views (B, 3, S, S) with their regions filled."""
        if self.mask is None:
            return views
        return fill_mask(views, MASK_SHAPES[self.mask_shape](boxes, views.shape[-1]), self.mask, self.fill)

    def _vectors(self, features: torch.Tensor, boxes: torch.Tensor, neck: nn.Module, size: int) -> torch.Tensor:
        pooled = features.mean((2, 3))[:, None] if self.region == 'view' else self.pool(features, boxes, size)
        projected = neck((pooled.flatten(0, 1),))[0].unflatten(0, pooled.shape[:2])
        return F.normalize(projected.float(), dim=-1)

    def _enqueue_when_used(self, queries: torch.Tensor, keys: torch.Tensor) -> None:
        """The backward pass reads the queue; writing after it spares a copy of the queue per step."""
        if queries.requires_grad:
            queries.register_hook(lambda _: enqueue(self.queue, self.queue_ptr, keys))
        else:
            enqueue(self.queue, self.queue_ptr, keys)

    @torch.no_grad()
    def _figures(self, queries: torch.Tensor, logits: torch.Tensor, loss: torch.Tensor, regions: dict) -> dict:
        similar = logits.detach() * self.temperature
        end = 1 + self.queue.shape[1]
        figures = dict(
            excess=loss.detach() - torch.log(torch.isfinite(similar).sum(1).float()).mean(),
            choice_accuracy=(logits[:, 0] >= logits.amax(1)).float().mean(),
            positive_similarity=similar[:, 0].mean(),
            queue_similarity=similar[:, 1:end].mean(),
            query_std=queries.detach().flatten(0, 1).std(0).mean(),
            redraws=regions['redraws'].mean(),
        )
        if similar.shape[1] > end:
            other = similar[:, end:]
            figures['same_image_similarity'] = other[torch.isfinite(other)].mean()
        return figures

    def predict(self, inputs: torch.Tensor, regions: dict) -> list[dict[str, torch.Tensor]]:
        """Features of the frozen backbone for the probes.

        Args:
            inputs: (B, 3, S, S).
            regions: what :class:`PackProbe` gives; ``boxes`` (B, R, 4) are optional.

        Returns:
            per image ``feature`` (C,), ``region_features`` (R, C) if there are boxes, and its targets.
        """
        features = self.backbone(inputs)[-1]
        columns = dict(regions, feature=features.mean((2, 3)))
        if 'boxes' in regions:
            columns['region_features'] = self.pool(features, regions['boxes'], inputs.shape[-1])
        return [{name: column[i] for name, column in columns.items()} for i in range(len(inputs))]


def _check_options(region: str, mask: str | None, mask_shape: str, mph: dict | None, mph_side: str) -> None:
    choices = dict(region=(region, ('box', 'view')), mask=(mask, (None, *FILLS)), mask_shape=(mask_shape, tuple(MASK_SHAPES)),
                   mph_side=(mph_side, ('query', 'both')))  # fmt: skip
    for name, (value, valid) in choices.items():
        if value not in valid:
            raise ValueError(f'MaskCo: {name}={value!r}; valid are {", ".join(map(repr, valid))}.')
    if mph_side == 'both' and mph is None:
        raise ValueError("MaskCo: mph_side='both' without a mask prediction head; give mph.")
