"""MCN: contrastive and meta branch inside a two-stage update; its baselines are options of the same class."""

import copy
import math
import re

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from torch import Tensor, nn
from torch.func import functional_call

from openmsra.common.contrastive import shuffle_over_devices, unshuffle_over_devices
from openmsra.common.convolution import replace_convolutions
from openmsra.common.ema import ema_update
from openmsra.common.normalization import replace_batch_norms
from openmsra.mcn.features import VideoEncoder
from openmsra.mcn.heads import MetaHead, Projection
from openmsra.mcn.losses import contrast_in_batch, contrast_with_stored, same_video_loss
from openmsra.mcn.meta import InnerLoop, MetaLosses, meta_objective
from openmsra.mcn.negatives import KeyQueue, build_negatives
from openmsra.mcn.tasks import QUERY_VIDEOS, derangements, group_size, hardest_others, split_stages
from openmsra.registry import MODELS
from openmsra.suggest import did_you_mean

TRAINED = ('backbone', 'projection', 'meta_head')


@MODELS.register_module()
class MCN(VideoEncoder):
    """Meta-contrastive network (ICCV 2021, arXiv 2108.08426).

    Known from the paper's text: two stages an iteration after MAML, in each a contrastive branch and a binary meta branch with a
    fully connected layer of its own behind a feature combination. No code was published; layouts and numbers are ours.

    ``meta_head=None, inner=None`` is contrastive learning alone, ``inner=None`` adds the meta branch without meta-learning
    (both see the support and the query clips in one joint step), and with ``negatives.kind='queue'`` the former is MoCo.

    Args:
        backbone: a video network with ``feat_dim`` that gives (B, C, T', H', W').
        projection: options of :class:`Projection`.
        meta_head: options of :class:`MetaHead`, or ``None``.
        inner: options of :class:`InnerLoop`, with ``scope`` in the place of ``adapted``: 'all', 'heads', 'last' (last stage and
            heads) or regular expressions of parameter names; ``None`` for joint training.
        tasks: N tasks that the videos of a batch (on each device) form.
        query_videos: 'same' (four clips of a video, two support, two query) or 'disjoint' (two clips, other videos).
        negatives: ``kind`` 'batch', 'queue' or 'bank' and the options of :class:`KeyQueue` or :class:`MemoryBank`.
        temperature: tau.
        meta_weight: lambda, weight of the meta branch.
        support_weight: mu, weight of the first stage's loss in the outer objective.
        same_view: see :func:`contrast_in_batch`.
        hard_pairs: pair a clip with the most similar other video instead of a random one.
        shuffle_videos: deal the videos of a batch to other groups in every iteration; ``False`` keeps the order of the sampler,
            so that with 'disjoint' the first half of a task's videos is support, e.g. from another recording than the query.
        warmup_iters: iterations of contrastive learning alone at the start; random features give no useful inner gradient.
        gain_interval: the gain of adapting, L(theta; query) - L(theta'; query), is measured every so many iterations.

    Raises:
        ValueError: an option that cannot be, a scope that matches no parameter.
    """

    changes_its_graph = True  # which parameters have a gradient: no static_graph
    not_compiled_because = (
        'its inner step decides by values (warm-up) and its convolutions have a second derivative of their own: '
        'its graph breaks in 47 places'
    )

    def __init__(
        self,
        backbone: dict,
        projection: dict | None = None,
        meta_head: dict | None = None,
        inner: dict | None = None,
        tasks: int = 1,
        query_videos: str = 'same',
        negatives: dict | None = None,
        temperature: float = 0.07,
        meta_weight: float = 1.0,
        support_weight: float = 1.0,
        same_view: bool = True,
        hard_pairs: bool = False,
        shuffle_videos: bool = True,
        warmup_iters: int = 0,
        gain_interval: int = 50,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(backbone, data_preprocessor, init_cfg)
        if query_videos not in QUERY_VIDEOS or tasks < 1 or temperature <= 0 or min(meta_weight, support_weight) < 0:
            raise ValueError(
                f'MCN: query_videos={query_videos!r} ({", ".join(QUERY_VIDEOS)}), tasks={tasks}, temperature={temperature}, '
                f'meta_weight={meta_weight}, support_weight={support_weight}: out of range.'
            )
        if inner is not None:  # its gradients are differentiated
            replace_convolutions(self.backbone)
            replace_batch_norms(self.backbone)
            _forbid_changes_in_place(self.backbone)
        width = self.backbone.feat_dim
        self.projection = Projection(width, **(projection or {}))
        self.meta_head = MetaHead(width, **meta_head) if meta_head is not None else None
        self.negatives = build_negatives(negatives or dict(kind='batch'), self.projection[-1].out_features)
        self.encoder_k = None
        if isinstance(self.negatives, KeyQueue):
            self.encoder_k = copy.deepcopy(self._encoder_q()).requires_grad_(False)
        self.tasks, self.query_videos, self.temperature = tasks, query_videos, temperature
        self.meta_weight, self.support_weight = meta_weight if meta_head is not None else 0.0, support_weight
        self.same_view, self.hard_pairs, self.shuffle_videos = same_view, hard_pairs, shuffle_videos
        self.warmup_iters, self.gain_interval = warmup_iters, gain_interval
        self.joint = InnerLoop(rate=0.0, steps=0, side_by_side=not getattr(self.backbone, 'recompute', False))
        self.inner = self._inner_loop(dict(inner)) if inner is not None else self.joint
        self.register_buffer('iteration', torch.zeros((), dtype=torch.long))
        self._counted: tuple[int, int] | None = None  # version of ``iteration`` and its value

    def _inner_loop(self, options: dict) -> InnerLoop:
        adapted = self._in_scope(options.pop('scope', 'all'))
        return InnerLoop(**options, adapted=adapted, side_by_side=self.joint.side_by_side)

    def _in_scope(self, scope: str | list[str]) -> frozenset[str]:
        """Names of the parameters that adapt; see the class.

        Raises:
            ValueError: a pattern that matches nothing.
        """
        heads = [r'^projection\.', *([r'^meta_head\.'] if self.meta_head is not None else [])]
        named = {'all': ['.'], 'heads': heads, 'last': [rf'^backbone\.{self.backbone.last_stage}\.', *heads]}
        patterns = named.get(scope, [scope]) if isinstance(scope, str) else list(scope)
        names = list(self.trained_parameters())
        for pattern in patterns:
            if not any(re.search(pattern, name) for name in names):
                tops = {'.'.join(name.split('.')[:2]) for name in names} | set(named)
                raise ValueError(f'MCN: inner.scope: {pattern!r} matches no parameter. {did_you_mean(pattern, tops)}')
        return frozenset(name for name in names if any(re.search(pattern, name) for pattern in patterns))

    def init_weights(self) -> None:
        """Initialise; the key encoder starts as a copy of the encoder."""
        super().init_weights()
        if self.encoder_k is not None:
            ema_update(self.encoder_k, self._encoder_q(), 0.0)

    def _encoder_q(self) -> nn.Sequential:
        return nn.Sequential(self.backbone, self.projection)

    def trained_parameters(self) -> dict[str, Tensor]:
        """The parameters theta of the objective, by name."""
        return {name: value for name, value in self.named_parameters() if name.partition('.')[0] in TRAINED}

    def forward(self, inputs: Tensor | dict, data_samples: list | None = None, mode: str = 'tensor', **options):
        """Map of clips (B, 3, T, H, W) ('tensor'), losses of (V, C, 3, T, H, W) ('loss'), samples with features ('predict').

        'task' is the loss of one task, which the two stages call with other parameters.
        """
        if mode == 'task':
            return self._task_loss(inputs, **options)
        return self.loss(inputs, data_samples) if mode == 'loss' else super().forward(inputs, data_samples, mode)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """One iteration: both stages of all tasks, the outer objective, and what is stored as negatives.

        Args:
            inputs: (V, C, 3, T, H, W), normalised: C clips of each of V videos.
            data_samples: with ``video_id``; labels are not read.

        Returns:
            ``loss`` and figures for the log.

        Raises:
            ValueError: videos that do not form tasks, float16 or SyncBN with an inner step.
        """
        iteration = self._iterations_done
        warm = iteration < self.warmup_iters
        inner = self.joint if warm else self.inner
        if inner.steps:
            self._refuse_what_cannot_adapt(inputs)
        ids = torch.tensor([sample.video_id for sample in data_samples], device=inputs.device)
        support, query = self._stages(inputs, ids)
        weight = 0.0 if warm else self.meta_weight
        theta = self.trained_parameters()
        losses = meta_objective(self._loss_function(weight), theta, support, query, inner, self.support_weight)
        self._write_statistics(losses)
        figures = self._figures(losses)
        if inner.steps and iteration % self.gain_interval == 0:
            figures['gain'] = self._gain(query, losses, weight)
        self._store(support, query, losses)
        self.iteration += 1
        self._counted = (self.iteration._version, iteration + 1)
        return dict(loss=losses.objective, **figures)

    def explain_non_finite(self, figures: dict[str, float]) -> str:
        """Why the loss with these figures of :meth:`loss` is not finite and what to do; empty where that is not known."""
        support, query = figures['support'], figures['query']
        if not self.inner.steps or not math.isfinite(support) or math.isfinite(query):
            return ''
        return (
            f'the inner step diverges: the loss is {support:.4g} before and {query} after {self.inner.steps} step(s) of rate '
            f'{self.inner.rate:g}; lower model.inner.rate'
        )

    @property
    def _iterations_done(self) -> int:
        """Read from the device, which the host waits for, only when something else than this model has counted."""
        if self._counted is None or self._counted[0] != self.iteration._version:
            self._counted = (self.iteration._version, int(self.iteration))
        return self._counted[1]

    def _stages(self, inputs: Tensor, ids: Tensor) -> tuple[dict, dict]:
        """Everything that the loss of a task reads, tasks first, for both stages."""
        order = torch.randperm(len(inputs)) if self.shuffle_videos else torch.arange(len(inputs))
        order = order.to(inputs.device)
        columns = dict(clips=inputs[order], ids=ids[order, None].expand(-1, inputs.shape[1]))
        if self.encoder_k is not None:
            ema_update(self.encoder_k, self._encoder_q(), self.negatives.momentum)
            columns['keys'] = self._keys(columns['clips'])
        halves = {name: split_stages(column, self.tasks, self.query_videos) for name, column in columns.items()}
        size = group_size(len(inputs), self.tasks, self.query_videos)
        buffers = {
            name: value.expand(self.tasks, *value.shape)
            for name, value in self.named_buffers()
            if name.partition('.')[0] in TRAINED
        }
        return tuple(
            {
                **{name: half[stage] for name, half in halves.items()},
                'buffers': buffers,
                'others': derangements(self.tasks, size).to(inputs.device),
            }
            for stage in (0, 1)
        )

    @torch.no_grad()
    def _keys(self, clips: Tensor) -> Tensor:
        """(V, C, 3, T, H, W) to unit vectors (V, C, D) of the momentum encoder, with ShuffleBN as in MoCo."""
        (dealt,), places = shuffle_over_devices(clips.flatten(0, 1))
        pooled = self.encoder_k[0](dealt).mean((2, 3, 4))
        vectors = unshuffle_over_devices(F.normalize(self.encoder_k[1](pooled).float(), dim=-1), places)
        return vectors.unflatten(0, clips.shape[:2])

    def _loss_function(self, meta_weight: float):
        """The loss of a task as a function of parameters; statistics of normalisation are returned, not written."""
        stored = self.negatives.stored() if self.negatives is not None else None

        def loss(parameters: dict[str, Tensor], clips: dict) -> tuple[Tensor, dict]:
            buffers = {name: value.clone() for name, value in clips['buffers'].items()}
            options = dict(mode='task', stored=stored, meta_weight=meta_weight)
            value, figures = functional_call(self, {**parameters, **buffers}, (clips,), options)
            return value, dict(figures, buffers=buffers)

        return loss

    def _task_loss(self, task: dict, stored: tuple | None, meta_weight: float) -> tuple[Tensor, dict]:
        """L = L_con + lambda * L_meta of clips (2, n, 3, T, H, W), with both parts, pair accuracy and embeddings."""
        pooled = self.backbone(task['clips'].flatten(0, 1)).mean((2, 3, 4))
        with torch.autocast(pooled.device.type, enabled=False):
            pooled = pooled if pooled.dtype == torch.double else pooled.float()
            z = F.normalize(self.projection(pooled), dim=-1).unflatten(0, task['clips'].shape[:2])
            contrast = self._contrast(z, task, stored)
            figures = dict(contrast=contrast.detach(), z=z.detach())
            if self.meta_head is None:
                return contrast, figures
            u = self.meta_head.embed(pooled).unflatten(0, z.shape[:2])
            others = hardest_others(*z) if self.hard_pairs else task['others']
            meta, accuracy = same_video_loss(self.meta_head.score(*u), self.meta_head.score(u[0], u[1][others]))
            return contrast + meta_weight * meta, dict(figures, meta=meta.detach(), pair_accuracy=accuracy.detach())

    def _contrast(self, z: Tensor, task: dict, stored: tuple | None) -> Tensor:
        if stored is None:
            return contrast_in_batch(z[0], z[1], self.temperature, self.same_view)
        vectors, owners = stored
        positives = task.get('keys', z).flip(0).flatten(0, 1)
        same_video = task['ids'].flatten()[:, None] == owners
        return contrast_with_stored(z.flatten(0, 1), positives, vectors, same_video, self.temperature)

    def _refuse_what_cannot_adapt(self, inputs: Tensor) -> None:
        device = inputs.device.type
        if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16:
            raise ValueError("MCN: inner gradients vanish in float16: set optim_wrapper.dtype='bfloat16' or train without --amp.")
        if any(isinstance(module, nn.SyncBatchNorm) for module in self.backbone.modules()):
            raise ValueError('MCN: SyncBN cannot be differentiated twice; use BN3d or GN and no sync_bn with an inner step.')

    @torch.no_grad()
    def _write_statistics(self, losses: MetaLosses) -> None:
        """Running statistics change once an iteration, by the support clips at theta (mean over the tasks)."""
        for name, values in losses.support_extras['buffers'].items():
            self.get_buffer(name).copy_(values.mean(0) if values.is_floating_point() else values[0])

    @torch.no_grad()
    def _gain(self, query: dict, losses: MetaLosses, meta_weight: float) -> Tensor:
        before = meta_objective(self._loss_function(meta_weight), self.trained_parameters(), query, query, self.joint, 0.0)
        return before.query.mean() - losses.query.mean()

    def _figures(self, losses: MetaLosses) -> dict[str, Tensor]:
        names = [name for name in ('contrast', 'meta', 'pair_accuracy') if name in losses.support_extras]
        both = {name: (losses.support_extras[name].mean() + losses.query_extras[name].mean()) / 2 for name in names}
        return dict(support=losses.support.mean(), query=losses.query.mean(), **both)

    @torch.no_grad()
    def _store(self, support: dict, query: dict, losses: MetaLosses) -> None:
        """Keep the keys of this iteration (of all devices) as negatives of the next ones."""
        if self.negatives is None:
            return
        stages = [(stage, stage['keys']) for stage in (support, query) if 'keys' in stage]
        for stage, vectors in stages or [(support, losses.support_extras['z'])]:  # embeddings at theta; at theta' never
            ids = stage['ids'][:, 0].flatten().contiguous()
            by_video = vectors.movedim(1, 2).flatten(0, 1).contiguous()  # (N * n, 2, D)
            self.negatives.update(torch.cat(all_gather(ids)), torch.cat(all_gather(by_video)))


def _forbid_changes_in_place(network: nn.Module) -> None:
    """Under ``vmap`` what a ReLU changes is a view of all tasks, and autograd copies the whole for each such change."""
    for module in network.modules():
        if getattr(module, 'inplace', False):
            module.inplace = False
