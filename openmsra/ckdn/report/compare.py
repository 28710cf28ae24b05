"""Which restoration method is better: paired comparisons over the same images."""

from collections import defaultdict
from itertools import combinations

import numpy as np


def paired_bootstrap(first: np.ndarray, second: np.ndarray, draws: int = 10_000, seed: int = 0) -> dict[str, float]:
    """Mean difference first - second of paired values (n,), its 95 % interval, and the share of pairs that first wins.

    Ties count half. The units (images, scenes) are resampled in pairs, so that what they share cancels.

    Raises:
        ValueError: no pairs, or not of one length.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f'paired values of one length are needed, got {first.shape} and {second.shape}')
    gap = first - second
    means = gap[np.random.default_rng(seed).integers(len(gap), size=(draws, len(gap)))].mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return dict(difference=float(gap.mean()), low=float(low), high=float(high), wins=float(((np.sign(gap) + 1) / 2).mean()))


def compare_methods(rows: list[dict], draws: int = 10_000) -> dict:
    """Compare methods on the images that all of them restored.

    Args:
        rows: ``dict(method=, image=, score=)``; an image may lack methods.
        draws: bootstrap resamplings.

    Returns:
        ``images``: number of common images; ``methods``: rows with mean score and mean rank (1 is best), best first;
        ``pairs``: every two methods with the mean difference, its 95 % interval and the share of images won.

    Raises:
        ValueError: fewer than two methods, or no image that all of them have.
    """
    from scipy.stats import rankdata

    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        scores[row['method']][row['image']] = row['score']
    common = sorted(set.intersection(*(set(images) for images in scores.values()))) if len(scores) > 1 else []
    if not common:
        raise ValueError(f'methods {sorted(scores)}: at least two with an image in common are needed for a comparison.')
    table = np.array([[scores[name][image] for image in common] for name in scores])
    ranks = rankdata(-table, axis=0).mean(1)
    methods = [
        dict(method=name, mean_score=float(values.mean()), mean_rank=float(rank))
        for name, values, rank in zip(scores, table, ranks, strict=True)
    ]
    methods.sort(key=lambda row: row['mean_rank'])
    index = {name: i for i, name in enumerate(scores)}
    pairs = [
        dict(
            first=a['method'], second=b['method'], **paired_bootstrap(table[index[a['method']]], table[index[b['method']]], draws)
        )
        for a, b in combinations(methods, 2)
    ]
    return dict(images=len(common), methods=methods, pairs=pairs)
