"""Projection of the contrastive branch; feature combination and classifier of the meta branch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COMBINATIONS = ('absdiff_prod', 'concat', 'gated', 'mean')


class Projection(nn.Sequential):
    """Pooled features (m, C) to embeddings (m, D): the extractor's fully connected layer.

    Args:
        kind: 'mlp' (C -> C -> D with a ReLU, ours) or 'linear' (one layer, nearer to the paper's words).
    """

    def __init__(self, in_channels: int, out_channels: int = 128, kind: str = 'mlp') -> None:
        if kind not in ('mlp', 'linear'):
            raise ValueError(f"projection kind must be 'mlp' or 'linear', got {kind!r}")
        hidden = [nn.Linear(in_channels, in_channels), nn.ReLU()] if kind == 'mlp' else []
        super().__init__(*hidden, nn.Linear(in_channels, out_channels))


class FeatureCombination(nn.Module):
    """Features of two clips (m, E) each to the features of the pair (m, ``out_channels``). The forms are ours.

    'absdiff_prod': [|a - b|, a * b], symmetric. 'concat': [a, b]. 'gated': a learned gate g mixes g * a + (1 - g) * b, beside
    |a - b|. 'mean': (a + b) / 2, an ablation: it cannot tell whether two clips are of one video.
    """

    def __init__(self, channels: int, kind: str = 'absdiff_prod') -> None:
        super().__init__()
        if kind not in COMBINATIONS:
            raise ValueError(f'combination must be one of {", ".join(COMBINATIONS)}, got {kind!r}')
        self.kind = kind
        self.out_channels = channels if kind == 'mean' else 2 * channels
        self.gate = nn.Linear(2 * channels, channels) if kind == 'gated' else None

    @property
    def symmetric(self) -> bool:
        """Whether exchanging the two clips changes nothing."""
        return self.kind in ('absdiff_prod', 'mean')

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        if self.kind == 'absdiff_prod':
            return torch.cat([(a - b).abs(), a * b], 1)
        if self.kind == 'concat':
            return torch.cat([a, b], 1)
        if self.kind == 'mean':
            return (a + b) / 2
        gate = torch.sigmoid(self.gate(torch.cat([a, b], 1)))
        return torch.cat([gate * a + (1 - gate) * b, (a - b).abs()], 1)


class MetaHead(nn.Module):
    """The meta branch: its own fully connected layer, the feature combination and a binary classifier of pairs.

    Features are scaled to the length sqrt(C) first, so that the inner step does not depend on the encoder's scale. The last
    layer starts at 0, that is at the loss log 2.

    Args:
        in_channels: C of the pooled features.
        channels: E of the fully connected layer.
        combine: one of :data:`COMBINATIONS`.
        hidden: width of a hidden layer of the classifier; 0 for a linear one.

    Raises:
        ValueError: 'concat' with a linear classifier. Its score is a sum of one term a clip; balanced pairs use every clip
            equally often in both classes, so it can never be better than log 2.
    """

    def __init__(self, in_channels: int, channels: int = 256, combine: str = 'absdiff_prod', hidden: int = 0) -> None:
        super().__init__()
        if combine == 'concat' and not hidden:
            raise ValueError("meta_head: combine='concat' with a linear classifier cannot tell pairs apart; set hidden=256.")
        self.fc = nn.Linear(in_channels, channels)
        self.combine = FeatureCombination(channels, combine)
        layers = [nn.Linear(self.combine.out_channels, hidden), nn.ReLU()] if hidden else []
        self.classifier = nn.Sequential(*layers, nn.Linear(hidden or self.combine.out_channels, 1))
        nn.init.zeros_(self.classifier[-1].weight)
        nn.init.zeros_(self.classifier[-1].bias)

    def embed(self, features: Tensor) -> Tensor:
        """Pooled features (m, C) to the inputs (m, E) of the combination."""
        return self.fc(F.normalize(features, dim=-1) * features.shape[-1] ** 0.5)

    def score(self, a: Tensor, b: Tensor) -> Tensor:
        """Logits (m,) that the clips of a pair are of one video; asymmetric combinations are averaged over both orders."""
        scores = self.classifier(self.combine(a, b))
        if not self.combine.symmetric:
            scores = (scores + self.classifier(self.combine(b, a))) / 2
        return scores[:, 0]
