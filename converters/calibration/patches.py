"""The mean of what each layer's kernel sees, all that analytic bias correction asks of faces."""

import numpy as np
import numpy.typing as npt

from edgefer.converters.graph import Graph
from edgefer.converters.weights import WeightedLayer, weighted_layers

Float64Array = npt.NDArray[np.float64]

CORRECTED_KINDS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
_SAME_PADDING = 0


def corrected_layers(content: Graph) -> list[WeightedLayer]:
    """Return the layers that have a mean patch, in the graph's order."""
    return [layer for layer in weighted_layers(content) if layer.operator.kind in CORRECTED_KINDS]


def mean_patch(layer: WeightedLayer, mean_input: Float64Array) -> Float64Array:
    """Return what the layer's kernel sees of its input, averaged over positions.

    `mean_input` is the input averaged over faces, with a batch of 1. The patch is (kernel h,
    kernel w, channels), for a dense layer (1, 1, inputs). A layer is linear, so its mean output
    is its kernel times the mean patch: exact, padding and strides included.
    """
    if layer.operator.kind == "FULLY_CONNECTED":
        inputs = mean_input.reshape(-1, layer.weights.shape[1])
        return np.asarray(inputs.mean(axis=0)[None, None], np.float64)
    image = mean_input[0]
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
