"""Reliability balancing: where a classifier is unsure, others take part in its answer.

Wasi et al. 2023, section 3.4; the arithmetic is that of the authors' training and evaluation code.
All functions work on Keras tensors whose rows are images.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

SMALLEST = 1e-30
"""Keeps a probability that rounds to 0, or two votes without confidence, from giving NaN."""


def doubt(distribution: Any) -> Any:
    """Return the entropy of a distribution (batch, classes) as a part of the greatest: (batch, 1).

    It is 0 for a certain distribution and 1 for a uniform one.
    """
    return _weighed_logarithms(distribution, -1.0)


def confidence(distribution: Any) -> Any:
    """Return what is not doubt, (batch, 1)."""
    return _weighed_logarithms(distribution, 1.0) + 1.0


def _weighed_logarithms(distribution: Any, sign: float) -> Any:
    """Sum p log p, as a matrix product, which an engine does together with an addition."""
    from keras import ops

    classes = distribution.shape[-1]
    logarithm = ops.log(ops.maximum(distribution, SMALLEST))
    column = np.full((classes, 1), sign / math.log(classes), np.float32)
    return ops.matmul(distribution * logarithm, column)


def distances(embedding: Any, anchors: Any) -> Any:
    """Return Euclidean distances (batch, anchors) of (batch, features) to (anchors, features)."""
    from keras import ops

    difference = ops.expand_dims(embedding, 1) - anchors
    return ops.sqrt(ops.sum(difference * difference, axis=-1))


def similarity(distances: Any, classes: int, delta: float) -> Any:
    """Turn distances (batch, classes × anchors) to a distribution over classes by nearness."""
    from keras import ops

    each = ops.softmax(distances * (-1 / delta), axis=-1)
    if each.shape[-1] == classes:
        return each
    return ops.sum(ops.reshape(each, (-1, classes, each.shape[-1] // classes)), axis=-1)


def balanced(probabilities: Any, similarities: Any, attention: Any, trust: Any) -> Any:
    """Correct a distribution as the authors' training does, by `trust` of 0…1."""
    from keras import ops

    by_anchors, by_attention = confidence(similarities), confidence(attention)
    both = ops.maximum(by_anchors + by_attention, SMALLEST)
    correction = (similarities * by_anchors + attention * by_attention) / both
    return probabilities + trust * doubt(probabilities) * (correction - probabilities)


def evaluated(probabilities: Any, similarities: Any, trust: Any) -> Any:
    """Correct a distribution as the authors' evaluation does, which weighs the anchors again."""
    correction = similarities * confidence(probabilities)
    return probabilities + trust * doubt(probabilities) * (correction - probabilities)
