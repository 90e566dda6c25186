"""ARBEx's losses, as its authors' code has them (Wasi et al. 2023, section 3.5)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgefer.models.arbex import balancing
from edgefer.models.arbex.network import EMBEDDING

if TYPE_CHECKING:
    import keras

FACTOR = 1 / math.sqrt(EMBEDDING)
"""Of the anchors' losses."""

FARTHEST = 4.0 * EMBEDDING
"""The squared distance of two anchors beyond which they need not go farther apart.

The authors' loss has no such end: from random weights it would carry the anchors away from all
embeddings. Nearness to one of two anchors this far apart is all or nothing already.
"""

AUXILIARY = 0.5
"""Of the loss of each backbone's own answer, where it has one."""


def loss(
    model: keras.Model, inputs: Any, target: Any, weight: Any, trained: Any
) -> tuple[Any, Any]:
    """Return the authors' loss and the corrected distributions (batch, classes).

    `target` are distributions, `weight` counts each image, `trained` is the part of the training
    that is done. It is how much the corrections are trusted, and the anchors' two losses. Outputs
    of the model behind its first are answers of its backbones alone; without the network's own,
    their losses are all there is.
    """
    import keras
    from keras import ops

    names = {layer.name for layer in model.layers}
    if "balancing" not in names:
        predicted, *others = keras.Model(model.input, model.outputs)(inputs, training=True)
        if "classifier" not in names:
            return sum(likelihood(other, target, weight) for other in others), predicted
        return _answered(predicted, others, target, weight), predicted
    anchors = model.get_layer("anchors")
    model.get_layer("balancing").trust.assign(trained)
    parts = [model.get_layer("probabilities").output, anchors.output, *model.outputs]
    whole = keras.Model(model.input, parts)
    probabilities, distances, predicted, *others = whole(inputs, training=True)
    own = ops.argmax(target, axis=-1)
    confidence = balancing.confidence(probabilities)
    total = _answered(predicted, others, target, weight)
    total += trained * spread(anchors.anchors)
    total += trained * centering(distances, own, confidence, anchors.count)
    return total, predicted


def _answered(predicted: Any, others: Any, target: Any, weight: Any) -> Any:
    """Return the loss of the network's answer and, each for a part, of its backbones' own."""
    total = likelihood(predicted, target, weight)
    for other in others:
        total += AUXILIARY * likelihood(other, target, weight)
    return total


def likelihood(predicted: Any, target: Any, weight: Any) -> Any:
    """Return the weighted mean of the negative logarithmic likelihood."""
    from keras import ops

    logarithm = ops.log(ops.maximum(predicted, balancing.SMALLEST))
    each = -ops.sum(target * logarithm, axis=-1)
    return ops.sum(each * weight) / ops.sum(weight)


def spread(anchors: Any) -> Any:
    """Return how near the anchors (classes, count, features) of different classes are.

    It is the negative sum of all squared distances: the farther apart, the lower, as far as
    `FARTHEST` for each anchor of a class.
    """
    from keras import ops

    count = anchors.shape[1]
    flat = ops.reshape(anchors, (anchors.shape[0], -1))
    between = ops.expand_dims(flat, 0) - ops.expand_dims(flat, 1)
    apart = ops.sum(between * between, axis=-1)
    return -ops.sum(ops.minimum(apart, FARTHEST * count)) * (FACTOR / count**2)


def centering(distances: Any, own: Any, confidence: Any, count: int) -> Any:
    """Return how far embeddings are from their class's nearest anchor, where the answer is sure.

    `distances` are (batch, classes × count), `own` the images' classes (batch,).
    """
    from keras import ops

    classes = distances.shape[-1] // count
    nearest = ops.min(ops.reshape(distances, (-1, classes, count)), axis=-1)
    nearest = ops.sum(nearest * ops.one_hot(own, classes), axis=-1)
    return ops.mean(nearest * ops.reshape(confidence, (-1,))) * FACTOR
