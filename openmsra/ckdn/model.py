"""CKDN: scores a restored image against the degraded input it was made from."""

from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from openmsra.ckdn.data.transforms import UNLABELLED
from openmsra.ckdn.designs import cut_design, load_imagenet, resnet_design
from openmsra.ckdn.network import BLOCKS, fold_batch_norms, init_convolutions, make_head
from openmsra.errors import ConfigError
from openmsra.registry import MODELS

TRAINING_HEADS = ('aux_csp', 'fc1_')
REFERENCES = ('degraded', 'pristine', 'none')
DETACH = ('none', 'pristine', 'degraded')


@MODELS.register_module()
class CKDN(BaseModel):
    """Degraded-reference quality with conditional knowledge distillation (ICCV 2021, arXiv 2108.07948).

    Training outputs, with Q = qse, T = dte, C = csp, f = fc_ and the auxiliary C' and f'::

        dr   = sigmoid f(C(Q(R1) - T(D)))     the metric
        fr   = sigmoid f(C(Q(R1) - T(P)))     the same with the pristine reference
        nr   = sigmoid f'(C'(Q(R1) - Q(R2)))  which of two restored images is better
        diff = mean (T(D) - T(P))^2           distance of the references

    Args:
        depth: ResNet (18, 34, 50, 101) whose first stage is a branch and whose second stage is a comparator.
        base_channels: width of the stem; 64 is ResNet's.
        stem_stride, stem_pool: 2 and ``True`` are ResNet's; 1 and ``False`` keep every pixel of small patches.
        backbone, cuts: cut branch and comparator out of another network of torchvision instead, see
            :func:`openmsra.ckdn.designs.cut_design`; ``depth``, ``base_channels``, the stem and ``comparator`` have no say then.
        head_dim, dropout: hidden width and dropout probability of the heads.
        share_branches: use Q for references as well.
        comparator: 'residual' or 'plain' blocks.
        reference: what the score is made against: 'degraded', 'pristine' (full reference) or 'none' (T = 0).
        detach: which reference feature gets no gradient from the alignment term; 'none' is the official code.
        distil: also train with the pristine reference (fr and diff).
        official_stages: run all parts in both stages, as the official code does: parts without a loss then get zero
            gradients (weight decay shrinks them) and their batch statistics move. Off: they stay untouched.
        keep_training_heads: keep C' and f' when a checkpoint is loaded for inference.
        equal_branches: start T as a copy of Q, as ImageNet weights do.
        imagenet_weights: what a training starts from, as in the official code; then Q = T. 'torchvision' is the file that
            torchvision has downloaded for this network, else a file (keys of torchvision or mmpretrain). ``None`` starts from
            random weights, which the official rate and weight of the alignment do not survive.
        loss: config of the training losses.

    Raises:
        ValueError: an option has an unknown value; the message lists the valid ones.
    """

    changes_its_graph = True  # which parameters have a gradient: no static_graph

    def __init__(
        self,
        depth: int = 50,
        base_channels: int = 64,
        stem_stride: int = 2,
        stem_pool: bool = True,
        backbone: str | None = None,
        cuts: tuple[int, int] = (14, 23),
        head_dim: int = 2048,
        dropout: float = 0.5,
        share_branches: bool = False,
        comparator: str = 'residual',
        reference: str = 'degraded',
        detach: str = 'none',
        distil: bool = True,
        official_stages: bool = False,
        keep_training_heads: bool = False,
        equal_branches: bool = False,
        imagenet_weights: str | None = 'torchvision',
        loss: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='PairDataPreprocessor')), init_cfg)
        _one_of('depth', depth, tuple(BLOCKS))
        _one_of('comparator', comparator, ('residual', 'plain'))
        _one_of('reference', reference, REFERENCES)
        _one_of('detach', detach, DETACH)
        if official_stages and (reference != 'degraded' or not distil):
            raise ValueError(
                f"official_stages trains all four outputs: it needs reference='degraded' and distil=True, "
                f'got {reference=} {distil=}'
            )
        resnet = (depth, base_channels, comparator, stem_stride, stem_pool)
        design = cut_design(backbone, cuts) if backbone else resnet_design(*resnet)
        self.pool = design.pool
        self.qse_1, self.qse_2 = design.branch()
        self.csp = design.comparator()
        if not share_branches:
            self.dte_1, self.dte_2 = design.branch()
        self.aux_csp = design.comparator()
        self.fc_ = make_head(design.channels, head_dim, dropout)
        self.fc1_ = make_head(design.channels, head_dim, dropout)
        self.share_branches, self.reference, self.detach = share_branches, reference, detach
        self.distil, self.official_stages = distil and reference == 'degraded', official_stages
        self.keep_training_heads = keep_training_heads
        self.imagenet_weights, self.design = imagenet_weights, design
        self.equal_branches = equal_branches and not share_branches
        self.losses = MODELS.build(dict(dict(type='ConditionalDistillation'), **(loss or {})))
        self.stage: str | None = None
        self.folded = False

    def init_weights(self) -> None:
        """Random or ImageNet weights; those that ``init_cfg`` names come last."""
        init_convolutions(self)
        if self.equal_branches:
            self.dte_1.load_state_dict(self.qse_1.state_dict())
            self.dte_2.load_state_dict(self.qse_2.state_dict())
        if self.imagenet_weights is not None:
            load_imagenet(self, self.design, self.imagenet_weights)
        super().init_weights()

    def prepare_inference(self) -> None:
        """Called once weights are loaded for inference: remove what only training needs (C' and f'), unless

        ``keep_training_heads`` is set, and lay the weights out channels last, which is faster.
        """
        self.to(memory_format=torch.channels_last)
        present = [name for name in TRAINING_HEADS if hasattr(self, name)]
        if self.keep_training_heads or not present:
            return
        count = sum(p.numel() for name in present for p in getattr(self, name).parameters())
        for name in present:
            delattr(self, name)
        print_log(f'CKDN: dropped {", ".join(present)} ({count:,} parameters): only training uses them.', 'current')

    def fold_batch_norms(self) -> None:
        """Fold every batch norm into its convolution: equal scores (to rounding), less time; only to score with.

        Raises:
            RuntimeError: the network is in training mode.
        """
        for child in self.children():
            fold_batch_norms(child)
        self.folded = True

    def train(self, mode: bool = True) -> 'CKDN':
        """Switch the mode.

        Raises:
            RuntimeError: training of a network without batch norms.
        """
        if mode and self.folded:
            raise RuntimeError('CKDN: the batch norms are folded into the convolutions; load the checkpoint again to train.')
        return super().train(mode)

    def embed_restored(self, image: Tensor) -> Tensor:
        """Q: normalised image (B, 3, H, W) to quality-sensitive features (B, 256, H/4, W/4)."""
        return self.qse_2(self.pool(self.qse_1(image)))

    def embed_reference(self, image: Tensor) -> Tensor:
        """T: normalised reference (B, 3, H, W) to degradation-tolerant features (B, 256, H/4, W/4)."""
        if self.share_branches:
            return self.embed_restored(image)
        return self.dte_2(self.pool(self.dte_1(image)))

    def logits(self, difference: Tensor, auxiliary: bool = False) -> Tensor:
        """C and f (or C' and f'): feature difference (B, C, H, W) to logits (B,)."""
        compare, head = (self.aux_csp, self.fc1_) if auxiliary else (self.csp, self.fc_)
        return head(compare(difference).mean(dim=(2, 3))).flatten().float()  # bfloat16 would round scores to three digits

    def score_logits(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """Logits (B,) of the metric; nothing but Q, T, C and f runs."""
        return self.logits(self._difference(restored, reference))

    def local_logits(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """Logits (B, H/8, W/8) of the head on every position of C's features, instead of on their mean."""
        return self.fc_(self.csp(self._difference(restored, reference)).permute(0, 2, 3, 1)).squeeze(-1)

    def _difference(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        features = self.embed_restored(restored)
        return features if self.reference == 'none' else features - self.embed_reference(reference)

    def four_outputs(self, restored: Tensor, degraded: Tensor, other: Tensor, pristine: Tensor) -> Tensor:
        """All training outputs, columns dr, fr, nr, diff (B, 4), with the batch statistics of the official code:

        Q and T run once per image, C once on the differences with both references together.
        """
        return self._four_outputs(restored, degraded, other, pristine)[0]

    def _four_outputs(self, restored: Tensor, degraded: Tensor, other: Tensor, pristine: Tensor) -> tuple[Tensor, Tensor]:
        features, other_features = self.embed_restored(restored), self.embed_restored(other)
        dr, fr, diff, spread = self._both_references(features, degraded, pristine)
        nr = self.logits(features - other_features, auxiliary=True).sigmoid()
        return torch.stack([dr, fr, nr, diff], dim=1), spread

    def _both_references(self, features: Tensor, degraded: Tensor, pristine: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """dr, fr, diff (B,), and the variance of T(P) over the batch: where it falls, T is collapsing."""
        from_degraded, from_pristine = self.embed_reference(degraded), self.embed_reference(pristine)
        joint = torch.cat([features - from_degraded, features - from_pristine])
        dr, fr = self.logits(joint).sigmoid().chunk(2)
        spread = from_pristine.detach().float().var(dim=0, correction=0).mean()
        return dr, fr, self._distance(from_degraded, from_pristine), spread

    def _distance(self, from_degraded: Tensor, from_pristine: Tensor) -> Tensor:
        left = from_degraded.detach() if self.detach == 'degraded' else from_degraded
        right = from_pristine.detach() if self.detach == 'pristine' else from_pristine
        return (left.float() - right.float()).square().mean(dim=(1, 2, 3))

    def forward(
        self, inputs: dict[str, Tensor], data_samples: list[BaseDataElement] | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list[BaseDataElement]:
        """Run on normalised images (B, 3, H, W) by role: restored, degraded and, for training, other, pristine.

        Returns:
            'tensor': scores (B,) in (0, 1), higher is better; 'predict': the samples with ``pred_score`` and
            ``pred_logit``; 'loss': the terms of the current stage.

        Raises:
            ValueError: a role is missing, shapes differ, or the mode is unknown.
        """
        _one_of('mode', mode, ('tensor', 'predict', 'loss'))
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        role = 'pristine' if self.reference == 'pristine' else 'degraded'
        self._check(inputs, ('restored',) if self.reference == 'none' else ('restored', role))
        logits = self.score_logits(inputs['restored'], inputs.get(role))
        if mode == 'tensor':
            return logits.sigmoid()
        data_samples = data_samples or [BaseDataElement() for _ in logits]
        for sample, logit in zip(data_samples, logits, strict=True):
            sample.set_field(float(logit), 'pred_logit')
            sample.set_field(float(logit.sigmoid()), 'pred_score')
        return data_samples

    def loss(self, inputs: dict[str, Tensor], data_samples: list[BaseDataElement]) -> dict[str, Tensor]:
        """Losses of the current stage: 'rank' (relative scores only) or 'score', which :class:`TwoStageHook` sets.

        Pairs of other scenes, ``extra_degraded`` and ``extra_pristine``, have no restored image and no score: they take
        part in the alignment only.
        """
        if self.stage is None:
            raise ConfigError(
                "CKDN trains in two stages and nobody has chosen one: add dict(type='TwoStageHook') to custom_hooks "
                '(a config that sets custom_hooks replaces those of its base; rank_epochs=0 leaves the ranking out).'
            )
        score = inputs['restored'].new_tensor([sample.gt_score for sample in data_samples])
        if self.official_stages:
            return self._official_loss(inputs, score, data_samples)
        if self.stage == 'rank':
            self._check(inputs, ('restored', 'other'))
            return self._rank_loss(inputs, score, data_samples)
        if not self.distil:
            dr = self.forward(inputs)
            return self.losses.scoring(dr, score, None, None)
        extra = UNLABELLED if UNLABELLED[0] in inputs else ()
        self._check(inputs, ('restored', 'degraded', 'pristine', *extra))
        features = self.embed_restored(inputs['restored'])
        dr, fr, diff, spread = self._both_references(features, inputs['degraded'], inputs['pristine'])
        gap = diff.detach().mean()
        if extra:
            diff = torch.cat([diff, self._distance(*(self.embed_reference(inputs[role]) for role in extra))])
        return dict(self.losses.scoring(dr, score, fr, diff), diff=gap, spread=spread, diff_by_spread=gap / spread)

    def _rank_loss(self, inputs: dict[str, Tensor], score: Tensor, data_samples: list) -> dict[str, Tensor]:
        gap = self.embed_restored(inputs['restored']) - self.embed_restored(inputs['other'])
        swapped = self.logits(-gap, auxiliary=True).sigmoid() if self.losses.symmetric else None
        nr = self.logits(gap, auxiliary=True).sigmoid()
        return self.losses.ranking(nr, score, _other_scores(score, data_samples), swapped)

    def _official_loss(self, inputs: dict[str, Tensor], score: Tensor, data_samples: list) -> dict[str, Tensor]:
        roles = ('restored', 'degraded', 'other', 'pristine')
        self._check(inputs, roles)
        outputs, spread = self._four_outputs(*(inputs[role] for role in roles))
        dr, fr, nr, diff = outputs.unbind(dim=1)
        if self.stage == 'rank':
            losses = self.losses.ranking(nr, score, _other_scores(score, data_samples))
        else:
            losses = self.losses.scoring(dr, score, fr, diff)
        gap = diff.detach().mean()
        return dict(losses, loss_unused=0 * outputs.sum(), diff=gap, spread=spread, diff_by_spread=gap / spread)

    @staticmethod
    def _check(inputs: dict[str, Tensor], roles: Sequence[str]) -> None:
        missing = [role for role in roles if inputs.get(role) is None]
        if missing:
            raise ValueError(f'inputs lack {missing}; given: {sorted(inputs)}')
        shapes = {role: tuple(inputs[role].shape) for role in roles}
        if len(set(shapes.values())) > 1 or inputs[roles[0]].ndim != 4 or inputs[roles[0]].shape[1] != 3:
            raise ValueError(f'images must have one shape (B, 3, H, W), got {shapes}')


def _other_scores(like: Tensor, data_samples: list[BaseDataElement]) -> Tensor:
    return like.new_tensor([sample.gt_other_score for sample in data_samples])


def _one_of(name: str, value: object, valid: Sequence[object]) -> None:
    if value not in valid:
        raise ValueError(f'{name} must be one of {", ".join(map(repr, valid))}, got {value!r}')
