"""Weights of convolutions and dense layers, and what rounding to int8 makes of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer.converters.graph import Graph, Operator, Tensor

Float32Array = npt.NDArray[np.float32]

CHANNEL_AXES = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}
"""The axis of the weights along output channels, by LiteRT's quantization specification."""

SAME_PADDING = 0
"""`Padding.SAME` among the options of convolutions, in TensorFlow Lite's schema.fbs."""

SMALLEST_RANGE = 1e-9
"""litert-quantizer's lower bound of a channel's range, which keeps scales above zero."""


@dataclass(frozen=True, kw_only=True)
class WeightedLayer:
    """An operator with constant weights, and its bias where it has one."""

    operator: Operator
    weights: Tensor
    bias: Tensor | None

    @property
    def channel_axis(self) -> int:
        """The axis of the weights that runs over output channels."""
        return CHANNEL_AXES[self.operator.kind]

    def bias_values(self) -> npt.NDArray[np.float64]:
        """Return the bias of each output channel, 0 where there is none."""
        if self.bias is None:
            return np.zeros(self.weights.shape[self.channel_axis])
        return np.asarray(self.bias.data, np.float64).ravel()

    def channel_ranges(self) -> Float32Array:
        """Return each output channel's largest absolute weight, axes kept for broadcasting."""
        axes = tuple(i for i in range(len(self.weights.shape)) if i != self.channel_axis)
        largest = np.abs(self.weights.data).max(axis=axes, keepdims=True)  # type: ignore[arg-type]
        return np.asarray(largest, np.float32)


def weighted_layers(graph: Graph) -> list[WeightedLayer]:
    """Return the convolutions and dense layers whose weights are constants of the file."""
    layers = []
    for operator in graph.operators:
        if operator.kind not in CHANNEL_AXES:
            continue
        weights = graph.tensors[operator.inputs[1]]
        has_bias = operator.kind != "TRANSPOSE_CONV" and len(operator.inputs) > 2
        bias = operator.inputs[2] if has_bias else -1
        if weights.data is not None:
            layers.append(
                WeightedLayer(
                    operator=operator,
                    weights=weights,
                    bias=graph.tensors[bias] if bias >= 0 else None,
                )
            )
    return layers


def rounded_to_int8(weights: Float32Array, ranges: Float32Array) -> Float32Array:
    """Return the weights as int8 holds them: scale range / 127, to nearest, -127…127.

    This is litert-quantizer's min-max rounding, to the bit.
    """
    scales = np.maximum(ranges, np.float32(SMALLEST_RANGE)) / np.float32(127)
    return np.asarray(np.clip(np.rint(weights / scales), -127, 127) * scales, np.float32)
