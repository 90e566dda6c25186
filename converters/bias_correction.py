"""Analytic bias correction: undo the mean shift that rounding the weights causes.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction"
(arXiv 1906.04721), section 4.2, with the layers' inputs measured on faces as in Finkelstein et
al. 2019, "Fighting Quantization Bias With Bias" (arXiv 1906.03193).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.activations import mean_activations
from edgefer.converters.weights import WeightedLayer, rounded_to_int8, weighted_layers
from edgefer.progress import Progress

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

CORRECTED_KINDS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
_SAME_PADDING = 0


def correct_biases(
    float_tflite: bytes,
    faces: Float32Array,
    *,
    skipped: frozenset[int] = frozenset(),
    progress: Progress | None = None,
) -> bytes:
    """Return the float model with biases that make up for the rounding of its weights to int8.

    `faces` are float32 (n, h, w, channels), normalised, with n about 100. Operators at the
    positions in `skipped` keep their biases.
    """
    shifts = mean_shifts(float_tflite, faces, skipped=skipped, progress=progress)
    return with_shifts_undone(float_tflite, shifts)


def mean_shifts(
    float_tflite: bytes,
    faces: Float32Array,
    *,
    skipped: frozenset[int] = frozenset(),
    progress: Progress | None = None,
) -> dict[int, Float64Array]:
    """Return how much rounding moves the output channels of each layer, by its position."""
    content = graph.read(float_tflite)
    layers = [
        layer
        for layer in weighted_layers(content)
        if layer.operator.kind in CORRECTED_KINDS and layer.operator.index not in skipped
    ]
    inputs = sorted({layer.operator.inputs[0] for layer in layers})
    means = mean_activations(float_tflite, faces, inputs, progress)
    return {
        layer.operator.index: mean_shift(layer, means[layer.operator.inputs[0]]) for layer in layers
    }


def with_shifts_undone(float_tflite: bytes, shifts: Mapping[int, Float64Array]) -> bytes:
    """Return the model with each shift taken off the bias of the layer at its position."""
    model = graph.unpack(float_tflite, source="model")
    for layer in weighted_layers(graph.read(float_tflite)):
        if layer.operator.index in shifts:
            _set_bias(model, layer, _bias(layer) - shifts[layer.operator.index])
    return graph.pack(model)


def mean_shift(layer: WeightedLayer, mean_input: Float64Array) -> Float64Array:
    """Return how much rounding moves each output channel on average, before its activation.

    `mean_input` is the layer's input averaged over faces. A layer is linear, so its mean output
    is its output for the mean input: exact, padding and strides included.
    """
    exact = np.asarray(layer.weights.data, np.float32)
    rounded = rounded_to_int8(exact, layer.channel_ranges())
    return _mean_output(layer, rounded.astype(np.float64) - exact, mean_input)


def _mean_output(layer: WeightedLayer, weights: Float64Array, inputs: Float64Array) -> Float64Array:
    if layer.operator.kind == "FULLY_CONNECTED":
        return np.asarray(weights @ inputs.reshape(-1, weights.shape[1]).mean(axis=0))
    patch = _mean_patch(layer, inputs[0])
    if layer.operator.kind == "CONV_2D":
        return _grouped(weights, patch)
    multiplier = weights.shape[3] // patch.shape[2]
    return np.asarray((weights[0] * np.repeat(patch, multiplier, axis=2)).sum(axis=(0, 1)))


def _grouped(weights: Float64Array, patch: Float64Array) -> Float64Array:
    """Apply CONV_2D's weights (out, h, w, in per group) to a patch (h, w, in)."""
    groups = patch.shape[2] // weights.shape[3]
    outputs = np.split(weights, groups, axis=0)
    inputs = np.split(patch, groups, axis=2)
    return np.concatenate([np.tensordot(w, x, 3) for w, x in zip(outputs, inputs, strict=True)])


def _mean_patch(layer: WeightedLayer, image: Float64Array) -> Float64Array:
    """Return what the kernel sees of a map (h, w, channels), averaged over its positions."""
    options = layer.operator.options
    kernel = layer.weights.shape[1:3]
    taps = [
        _taps(size, window, stride, dilation, same=options.padding == _SAME_PADDING)
        for size, window, stride, dilation in zip(
            image.shape[:2],
            kernel,
            (options.strideH, options.strideW),
            (options.dilationHFactor, options.dilationWFactor),
            strict=True,
        )
    ]
    vertical, horizontal = taps
    columns = np.einsum("ih,hwc->iwc", vertical, image)
    return np.asarray(np.einsum("jw,iwc->ijc", horizontal, columns), np.float64)


def _taps(size: int, window: int, stride: int, dilation: int, *, same: bool) -> Float64Array:
    """Return, for each tap of a kernel, the share of its positions at each pixel: (window, size).

    Rows sum to less than 1 where a tap falls on the padding, which holds zeros.
    """
    reach = (window - 1) * dilation + 1
    outputs = -(-size // stride) if same else -(-(size - reach + 1) // stride)
    before = max((outputs - 1) * stride + reach - size, 0) // 2 if same else 0
    shares = np.zeros((window, size))
    for tap in range(window):
        positions = np.arange(outputs) * stride + tap * dilation - before
        inside = positions[(positions >= 0) & (positions < size)]
        shares[tap, inside] = 1 / outputs
    return shares


def _bias(layer: WeightedLayer) -> Float64Array:
    channels = layer.weights.shape[layer.channel_axis]
    if layer.bias is None:
        return np.zeros(channels)
    return np.asarray(layer.bias.data, np.float64)


def _set_bias(model: Any, layer: WeightedLayer, bias: Float64Array) -> None:
    """Write the bias, into a tensor of its own where layers share one or the layer has none."""
    subgraph = model.subgraphs[0]
    data = bias.astype(np.float32)
    if layer.bias is not None and not _is_shared(model, layer.bias.index):
        buffer = model.buffers[subgraph.tensors[layer.bias.index].buffer]
        buffer.data = data.view(np.uint8)
        return
    index = graph.add_tensor(
        model,
        subgraph.tensors[layer.weights.index],
        name=f"{layer.weights.name}/bias_{layer.operator.index}".encode(),
        shape=[len(bias)],
        data=data,
    )
    operator = subgraph.operators[layer.operator.index]
    operator.inputs = [*list(operator.inputs)[:2], index]


def _is_shared(model: Any, tensor_index: int) -> bool:
    """Whether another operator reads the tensor, or another tensor its buffer."""
    subgraph = model.subgraphs[0]
    readers = sum(list(operator.inputs).count(tensor_index) for operator in subgraph.operators)
    buffer = subgraph.tensors[tensor_index].buffer
    return readers > 1 or sum(tensor.buffer == buffer for tensor in subgraph.tensors) > 1
