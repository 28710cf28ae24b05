"""InfoNCE, queue and mask written with loops from the formulas."""

import math

import numpy as np


def info_nce(queries, positives, queue, negatives, valid, temperature):
    """Mean loss over (B, R) queries; all arguments are nested numpy arrays as in the model."""
    losses = []
    for b in range(len(queries)):
        for r in range(len(queries[b])):
            q = queries[b][r]
            positive = math.exp(float(np.dot(q, positives[b][r])) / temperature)
            total = positive
            for column in range(queue.shape[1]):
                total += math.exp(float(np.dot(q, queue[:, column])) / temperature)
            for j in range(len(negatives[b])):
                if valid[b][j]:
                    total += math.exp(float(np.dot(q, negatives[b][j])) / temperature)
            losses.append(-math.log(positive / total))
    return sum(losses) / len(losses)


def masked(image, boxes, value):
    """Copy of (3, S, S) with every pixel that a box touches set to ``value``."""
    out = image.copy()
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            if any(x1 < column + 1 and column < x2 and y1 < row + 1 and row < y2 for x1, y1, x2, y2 in boxes):
                out[:, row, column] = value
    return out
