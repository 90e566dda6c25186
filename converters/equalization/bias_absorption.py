"""High-bias absorption: what a channel never falls below moves into the next layer's bias.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv
1906.04721), section 4.1.3: where a channel before RELU is never below c, RELU(x - c) = RELU(x) - c,
so that c can be taken from the first layer's bias and W2 c be given to the second's. The range of
the activations between both gets smaller. The paper takes c = max(0, beta - 3 gamma) from the
batch norm; here it is folded, and c comes from faces.
"""

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.activations import ChannelStatistics, channel_statistics
from edgefer.converters.constants import BIAS, write_constant
from edgefer.converters.equalization.channel_scaling import column_shaped
from edgefer.converters.equalization.intervals import factors_below_six, intervals_before_activation
from edgefer.converters.equalization.layer_pairs import LayerPair, activation_functions, layer_pairs
from edgefer.converters.weights import SAME_PADDING, WeightedLayer, weighted_layers
from edgefer.progress import Progress

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


def absorb_high_biases(
    float_tflite: bytes,
    faces: Float32Array,
    pixel_range: tuple[float, float],
    *,
    progress: Progress | None = None,
) -> bytes:
    """Return a float model with smaller activations that answers the same for `faces`.

    `faces` are float32 (n, h, w, channels), normalised, all that there are to calibrate with: for
    others the answer may differ where RELU meets less than was taken. `pixel_range` are the
    normalised values of the smallest and the largest pixel. Layers that may see zeros of a padding
    beside their input are left alone: there nothing was taken away.
    """
    content = graph.read(float_tflite)
    pairs = [pair for pair in layer_pairs(content) if not _is_padded(pair)]
    tensors = [pair.first.operator.outputs[0] for pair in pairs]
    seen = channel_statistics(float_tflite, faces, tensors, progress)
    intervals = intervals_before_activation(content, pixel_range)
    changes: dict[int, Float64Array] = {}
    for pair, tensor in zip(pairs, tensors, strict=True):
        certain = factors_below_six(pair, intervals) > 0
        taken = np.where(certain, absorbed(pair, seen[tensor]), 0)
        first, second = pair.first.operator.index, pair.second.operator.index
        changes[first] = changes.get(first, 0) - taken
        changes[second] = changes.get(second, 0) + _response(pair.second, taken)
    model = graph.unpack(float_tflite, source="model")
    for layer in weighted_layers(content):
        if layer.operator.index in changes:
            values = layer.bias_values() + changes[layer.operator.index]
            write_constant(model, layer.operator.index, BIAS, values)
    return graph.pack(model)


def absorbed(pair: LayerPair, seen: ChannelStatistics) -> Float64Array:
    """Return what to take from each channel that the first layer of a pair puts out.

    Without an activation function anything is exact, and the middle of the range makes the
    smallest one. RELU asks for what no image falls below: at most the paper's mean - 3 std, and
    one std below the lowest value seen, for the images that were not.
    """
    operators = (pair.first.operator, *pair.between)
    if all(activation_functions(operator) == {"NONE"} for operator in operators):
        middle = (seen.low + seen.high) / 2
        return np.where(np.isfinite(middle), middle, 0)
    lowest = np.minimum(seen.mean - 3 * seen.std, seen.low - seen.std)
    return np.where(np.isfinite(lowest), np.maximum(lowest, 0), 0)


def _is_padded(pair: LayerPair) -> bool:
    """Whether zeros may stand beside what the second layer reads."""
    options = pair.second.operator.options
    is_one_by_one = pair.second.operator.kind == "FULLY_CONNECTED" or (
        pair.second.weights.shape[1:3] == (1, 1)
    )
    pads = getattr(options, "padding", None) == SAME_PADDING and not is_one_by_one
    return pads or any(operator.kind == "PAD" for operator in pair.between)


def _response(layer: WeightedLayer, inputs: Float64Array) -> Float64Array:
    """Return what a layer without its bias makes of an image with the same values everywhere."""
    products = np.asarray(layer.weights.data, np.float64) * column_shaped(layer, inputs)
    axes = tuple(axis for axis in range(products.ndim) if axis != layer.channel_axis)
    return np.asarray(products.sum(axis=axes))
