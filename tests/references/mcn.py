"""The two stages, InfoNCE, pair loss and retrieval, written with loops from their formulas."""

import math

import numpy as np
import torch


def meta_gradient(loss, theta, supports, queries, rate, steps=1, second_order=True, support_weight=1.0, adapted=None):
    """J(theta) and its gradient: one task after the other, plain autograd; ``theta`` maps names to leaf tensors.

    ``loss(parameters, clips)`` gives a number; ``supports`` and ``queries`` are lists with one entry a task.
    """
    total = 0
    for support, query in zip(supports, queries, strict=True):
        current, support_loss = dict(theta), loss(theta, support)
        for step in range(steps):
            names = [name for name in current if adapted is None or name in adapted]
            value = loss(current, support) if step else support_loss
            gradients = torch.autograd.grad(
                value, [current[name] for name in names], create_graph=second_order, retain_graph=True, allow_unused=True
            )
            for name, gradient in zip(names, gradients, strict=True):
                if gradient is not None:
                    current[name] = current[name] - rate * (gradient if second_order else gradient.detach())
        total = total + loss(current, query)
        if support_weight:
            total = total + support_weight * support_loss
    objective = total / len(supports)
    gradients = torch.autograd.grad(objective, list(theta.values()), allow_unused=True)
    return objective.detach(), {
        name: torch.zeros_like(value) if gradient is None else gradient
        for (name, value), gradient in zip(theta.items(), gradients, strict=True)
    }


def batch_wise_gradient(loss, theta, supports, queries, rate, support_weight=1.0):
    """One inner step for all tasks together, second order."""
    support_loss = sum(loss(theta, support) for support in supports) / len(supports)
    gradients = torch.autograd.grad(support_loss, list(theta.values()), create_graph=True)
    moved = {name: value - rate * gradient for (name, value), gradient in zip(theta.items(), gradients, strict=True)}
    objective = sum(loss(moved, query) for query in queries) / len(queries) + support_weight * support_loss
    return objective.detach(), dict(zip(theta, torch.autograd.grad(objective, list(theta.values())), strict=True))


def info_nce(query, positive, negatives, temperature):
    """-log(e^(q.p/t) / (e^(q.p/t) + sum over negatives of e^(q.n/t)))."""
    numerator = math.exp(float(np.dot(query, positive)) / temperature)
    return -math.log(numerator / (numerator + sum(math.exp(float(np.dot(query, other)) / temperature) for other in negatives)))


def in_batch(first, second, temperature, same_view):
    """Both directions, averaged; candidates are the other view of all videos and, if asked, the same view of the others."""
    losses = []
    for own, other in ((first, second), (second, first)):
        for i in range(len(own)):
            negatives = [other[j] for j in range(len(own)) if j != i]
            if same_view:
                negatives += [own[j] for j in range(len(own)) if j != i]
            losses.append(info_nce(own[i], other[i], negatives, temperature))
    return sum(losses) / len(losses)


def recall_at(query, gallery, query_labels, gallery_labels, k):
    """Share of queries with a gallery video of their class among the k most similar; ties by gallery index."""
    hits = 0
    for feature, label in zip(query, query_labels, strict=True):
        scored = [
            (-float(np.dot(feature, other)) / float(np.linalg.norm(feature) * np.linalg.norm(other)), j)
            for j, other in enumerate(gallery)
        ]
        hits += any(gallery_labels[j] == label for _, j in sorted(scored)[:k])
    return hits / len(query)


def average_precision(ranked_labels, label):
    """Mean of the precision at each hit."""
    hits, precisions = 0, []
    for place, found in enumerate(ranked_labels, start=1):
        if found == label:
            hits += 1
            precisions.append(hits / place)
    return sum(precisions) / len(precisions)
