"""The mean of what each layer's kernel sees, all that analytic bias correction asks of faces."""

import numpy as np
import numpy.typing as npt

from edgefer.converters.graph import Graph
from edgefer.converters.rounding.input_patches import taps
from edgefer.converters.weights import SAME_PADDING, WeightedLayer, weighted_layers

Float64Array = npt.NDArray[np.float64]

CORRECTED_KINDS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})


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
    shares = [
        _shares(size, window, stride, dilation, same=options.padding == SAME_PADDING)
        for size, window, stride, dilation in zip(
            image.shape[:2],
            kernel,
            (options.strideH, options.strideW),
            (options.dilationHFactor, options.dilationWFactor),
            strict=True,
        )
    ]
    vertical, horizontal = shares
    columns = np.einsum("ih,hwc->iwc", vertical, image)
    return np.asarray(np.einsum("jw,iwc->ijc", horizontal, columns), np.float64)


def _shares(size: int, window: int, stride: int, dilation: int, *, same: bool) -> Float64Array:
    """Return, for each tap of a kernel, the share of its positions at each pixel: (window, size).

    Rows sum to less than 1 where a tap falls on the padding, which holds zeros.
    """
    pixels, (before, _) = taps(size, window, stride, dilation, same=same)
    seen = pixels[:, :, None] - before == np.arange(size)
    return np.asarray(seen.mean(axis=0), np.float64)
