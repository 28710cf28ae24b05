"""MaskCo: predict the feature of a masked region and find it among many; MoCo v2 on the same code path."""

import copy

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from mmengine.model import BaseModel
from torch import nn

from openmsra.common.contrastive import enqueue, info_nce, shuffle_over_devices, unshuffle_over_devices
from openmsra.common.ema import ema_update
from openmsra.maskco.contrast import logits_of
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
        momentum: share of the key encoder that is kept in an iteration, as in MoCo.
        temperature: tau.
        region: 'box' contrasts regions, 'view' whole views.
        mask: fill of the hole, one of 'mean', 'image_mean', 'noise', 'blur', 'learned'; ``None`` hides nothing.
        mask_shape: 'box' hides all of a region (ours), 'ellipse' the inscribed ellipse.
        mph: mask prediction head; ``None`` for none.
        mph_side: 'query' (ours) or 'both'; then the key encoder holds a momentum copy of it.
        pool: arguments of :class:`RegionPool`.
        symmetric: each view is query and key in turn; ``TwoRegionViews`` needs ``both_views=True``.
        global_weight: weight of InfoNCE between whole views, with a projection and a queue of its own; 0 for none.
        negative_similarity: another region of the image is no negative where its similarity to a positive is higher.
        hardest: only so many of the queue's keys, the most similar ones, are negatives; ``None`` for all.

    Raises:
        ValueError: an option that contradicts another.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        queue_len: int = 65536,
        feat_dim: int = 128,
        momentum: float = 0.999,
        temperature: float = 0.2,
        region: str = 'box',
        mask: str | None = 'mean',
        mask_shape: str = 'box',
        mph: dict | None = None,
        mph_side: str = 'query',
        pool: dict | None = None,
        symmetric: bool = False,
        global_weight: float = 0.0,
        negative_similarity: float = 1.0,
        hardest: int | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        _check_options(region, mask, mask_shape, mph, mph_side, global_weight)
        if not 0.5 <= momentum <= 1:
            raise ValueError(f'MaskCo: momentum={momentum} is the share of the key encoder that is kept, 0.999 for instance.')
        if queue_len < 1 or temperature <= 0 or not 1 <= (hardest or 1) <= queue_len:
            raise ValueError(
                f'MaskCo: queue_len={queue_len}, temperature={temperature}, hardest={hardest}; all must be '
                'positive, hardest at most queue_len.'
            )
        self.backbone, self.neck = MODELS.build(backbone), MODELS.build(neck)
        self.mph = MODELS.build(mph) if mph else nn.Identity()
        self.momentum, self.temperature = momentum, temperature
        self.region, self.mask, self.mask_shape, self.mph_side = region, mask, mask_shape, mph_side
        self.fill = nn.Parameter(torch.zeros(3)) if mask == 'learned' else None
        self.pool = RegionPool(**(pool or {}))
        self.symmetric, self.global_weight = symmetric, global_weight
        self.negative_similarity, self.hardest = negative_similarity, hardest
        self.global_neck = MODELS.build(neck) if global_weight else None
        self.encoder_k = copy.deepcopy(self._encoder_q()).requires_grad_(False)
        self.register_buffer('queue', F.normalize(torch.randn(feat_dim, queue_len), dim=0))
        self.register_buffer('queue_ptr', torch.zeros(1, dtype=torch.long))
        if global_weight:
            self.register_buffer('global_queue', F.normalize(torch.randn(feat_dim, queue_len), dim=0))
            self.register_buffer('global_queue_ptr', torch.zeros(1, dtype=torch.long))

    def _encoder_q(self) -> nn.Sequential:
        """The parts of the query branch that the key branch follows: backbone, projection, then the optional ones."""
        optional = (self.mph if self.mph_side == 'both' else None, self.global_neck)
        return nn.Sequential(self.backbone, self.neck, *(part for part in optional if part is not None))

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
            regions: what :class:`PackRegionViews` gives: ``query`` and ``key`` boxes (B, R, 4), ``negatives`` (B, J, 4) and
                ``valid`` (B, J) of the key view, figures of the views (B,).

        Returns:
            ``loss`` and figures for the log.
        """
        pairs = [(*inputs, regions), *([(*inputs[::-1], _turned(regions))] if self.symmetric else [])]
        queries = torch.cat([self.encode_queries(query_view, boxes['query']) for query_view, _, boxes in pairs])
        with torch.no_grad():
            ema_update(self.encoder_k, self._encoder_q(), self.momentum)
            encoded = [self.encode_keys(key_view, boxes) for _, key_view, boxes in pairs]
            positives, negatives = (torch.cat(vectors) for vectors in zip(*encoded, strict=True))
        valid = torch.cat([boxes['valid'] for _, _, boxes in pairs])
        with torch.autocast(queries.device.type, enabled=False):
            return self._losses(queries, positives, negatives, valid, regions)

    def _losses(
        self, queries: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor, valid: torch.Tensor, regions: dict
    ) -> dict[str, torch.Tensor]:
        loss, figures = 0, {}
        if self.global_weight:
            (queries, views), (positives, keys) = ((x[:, :-1], x[:, -1:]) for x in (queries, positives))
            logits = logits_of(views, keys, self.global_queue, keys[:, :0], valid[:, :0], self.temperature, self.hardest)
            loss, figures['global_accuracy'] = self.global_weight * info_nce(logits), _accuracy(logits)
            _enqueue_when_used(self.global_queue, self.global_queue_ptr, views, keys)
        if self.negative_similarity < 1 and negatives.shape[1]:
            valid = valid & ((negatives @ positives.mT).amax(-1) <= self.negative_similarity)
        logits = logits_of(queries, positives, self.queue, negatives, valid, self.temperature, self.hardest)
        contrast = info_nce(logits)
        _enqueue_when_used(self.queue, self.queue_ptr, queries, positives)
        return dict(loss=contrast + loss, **figures, **self._figures(queries, logits, contrast, regions))

    def encode_queries(self, views: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Unit vectors (B, R, D) of the (masked) regions; R is 1 with ``region='view'``; with a global term the view's last."""
        features = self.backbone(self.hide(views, boxes))[-1]
        return self._vectors(features, self.mph(features), boxes, (self.neck, self.global_neck), views.shape[-1])

    def encode_keys(self, views: torch.Tensor, regions: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit vectors of the positives (B, R, D), as the queries', and of other regions of the same image (B, J, D)."""
        boxes = torch.cat([regions['negatives'], regions['key']], dim=1)
        (views, boxes), places = shuffle_over_devices(views, boxes)
        features = self.encoder_k[0](views)[-1]
        predicted = self.encoder_k[2](features) if self.mph_side == 'both' else features
        necks = (self.encoder_k[1], self.encoder_k[-1] if self.global_weight else None)
        vectors = unshuffle_over_devices(self._vectors(features, predicted, boxes, necks, views.shape[-1]), places)
        count = 0 if self.region == 'view' else regions['negatives'].shape[1]
        return vectors[:, count:], vectors[:, :count]

    def hide(self, views: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Views (B, 3, S, S) with their regions filled."""
        if self.mask is None:
            return views
        return fill_mask(views, MASK_SHAPES[self.mask_shape](boxes, views.shape[-1]), self.mask, self.fill)

    def _vectors(
        self, features: torch.Tensor, predicted: torch.Tensor, boxes: torch.Tensor, necks: tuple, size: int
    ) -> torch.Tensor:
        """Unit vectors of the boxes on the predicted map, or of all of it; with a second projection also of the features."""
        pooled = predicted.mean((2, 3))[:, None] if self.region == 'view' else self.pool(predicted, boxes, size)
        vectors = necks[0]((pooled.flatten(0, 1),))[0].unflatten(0, pooled.shape[:2])
        if necks[1] is not None:
            vectors = torch.cat([vectors, necks[1]((features.mean((2, 3)),))[0][:, None]], dim=1)
        return F.normalize(vectors.float(), dim=-1)

    @torch.no_grad()
    def _figures(self, queries: torch.Tensor, logits: torch.Tensor, loss: torch.Tensor, regions: dict) -> dict:
        similar = logits.detach() * self.temperature
        end = 1 + (self.hardest or self.queue.shape[1])
        figures = dict(
            excess=loss.detach() - torch.log(torch.isfinite(similar).sum(1).float()).mean(),
            choice_accuracy=_accuracy(logits),
            positive_similarity=similar[:, 0].mean(),
            queue_similarity=similar[:, 1:end].mean(),
            query_std=queries.detach().flatten(0, 1).std(0).mean(),
            **{name: regions[name].mean() for name in ('redraws', 'overlap', 'common_object') if name in regions},
        )
        if similar.shape[1] > end:
            other = similar[:, end:]
            known = torch.isfinite(other)
            figures['same_image_similarity'] = other.masked_fill(~known, 0.0).sum() / known.sum()  # an index would wait
        return figures

    def predict(self, inputs: torch.Tensor, regions: dict) -> list[dict[str, torch.Tensor]]:
        """Features of the frozen backbone for the probes.

        Args:
            inputs: (B, 3, S, S); (B, 3, H, W) without boxes.
            regions: what :class:`PackProbe` gives; ``boxes`` (B, R, 4) and ``cell_labels`` (B, rows, columns) are optional.

        Returns:
            per image ``feature`` (C,), ``region_features`` (R, C) if there are boxes, the map ``cell_features``
            (C, rows, columns) if there are labels of its cells, and its targets.
        """
        features = self.backbone(inputs)[-1]
        columns = dict(regions, feature=features.mean((2, 3)))
        if 'boxes' in regions:
            columns['region_features'] = self.pool(features, regions['boxes'], inputs.shape[-1])
        if 'cell_labels' in regions:
            columns['cell_features'] = features
        return [{name: column[i] for name, column in columns.items()} for i in range(len(inputs))]


def _accuracy(logits: torch.Tensor) -> torch.Tensor:
    return (logits[:, 0] >= logits.amax(1)).float().mean()


def _enqueue_when_used(queue: torch.Tensor, pointer: torch.Tensor, queries: torch.Tensor, keys: torch.Tensor) -> None:
    """The backward pass reads the queue; writing after it spares a copy of the queue per step."""
    keys = torch.cat(all_gather(keys.flatten(0, 1).contiguous()))
    if queries.requires_grad:
        queries.register_hook(lambda _: enqueue(queue, pointer, keys))
    else:
        enqueue(queue, pointer, keys)


def _turned(regions: dict) -> dict:
    """The regions where the views have changed their parts."""
    if 'query_negatives' not in regions:
        raise ValueError('MaskCo: symmetric=True needs negatives in both views; set both_views=True in TwoRegionViews.')
    return dict(query=regions['key'], key=regions['query'], negatives=regions['query_negatives'], valid=regions['query_valid'])


def _check_options(region: str, mask: str | None, mask_shape: str, mph: dict | None, mph_side: str, global_weight: float) -> None:
    choices = dict(
        region=(region, ('box', 'view')),
        mask=(mask, (None, *FILLS)),
        mask_shape=(mask_shape, tuple(MASK_SHAPES)),
        mph_side=(mph_side, ('query', 'both')),
    )
    for name, (value, valid) in choices.items():
        if value not in valid:
            raise ValueError(f'MaskCo: {name}={value!r}; valid are {", ".join(map(repr, valid))}.')
    if mph_side == 'both' and mph is None:
        raise ValueError("MaskCo: mph_side='both' without a mask prediction head; give mph.")
    if global_weight < 0 or (global_weight and region == 'view'):
        raise ValueError(f"MaskCo: global_weight={global_weight:g} with region={region!r}; the global term is for region='box'.")
