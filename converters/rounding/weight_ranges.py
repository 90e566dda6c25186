"""How far the int8 grid of each output channel's weights reaches."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.recipes import WeightRange
from edgefer.converters.weights import WeightedLayer, rounded_to_int8, weighted_layers

Float32Array = npt.NDArray[np.float32]

_SHARES = np.linspace(1, 0.5, 101)
"""Of the largest weight, the widest range first: it is kept where a narrower one is no better."""


def weight_ranges(layer: WeightedLayer, method: WeightRange) -> Float32Array:
    """Return each output channel's largest weight that int8 shall hold, axes kept.

    MSE clips where that makes the sum of squared rounding errors of a channel's weights smaller:
    Nagel et al. 2021, "A White Paper on Neural Network Quantization" (arXiv 2106.08295), section
    3.1, by a grid search over half to all of the largest weight.
    """
    largest = layer.channel_ranges()
    if method is WeightRange.MIN_MAX:
        return largest
    weights = np.asarray(layer.weights.data, np.float32)
    chosen, least = largest, np.full(largest.shape, np.inf)
    axes = tuple(axis for axis in range(weights.ndim) if axis != layer.channel_axis)
    for share in _SHARES:
        ranges = largest * np.float32(share)
        errors = (rounded_to_int8(weights, ranges) - weights).astype(np.float64)
        squares = np.sum(errors**2, axis=axes, keepdims=True)
        chosen = np.where(squares < least, ranges, chosen)
        least = np.minimum(squares, least)
    return chosen


def ranges_by_name(
    float_tflite: bytes, method: WeightRange, *, skipped: frozenset[int] = frozenset()
) -> Mapping[str, Float32Array]:
    """Return the ranges of all weights, by their tensors' names.

    Layers at the positions in `skipped` need none.
    """
    return {
        layer.weights.name: weight_ranges(layer, method)
        for layer in weighted_layers(graph.read(float_tflite))
        if layer.operator.index not in skipped
    }
