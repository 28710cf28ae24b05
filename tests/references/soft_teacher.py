"""Soft Teacher's formulas as loops over single numbers."""

import math
import statistics


def project_box(box, matrix, shape=None):
    """Hull of four projected corners, clipped to (height, width)."""
    xs, ys = [], []
    for x in (box[0], box[2]):
        for y in (box[1], box[3]):
            u, v, w = (row[0] * x + row[1] * y + row[2] for row in matrix)
            xs.append(u / w)
            ys.append(v / w)
    hull = [min(xs), min(ys), max(xs), max(ys)]
    if shape is None:
        return hull
    return [min(max(value, 0), limit) for value, limit in zip(hull, (shape[1], shape[0]) * 2)]


def uncertainty(refinements, norm):
    """u of one box; ``refinements`` is a list of N boxes."""
    stds = [statistics.stdev(column) for column in zip(*refinements)]
    means = [statistics.fmean(column) for column in zip(*refinements)]
    width, height = max(means[2] - means[0], 1), max(means[3] - means[1], 1)
    if norm == 'mean_side':
        return sum(stds) / 4 / ((width + height) / 2)
    return sum(std / side for std, side in zip(stds, (width, height, width, height))) / 4


def soft_loss(logits, labels, background, norm):
    """Cross entropy of R rows of C + 1 logits; ``background`` holds the teacher's background probabilities."""
    last = len(logits[0]) - 1
    sums = {True: [0.0, 0.0], False: [0.0, 0.0]}
    for row, label, reliability in zip(logits, labels, background):
        entropy = math.log(sum(math.exp(value) for value in row)) - row[label]
        weight = 1.0 if label != last else reliability
        sums[label != last][0] += weight * entropy
        sums[label != last][1] += weight
    if norm == 'joint':
        return (sums[True][0] + sums[False][0]) / max(sums[True][1] + sums[False][1], 1)
    return sum(total / mass for total, mass in sums.values() if mass > 0)
