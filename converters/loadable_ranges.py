"""Ranges with which XNNPACK loads every int8 layer.

Where a step of a channel's int32 sums, input scale · weight scale, is 256 steps of the layer's
output or more, XNNPACK refuses the whole file (`requantization scale` in its
src/operators/convolution-nhwc.c, and in those of the other kinds of layers). Then the smallest sum
is beyond all that the output can hold, which comes of two things:

- A channel has a weight so large that only an input that hardly moves keeps the sum in range. That
  input is 0 in int8, and the weight can be clipped. The channel's other weights are lost beside
  it; equalization, which comes first, mends that.
- All of a layer's channels put out next to nothing. Then the range of the output can be wider.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edgefer.converters.common_ranges import KEEPING_KINDS, Range, with_common_ranges
from edgefer.converters.graph import Graph
from edgefer.converters.weights import SMALLEST_RANGE, WeightedLayer, weighted_layers

Float32Array = npt.NDArray[np.float32]

MOST_STEPS = 255.0
"""Of the output in a step of the sums, a little below what XNNPACK refuses."""


def with_loadable_outputs(
    content: Graph,
    ranges: Mapping[str, Range],
    weight_ranges: Mapping[str, Float32Array],
    *,
    integer_operators: frozenset[int],
    int8_operators: frozenset[int],
) -> dict[str, Range]:
    """Return ranges of activations, widened where most channels of an int8 layer ask for it.

    What a concatenation joins gets one range, as in `with_common_ranges`, whether in 8 bits or in
    16. `weight_ranges` are the largest weights that channels hold, by the weights' tensor;
    without, those that there are.
    """
    layers = _layers(content, int8_operators)
    found = with_common_ranges(content, ranges, integer_operators=integer_operators)
    for _ in layers:
        widened = dict(found)
        for layer in layers:
            _widen_output(widened, content, layer, weight_ranges, int8_operators)
        if widened == found:
            break
        found = with_common_ranges(content, widened, integer_operators=integer_operators)
    return found


def loadable_weights(
    content: Graph,
    ranges: Mapping[str, Range],
    weight_ranges: Mapping[str, Float32Array],
    *,
    int8_operators: frozenset[int],
) -> dict[str, Float32Array]:
    """Return the ranges of weights that have to be narrower, by the weights' tensor.

    `ranges` are those of `with_loadable_outputs`, `weight_ranges` are as there.
    """
    found: dict[str, Float32Array] = {}
    for layer in _layers(content, int8_operators):
        present = _largest(layer, {**weight_ranges, **found})
        needed = _needed_widths(content, layer, ranges, present, int8_operators)
        share = np.maximum(needed / _width(ranges[_written(content, layer)]), 1)
        if (share > 1).any():
            found[layer.weights.name] = (present / share).astype(np.float32)
    return found


def _widen_output(
    ranges: dict[str, Range],
    content: Graph,
    layer: WeightedLayer,
    weight_ranges: Mapping[str, Float32Array],
    int8_operators: frozenset[int],
) -> None:
    """Widen the range of what one layer puts out until half of its channels are loadable."""
    largest = _largest(layer, weight_ranges)
    needed = _needed_widths(content, layer, ranges, largest, int8_operators)
    typical = float(np.median(needed[needed > 0])) if needed.any() else 0.0
    low, high = ranges[_written(content, layer)]
    if _width((low, high)) < typical:
        factor = typical / _width((low, high))
        widened = (low * factor, high * factor) if low or high else (0.0, typical)
        ranges[_written(content, layer)] = widened


def _layers(content: Graph, positions: frozenset[int]) -> list[WeightedLayer]:
    return [layer for layer in weighted_layers(content) if layer.operator.index in positions]


def _largest(layer: WeightedLayer, weight_ranges: Mapping[str, Float32Array]) -> Float32Array:
    given = weight_ranges.get(layer.weights.name)
    return layer.channel_ranges() if given is None else given


def _needed_widths(
    content: Graph,
    layer: WeightedLayer,
    ranges: Mapping[str, Range],
    largest: Float32Array,
    int8_operators: frozenset[int],
) -> npt.NDArray[np.float64]:
    """Return how wide the output has to be for each channel, shaped as `largest`."""
    read = layer.operator.inputs[2 if layer.operator.kind == "TRANSPOSE_CONV" else 0]
    given = ranges[content.tensors[_scaled_as(content, read, int8_operators)].name]
    return _width(given) * largest.astype(np.float64) / 127 / MOST_STEPS


def _written(content: Graph, layer: WeightedLayer) -> str:
    return content.tensors[layer.operator.outputs[0]].name


def _scaled_as(content: Graph, tensor: int, int8_operators: frozenset[int]) -> int:
    """Return the tensor whose scale another one has: through operators that keep it."""
    writer = content.producer(tensor)
    while writer is not None and writer.kind in KEEPING_KINDS and writer.index in int8_operators:
        tensor = next(index for index in writer.inputs if content.tensors[index].is_float)
        writer = content.producer(tensor)
    return tensor


def _width(limits: Range) -> float:
    """Return how much the 255 steps of a range span, 0 among them."""
    return max(max(limits[1], 0.0) - min(limits[0], 0.0), SMALLEST_RANGE)
