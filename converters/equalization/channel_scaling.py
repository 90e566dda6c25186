"""Move a factor per channel from one layer into the next: the same answers, other ranges."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.constants import BIAS, WEIGHTS, write_constant
from edgefer.converters.equalization.layer_pairs import LayerPair
from edgefer.converters.weights import WeightedLayer

Float64Array = npt.NDArray[np.float64]


def scaled(
    float_tflite: bytes, pairs: Sequence[LayerPair], factors: Sequence[Float64Array]
) -> bytes:
    """Return the model with each channel between the layers of a pair `factors` times as large.

    One array of positive factors, float64 (channels,), for each pair. The answers stay as they
    are where no RELU6 cuts a scaled channel off.
    """
    changed: dict[tuple[int, int], Float64Array] = {}
    for pair, factor in zip(pairs, factors, strict=True):
        _multiply(changed, pair.first, WEIGHTS, row_shaped(pair.first, factor))
        _multiply(changed, pair.second, WEIGHTS, column_shaped(pair.second, 1 / factor))
        if pair.first.bias is not None:
            _multiply(changed, pair.first, BIAS, factor)
    model = graph.unpack(float_tflite, source="model")
    for (operator, position), values in changed.items():
        write_constant(model, operator, position, values)
    return graph.pack(model)


def row_shaped(layer: WeightedLayer, channels: Float64Array) -> Float64Array:
    """Return values of output channels in a shape that goes with the layer's weights."""
    axes = range(len(layer.weights.shape))
    return channels.reshape([-1 if axis == layer.channel_axis else 1 for axis in axes])


def column_shaped(layer: WeightedLayer, channels: Float64Array) -> Float64Array:
    """Return values of input channels in a shape that goes with the layer's weights."""
    if layer.operator.kind == "DEPTHWISE_CONV_2D" and len(channels) > 1:
        return np.repeat(channels, layer.weights.shape[3] // len(channels))
    return channels


def _multiply(
    changed: dict[tuple[int, int], Float64Array],
    layer: WeightedLayer,
    position: int,
    factors: Float64Array,
) -> None:
    """Multiply a layer's constant, as far as it was multiplied before."""
    key = layer.operator.index, position
    tensor = layer.weights if position == WEIGHTS else layer.bias
    if key not in changed:
        changed[key] = np.asarray(tensor.data, np.float64)  # type: ignore[union-attr]
    changed[key] = changed[key] * factors
