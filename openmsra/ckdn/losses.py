"""Targets and losses of CKDN (section 3), and the trained metric as a loss of a restoration network."""

from torch import Tensor, nn

from openmsra.registry import MODELS

ELO_OFFSET, ELO_SCALE = 900.0, 1000.0  # a score is (Elo - 900) / 1000


def elo_expectation(score: Tensor, other: Tensor) -> Tensor:
    """Probability (B,) that the image scored ``other`` beats the one scored ``score``: 1 / (1 + 10^((m1 - m2) / 400)).

    Args:
        score, other: normalised scores (B,), (Elo - 900) / 1000.
    """
    return 1 / (1 + 10 ** ((score - other) * ELO_SCALE / 400))


@MODELS.register_module()
class ConditionalDistillation(nn.Module):
    """The four terms of CKDN: scores with either reference, reference alignment, pairwise ranking.

    The alignment of T(D) with T(P) alone is solved by a constant map; the score with the pristine reference through
    the same T is the condition that keeps information in it.

    Args:
        fr_weight, kd_weight, rank_weight: weights of the terms; the score with the degraded reference weighs 1.
        kd_power: the alignment term is the mean of diff ** kd_power; 2 is the official code.
        symmetric: also ask that the swapped pair is ranked.

    Raises:
        ValueError: a weight is negative or the power is not positive.
    """

    def __init__(
        self,
        fr_weight: float = 1.0,
        kd_weight: float = 30.0,
        rank_weight: float = 0.5,
        kd_power: float = 2.0,
        symmetric: bool = False,
    ) -> None:
        super().__init__()
        if min(fr_weight, kd_weight, rank_weight) < 0 or kd_power <= 0:
            raise ValueError(f'weights must be >= 0 and kd_power > 0, got {fr_weight=} {kd_weight=} {rank_weight=} {kd_power=}')
        self.fr_weight, self.kd_weight, self.rank_weight = fr_weight, kd_weight, rank_weight
        self.kd_power, self.symmetric = kd_power, symmetric

    def ranking(self, nr: Tensor, score: Tensor, other: Tensor, swapped: Tensor | None = None) -> dict[str, Tensor]:
        """Stage 1: squared error between the pairwise output (B,) and the Elo expectation."""
        loss = (nr - elo_expectation(score, other)).square().mean()
        if swapped is not None:
            loss = (loss + (swapped - elo_expectation(other, score)).square().mean()) / 2
        return dict(loss_rank=self.rank_weight * loss)

    def scoring(self, dr: Tensor, score: Tensor, fr: Tensor | None, diff: Tensor | None) -> dict[str, Tensor]:
        """Stage 2: squared errors of the scores (B,) and the alignment term (diff (B,) is a mean of squares)."""
        losses = dict(loss_dr=(dr - score).square().mean())
        if fr is not None:
            losses['loss_fr'] = self.fr_weight * (fr - score).square().mean()
        if diff is not None:
            losses['loss_kd'] = self.kd_weight * diff.pow(self.kd_power).mean()
        return losses


@MODELS.register_module()
class CKDNLoss(nn.Module):
    """1 - score of a restored image, to train a restoration network with; the metric is frozen and in eval mode.

    Args:
        metric: a :class:`CKDN` model, for example from ``openmsra.apis.init_model``.
        loss_weight: factor of the loss.
    """

    def __init__(self, metric: nn.Module, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.metric = metric.requires_grad_(False).eval()
        self.loss_weight = loss_weight

    def train(self, mode: bool = True) -> 'CKDNLoss':
        """Stay in evaluation mode: batch statistics and dropout would make the score random."""
        return super().train(False)

    def forward(self, restored: Tensor, degraded: Tensor) -> Tensor:
        """Loss of normalised images (B, 3, H, W); the gradient reaches ``restored`` only."""
        score = self.metric(dict(restored=restored, degraded=degraded.detach()), mode='tensor')
        return self.loss_weight * (1 - score).mean()
