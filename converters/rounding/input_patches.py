"""What a layer's kernel sees of its input, and its weights, as matrices.

A layer is a number of groups, each a matrix product of its own: one for CONV_2D and
FULLY_CONNECTED, as many as CONV_2D has groups, and one a channel for DEPTHWISE_CONV_2D.
"""

import numpy as np
import numpy.typing as npt

from edgefer.converters.weights import SAME_PADDING, WeightedLayer

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


def group_count(layer: WeightedLayer, channels: int) -> int:
    """Return how many groups a layer has whose input has so many channels."""
    if layer.operator.kind == "DEPTHWISE_CONV_2D":
        return channels
    return channels // layer.weights.shape[-1]


def weights_to_matrices(layer: WeightedLayer, weights: Float64Array, groups: int) -> Float64Array:
    """Return weights as (groups, inputs, outputs)."""
    if layer.operator.kind == "DEPTHWISE_CONV_2D":
        _, height, width, channels = weights.shape
        taps = weights.reshape(height * width, groups, channels // groups)
        return taps.transpose(1, 0, 2)
    return weights.reshape(groups, weights.shape[0] // groups, -1).transpose(0, 2, 1)


def matrices_to_weights(layer: WeightedLayer, matrices: Float64Array) -> Float64Array:
    """Return the weights of which `weights_to_matrices` makes these matrices."""
    order = (1, 0, 2) if layer.operator.kind == "DEPTHWISE_CONV_2D" else (0, 2, 1)
    return matrices.transpose(order).reshape(layer.weights.shape)


def sampled_patches(
    layer: WeightedLayer, values: Float32Array, most: int, random: np.random.Generator
) -> Float32Array:
    """Return what the kernel sees at no more than `most` positions: (groups, positions, inputs).

    `values` is the layer's input for one face. Positions are drawn evenly without repetition.
    """
    if layer.operator.kind == "FULLY_CONNECTED":
        rows = values.reshape(-1, layer.weights.shape[1])
        return rows[_sample(len(rows), most, random)][None]
    seen = _windows(layer, values[0], most, random)
    positions, height, width, channels = seen.shape
    groups = group_count(layer, channels)
    split = seen.reshape(positions, height * width, groups, channels // groups)
    return split.transpose(2, 0, 1, 3).reshape(groups, positions, -1)


def _windows(
    layer: WeightedLayer, image: Float32Array, most: int, random: np.random.Generator
) -> Float32Array:
    """Return (positions, kernel height, kernel width, channels) of a map (h, w, channels)."""
    options = layer.operator.options
    same = options.padding == SAME_PADDING
    kernel = layer.weights.shape[1:3]
    rows, above = taps(
        image.shape[0], kernel[0], options.strideH, options.dilationHFactor, same=same
    )
    columns, left = taps(
        image.shape[1], kernel[1], options.strideW, options.dilationWFactor, same=same
    )
    padded = np.pad(image, (above, left, (0, 0)))
    vertical, horizontal = np.divmod(_sample(len(rows) * len(columns), most, random), len(columns))
    windows = padded[rows[vertical][:, :, None], columns[horizontal][:, None, :]]
    return np.asarray(windows, np.float32)


def taps(
    size: int, window: int, stride: int, dilation: int, *, same: bool
) -> tuple[Int64Array, tuple[int, int]]:
    """Return the pixels that taps see along one axis, (outputs, window), and the padding."""
    reach = (window - 1) * dilation + 1
    outputs = -(-size // stride) if same else -(-(size - reach + 1) // stride)
    padding = max((outputs - 1) * stride + reach - size, 0) if same else 0
    pixels = np.arange(outputs)[:, None] * stride + np.arange(window) * dilation
    return pixels, (padding // 2, padding - padding // 2)


def _sample(count: int, most: int, random: np.random.Generator) -> Int64Array:
    if count <= most:
        return np.arange(count)
    return np.sort(random.choice(count, most, replace=False))
