"""Analytic bias correction: undo the mean shift that rounding the weights causes.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction"
(arXiv 1906.04721), section 4.2, with the layers' inputs measured on faces as in Finkelstein et
al. 2019, "Fighting Quantization Bias With Bias" (arXiv 1906.03193).
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.calibration.patches import corrected_layers
from edgefer.converters.constants import BIAS, write_constant
from edgefer.converters.weights import WeightedLayer, weighted_layers

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


def correct_biases(
    original: bytes,
    rounded: bytes,
    mean_patches: Mapping[str, Float64Array],
    *,
    skipped: frozenset[int] = frozenset(),
) -> bytes:
    """Return the rounded model with biases that make up for the rounding of its weights.

    Both are float .tflite, `rounded` being `original` with its weights on the int8 grid
    (`weight_rounding`, `adaptive_rounding`). `mean_patches` are those of `calibration.patches` for
    `original`, by the tensor that a layer writes. Operators at the positions in `skipped` keep
    their biases.
    """
    content = graph.read(original)
    weights = {
        layer.operator.index: np.asarray(layer.weights.data, np.float32)
        for layer in weighted_layers(graph.read(rounded))
    }
    model = graph.unpack(rounded, source="model")
    for layer in corrected_layers(content):
        if layer.operator.index not in skipped:
            patch = mean_patches[content.tensors[layer.operator.outputs[0]].name]
            shift = mean_shift(layer, weights[layer.operator.index], patch)
            write_constant(model, layer.operator.index, BIAS, layer.bias_values() - shift)
    return graph.pack(model)


def mean_shift(layer: WeightedLayer, rounded: Float32Array, patch: Float64Array) -> Float64Array:
    """Return how much rounding moves each output channel on average, before its activation.

    `rounded` are the layer's weights afterwards, `patch` is what its kernel sees on average.
    """
    shift = np.asarray(rounded, np.float64) - np.asarray(layer.weights.data, np.float64)
    return mean_output(layer, shift, patch)


def mean_output(layer: WeightedLayer, weights: Float64Array, patch: Float64Array) -> Float64Array:
    """Return each channel's mean over positions of what other weights of a layer put out.

    `patch` is what its kernel sees on average (`calibration.patches`); the bias is left out.
    """
    if layer.operator.kind == "FULLY_CONNECTED":
        return np.asarray(weights @ patch[0, 0])
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
